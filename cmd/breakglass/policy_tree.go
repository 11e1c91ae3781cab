package main

import (
	"fmt"

	"go.yaml.in/yaml/v4"

	"breakglass/actions"
)

// The documents are written in three languages from one tree, which keeps the
// order of the keys: JSON is YAML, too.

func tree(d actions.PolicyDocument) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(d.JSON()), &doc); err != nil {
		panic(err) // our own JSON
	}
	unstyled(doc.Content[0])
	return doc.Content[0]
}

// unstyled takes JSON's way of writing off a tree: blocks, and quotes only where
// they are needed.
func unstyled(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		unstyled(child)
	}
}

func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// items is a list of what [dict] takes.
func items(values ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, item := range values {
		n.Content = append(n.Content, node(item))
	}
	return n
}

// dict is a mapping with its keys in order: key, value, key, value. A value that
// is nil is left out with its key.
func dict(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := node(pairs[i+1]); v != nil {
			n.Content = append(n.Content, node(pairs[i]), v)
		}
	}
	return n
}

// put adds a key to a mapping.
func put(n *yaml.Node, key string, value *yaml.Node) {
	n.Content = append(n.Content, word(key), value)
}

func has(n *yaml.Node, key string) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// names are those that are taken.
type names map[string]bool

// unique is the name, with a number behind it if it is taken already.
func (taken names) unique(name string) string {
	out := name
	for n := 2; taken[out]; n++ {
		out = fmt.Sprintf("%s%d", name, n)
	}
	taken[out] = true
	return out
}

func node(v any) *yaml.Node {
	switch v := v.(type) {
	case nil:
		return nil
	case *yaml.Node:
		return v
	case string:
		return word(v)
	default:
		return word(fmt.Sprint(v))
	}
}
