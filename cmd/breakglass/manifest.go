package main

import (
	"encoding/json"

	"go.yaml.in/yaml/v4"

	"breakglass/bot"
)

type manifestCommand struct {
	JSON bool `long:"json" description:"Print JSON instead of YAML."`
}

// Run is `breakglass manifest`. It needs no configuration: the app is the same
// for everybody.
func (c manifestCommand) Run(env *environment) error {
	if c.JSON {
		enc := json.NewEncoder(env.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(bot.AppManifest())
	}
	enc := yaml.NewEncoder(env.stdout)
	enc.SetIndent(2)
	if err := enc.Encode(bot.AppManifest()); err != nil {
		return err
	}
	return enc.Close()
}
