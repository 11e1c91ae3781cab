package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"breakglass/actions"
)

// terraformPrincipal is the variable for what the bot itself runs as.
const terraformPrincipal = "breakglass_principal"

// terraform is everything as resources of Terraform's AWS provider.
func terraform(list []actions.Permissions, cell, principal string) string {
	var b strings.Builder
	b.WriteString("# What breakglass needs in AWS, made by `breakglass policy --terraform`.\n")
	places, taken := accounts(list), names{}
	if len(places) > 1 {
		b.WriteString("# The resources are of more than one account; configure a provider for each:\n")
		for _, p := range places {
			if p != "" {
				fmt.Fprintf(&b, "#   provider \"aws\" { alias = %q … }   # account %s\n", "account_"+p, p)
			}
		}
		if slices.Contains(places, "") {
			b.WriteString("#   provider \"aws\" { … }   # the account that the bot itself runs in\n")
		}
	}
	if principal == "" && slices.ContainsFunc(list, func(p actions.Permissions) bool { return p.Trust != nil }) {
		fmt.Fprintf(&b, `
variable %q {
  type        = string
  description = "The ARN of the role or user that breakglass itself runs as."
}
`, terraformPrincipal)
	}
	for _, p := range list {
		provider := ""
		if len(places) > 1 && p.Account != "" {
			provider = "aws.account_" + string(p.Account)
		}
		fmt.Fprintf(&b, "\n# For %s.\n", who(p))
		if p.Role == "" {
			terraformOwn(&b, p, provider, cell, principal)
			continue
		}
		name, path := roleParts(p.Role)
		label := taken.unique(identifier(name + "_" + string(p.Account)))
		resource(&b, "aws_iam_role", label, []attribute{
			{"provider", provider},
			{"name", quoted(name)},
			{"path", quoted(path)},
			{"description", quoted("breakglass works in this account with it")},
			{"assume_role_policy", "jsonencode(" + hcl(tree(*p.Trust), "  ", principal == "") + ")"},
		})
		b.WriteString("\n")
		resource(&b, "aws_iam_role_policy", label, []attribute{
			{"provider", provider},
			{"name", quoted("breakglass")},
			{"role", "aws_iam_role." + label + ".id"},
			{"policy", "jsonencode(" + hcl(tree(p.Policy), "  ", false) + ")"},
		})
	}
	return b.String()
}

// terraformOwn is the policy of what the bot itself runs as, which is somebody
// else's to make: where its ARN is known, attached to it.
func terraformOwn(b *strings.Builder, p actions.Permissions, provider, cell, principal string) {
	label := identifier(policyName(cell))
	if p.Account != "" {
		label += "_" + string(p.Account)
	}
	if principal == "" {
		b.WriteString("# Attach it to that role or user; --principal ARN writes that, too.\n")
	}
	resource(b, "aws_iam_policy", label, []attribute{
		{"provider", provider},
		{"name", quoted(policyName(cell))},
		{"description", quoted("What breakglass itself may do")},
		{"policy", "jsonencode(" + hcl(tree(p.Policy), "  ", false) + ")"},
	})
	if principal == "" {
		return
	}
	kind := "role"
	if strings.Contains(principal, ":user/") {
		kind = "user"
	}
	name, _ := roleParts(principal)
	b.WriteString("\n")
	resource(b, "aws_iam_"+kind+"_policy_attachment", label, []attribute{
		{"provider", provider},
		{kind, quoted(name)},
		{"policy_arn", "aws_iam_policy." + label + ".arn"},
	})
}

// An attribute is a key and its expression, as written.
type attribute struct{ key, is string }

func resource(b *strings.Builder, kind, label string, list []attribute) {
	list = slices.DeleteFunc(list, func(a attribute) bool { return a.is == "" })
	fmt.Fprintf(b, "resource %q %q {\n%s}\n", kind, label, aligned(list, "  "))
}

// aligned writes attributes as `terraform fmt` does: those of one line that stand
// together have their signs below one another.
func aligned(list []attribute, indent string) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		end, width := i+1, len(list[i].key)
		if !strings.Contains(list[i].is, "\n") {
			for end < len(list) && !strings.Contains(list[end].is, "\n") {
				width = max(width, len(list[end].key))
				end++
			}
		}
		for ; i < end; i++ {
			fmt.Fprintf(&b, "%s%-*s = %s\n", indent, width, list[i].key, list[i].is)
		}
	}
	return b.String()
}

// policyName is the name of the managed policy; with the cell in it, where it is
// for one alone, since several may stand side by side.
func policyName(cell string) string {
	if cell == "" {
		return "breakglass"
	}
	return "breakglass-" + cell
}

// accounts are those of the identities, in order, each once; "" is one that is not
// known.
func accounts(list []actions.Permissions) []string {
	var out []string
	for _, p := range list {
		if !slices.Contains(out, string(p.Account)) {
			out = append(out, string(p.Account))
		}
	}
	return out
}

// roleParts are the name and the path of a role's or user's ARN.
func roleParts(arn string) (name, path string) {
	_, rest, _ := strings.Cut(arn[strings.LastIndexByte(arn, ':')+1:], "/")
	at := strings.LastIndexByte(rest, '/') + 1
	return rest[at:], "/" + rest[:at]
}

var unnamable = regexp.MustCompile(`[^A-Za-z0-9_]`)

// identifier makes a name that Terraform takes.
func identifier(s string) string {
	s = unnamable.ReplaceAllString(s, "_")
	if s[0] >= '0' && s[0] <= '9' {
		s = "_" + s
	}
	return s
}

// quoted is a string of Terraform's language, in which ${ and %{ begin something
// to be filled in.
func quoted(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "${", "$${", "%{", "%%{").Replace(s)
	return `"` + s + `"`
}

// hcl writes a tree as an expression. With open, the placeholder for what the bot
// runs as becomes the variable.
func hcl(n *yaml.Node, indent string, open bool) string {
	in := indent + "  "
	var b strings.Builder
	switch n.Kind {
	case yaml.MappingNode:
		var list []attribute
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if identifier(key) != key {
				key = quoted(key)
			}
			list = append(list, attribute{key, hcl(n.Content[i+1], in, open)})
		}
		b.WriteString("{\n" + aligned(list, in) + indent + "}")
	case yaml.SequenceNode:
		b.WriteString("[\n")
		for _, item := range n.Content {
			fmt.Fprintf(&b, "%s%s,\n", in, hcl(item, in, open))
		}
		b.WriteString(indent + "]")
	default:
		if open && isPlaceholder(n.Value) {
			return "var." + terraformPrincipal
		}
		b.WriteString(quoted(n.Value))
	}
	return b.String()
}

// isPlaceholder recognises the placeholder of any partition.
func isPlaceholder(s string) bool {
	_, want, _ := strings.Cut(actions.PrincipalPlaceholder, ":iam:")
	_, got, ok := strings.Cut(s, ":iam:")
	return ok && got == want
}
