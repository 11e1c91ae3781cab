package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"breakglass/actions"
	"breakglass/store/grant"
)

type policyCommand struct {
	Args struct {
		Cell string `positional-arg-name:"CELL" description:"The cell; without it, all of the configuration."`
	} `positional-args:"yes"`
	Terraform      bool   `long:"terraform" description:"Print Terraform's language."`
	CloudFormation bool   `long:"cloudformation" description:"Print a CloudFormation template."`
	Only           string `long:"only" choice:"permissions" choice:"trust" choice:"bot" description:"Print one bare document: the permissions for the cell, the trust of the role that is assumed, or what the bot itself may do."`
	Principal      string `long:"principal" value-name:"ARN" description:"The role or user that the bot itself runs as."`
	Boundary       string `long:"boundary" value-name:"ARN" description:"The permissions boundary that the cells' roles have; without it on a role, the bot may not write the role's inline policies."`
}

// The quotas of IAM ("IAM and AWS STS quotas"), white space not counted.
const (
	managedQuota = 6144
	inlineQuota  = 10240
)

// Run is `breakglass policy`. It needs no credentials, and asks nobody.
func (c policyCommand) Run(env *environment) error {
	if c.Terraform && c.CloudFormation {
		return usage("--terraform and --cloudformation do not go together: one of them")
	}
	if c.Only != "" && (c.Terraform || c.CloudFormation) {
		return usage("--only prints a bare document of JSON; it does not go with --terraform or --cloudformation")
	}
	cfg, err := loadConfig(env.config)
	if err != nil {
		return err
	}
	cells := cfg.awsCells()
	if c.Args.Cell != "" {
		chosen, ok := cellNamed(cells, c.Args.Cell)
		if !ok {
			return fmt.Errorf("there is no cell %q in the configuration; the cells are %s", said(c.Args.Cell), joined(cfg.cellNames()))
		}
		cells, c.Args.Cell = []actions.Cell{chosen}, string(chosen.Name)
	}
	// What is wrong with one cell beside another is wrong whichever is printed.
	if _, err := actions.PermissionsFor(cfg.awsCells(), actions.PermissionOptions{}); err != nil {
		return err
	}
	list, err := actions.PermissionsFor(cells, actions.PermissionOptions{Principal: c.Principal, Boundary: c.Boundary})
	if errors.Is(err, actions.ErrPermissionOption) {
		return usage("%v", err)
	}
	if err != nil {
		return err
	}
	for _, p := range list {
		note(env.stderr, p, c)
	}
	switch {
	case c.Terraform:
		_, err = io.WriteString(env.stdout, terraform(list, c.Args.Cell, c.Principal))
	case c.CloudFormation:
		var text string
		if text, err = cloudFormation(list, c.Args.Cell, c.Principal); err == nil {
			_, err = io.WriteString(env.stdout, text)
		}
	case c.Only != "":
		var text string
		if text, err = only(list, c.Only); err == nil {
			_, err = io.WriteString(env.stdout, text)
		}
	case len(list) == 1 && list[0].Trust == nil:
		_, err = io.WriteString(env.stdout, list[0].Policy.JSON())
	default:
		var text string
		if text, err = identities(list); err == nil {
			_, err = io.WriteString(env.stdout, text)
		}
	}
	return err
}

func cellNamed(cells []actions.Cell, name string) (actions.Cell, bool) {
	for _, c := range cells {
		if strings.EqualFold(string(c.Name), name) {
			return c, true
		}
	}
	return actions.Cell{}, false
}

// note says on standard error what a document cannot say itself.
func note(w io.Writer, p actions.Permissions, c policyCommand) {
	quota, kind := managedQuota, "a managed policy"
	if p.Role != "" {
		quota, kind = inlineQuota, "the inline policies of a role together"
	}
	if size := p.Policy.Size(); size > quota {
		fmt.Fprintf(w, "breakglass: the policy for %s has %d characters, but %s may have %d. Print it cell by cell (breakglass policy CELL) and put the policies side by side.\n", joined(p.Cells), size, kind, quota)
	}
	if p.Trust != nil && c.Principal == "" && !c.Terraform && !c.CloudFormation && c.Only != "permissions" && c.Only != "bot" {
		fmt.Fprintf(w, "breakglass: the trust policy of %s names a placeholder, which IAM refuses. Give --principal, the ARN of what the bot runs as.\n", p.Role)
	}
}

// An identity is what one role or user needs, as JSON.
type identity struct {
	For string `json:"for"`
	// Role is the role that the bot assumes; what the bot itself runs as has none.
	Role        string                  `json:"role,omitempty"`
	Account     grant.AccountID         `json:"account,omitempty"`
	Cells       []grant.CellName        `json:"cells,omitempty"`
	Permissions actions.PolicyDocument  `json:"permissions"`
	Trust       *actions.PolicyDocument `json:"trust,omitempty"`
}

// who says for people whom the documents are for.
func who(p actions.Permissions) string {
	switch {
	case p.Role != "":
		return fmt.Sprintf("the role that the bot assumes in account %s, for %s", p.Account, joined(p.Cells))
	case len(p.Cells) == 0:
		return "what the bot itself runs as"
	default:
		return fmt.Sprintf("what the bot itself runs as in account %s, for %s", p.Account, joined(p.Cells))
	}
}

// identities is everything, each with whom it is for.
func identities(list []actions.Permissions) (string, error) {
	out := make([]identity, len(list))
	for i, p := range list {
		out[i] = identity{For: who(p), Role: p.Role, Account: p.Account, Cells: p.Cells, Permissions: p.Policy, Trust: p.Trust}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(out)
	return b.String(), err
}

// only is the one document that was asked for.
func only(list []actions.Permissions, what string) (string, error) {
	var found []string
	for _, p := range list {
		switch {
		case what == "permissions" && len(p.Cells) > 0, what == "bot" && p.Role == "":
			found = append(found, p.Policy.JSON())
		case what == "trust" && p.Trust != nil:
			found = append(found, p.Trust.JSON())
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("there are %d such documents; name a cell to get one: breakglass policy CELL --only %s", len(found), what)
	default: // every list has permissions, and what the bot itself may do
		return "", errors.New("no role is assumed here, so there is no trust policy to print; the bot works with its own credentials (assume_role is not set)")
	}
}
