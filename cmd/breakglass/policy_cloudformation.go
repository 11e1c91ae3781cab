package main

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"breakglass/actions"
)

// cloudFormationPrincipal is the parameter for what the bot itself runs as.
const cloudFormationPrincipal = "BreakglassPrincipal"

// cloudFormation is everything as one template. Where the identities are of more
// than one account it is for each of them: a stack makes only what belongs to its
// own.
func cloudFormation(list []actions.Permissions, cell, principal string) (string, error) {
	resources, conditions, outputs := dict(), dict(), dict()
	several := len(accounts(list)) > 1
	trusted, taken := false, names{}
	for _, p := range list {
		var condition any
		if several {
			condition = "InAccount" + string(p.Account)
			var account any = string(p.Account)
			if p.Account == "" {
				condition = "InTheBotsAccount"
				account = dict("Fn::Select", items("4", dict("Fn::Split", items(":", dict("Ref", cloudFormationPrincipal)))))
				trusted = true
			}
			if !has(conditions, condition.(string)) {
				put(conditions, condition.(string), dict("Fn::Equals", items(dict("Ref", "AWS::AccountId"), account)))
			}
		}
		if p.Role == "" {
			id := "BreakglassPolicy" + string(p.Account)
			put(resources, id, dict("Type", "AWS::IAM::ManagedPolicy", "Condition", condition, "Properties", dict(
				"ManagedPolicyName", policyName(cell),
				"Description", "What breakglass itself may do",
				"PolicyDocument", tree(p.Policy),
				"Roles", attach(principal, ":role/"), "Users", attach(principal, ":user/"),
			)))
			put(outputs, id+"Arn", dict("Condition", condition, "Description", "Attach it to what breakglass runs as", "Value", dict("Ref", id)))
			continue
		}
		name, path := roleParts(p.Role)
		trust := tree(*p.Trust)
		if principal == "" {
			trusted = true
			open(trust)
		}
		id := taken.unique("Role" + string(p.Account) + strings.ReplaceAll(identifier(name), "_", ""))
		put(resources, id, dict(
			"Type", "AWS::IAM::Role", "Condition", condition, "Properties", dict(
				"RoleName", name, "Path", path, "Description", "breakglass works in this account with it",
				"AssumeRolePolicyDocument", trust,
				"Policies", items(dict("PolicyName", "breakglass", "PolicyDocument", tree(p.Policy))),
			)))
	}
	var parameters any
	if trusted {
		var fallback any
		if principal != "" {
			fallback = principal
		}
		parameters = dict(cloudFormationPrincipal, dict(
			"Type", "String", "Description", "The ARN of the role or user that breakglass itself runs as",
			"AllowedPattern", `^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/.+$`, "Default", fallback,
		))
	}
	template := dict("AWSTemplateFormatVersion", "2010-09-09", "Description", "What breakglass needs in AWS", "Parameters", parameters)
	for _, section := range []struct {
		name string
		is   *yaml.Node
	}{{"Conditions", conditions}, {"Resources", resources}, {"Outputs", outputs}} {
		if len(section.is.Content) > 0 {
			put(template, section.name, section.is)
		}
	}
	var b strings.Builder
	b.WriteString("# Made by `breakglass policy --cloudformation`. It names what it makes: deploy with --capabilities CAPABILITY_NAMED_IAM")
	if several {
		b.WriteString(",\n# once in each account; a stack makes only what belongs there")
	}
	b.WriteString(".\n")
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(template); err != nil {
		return "", fmt.Errorf("writing the template: %w", err)
	}
	return b.String(), enc.Close()
}

// open puts the parameter in the place of the placeholder.
func open(n *yaml.Node) {
	for i, child := range n.Content {
		if isPlaceholder(child.Value) {
			n.Content[i] = dict("Ref", cloudFormationPrincipal)
		}
		open(child)
	}
}

// attach is the list of the one role or user, if that is what the ARN names.
func attach(principal, kind string) any {
	if !strings.Contains(principal, kind) {
		return nil
	}
	name, _ := roleParts(principal)
	return items(name)
}
