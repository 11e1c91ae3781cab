package bot_test

import (
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

// Every bad ask gets sentences that say what is wrong and what to do, and makes
// no request.
func TestCommand_badAsk(t *testing.T) {
	long := strings.Repeat("x", 3001)
	for name, c := range map[string]struct {
		text string
		says []string
	}{
		"wildcard":          {"arn=*", []string{"wildcard"}},
		"wildcard in a ARN": {"arn=arn:aws:iam::111122223333:role/*", []string{"wildcard"}},
		"root":              {"arn=arn:aws:iam::111122223333:root", []string{"names a whole AWS account"}},
		"account id":        {"arn=111122223333", []string{"names a whole AWS account"}},
		"assumed role":      {"arn=arn:aws:sts::111122223333:assumed-role/support/me", []string{"one session of a role"}},
		"user":              {"arn=arn:aws:iam::111122223333:user/support", []string{"names a user"}},
		"instance profile":  {"arn=arn:aws:iam::111122223333:instance-profile/x", []string{"instance profile"}},
		"other account":     {"arn=arn:aws:iam::999999999999:role/support", []string{"is in account 999999999999, which is not one of SingleStore's accounts"}},
		"own account":       {"arn=arn:aws:iam::444455556666:role/support", []string{"a role of the cell's own account"}},
		"other partition":   {"arn=arn:aws-cn:iam::111122223333:role/support", []string{"partition"}},
		"malformed":         {"arn=arn:aws:iam:111122223333:role/support", []string{"cannot be used"}},
		"no role":           {"arn=support", []string{"cannot be used"}},
		"service":           {"arn=ec2.amazonaws.com", []string{"cannot be used"}},
		"role without name": {"arn=arn:aws:iam::111122223333:role/", []string{"cannot be used"}},
		"invisible":         {"arn=arn:aws:iam::111122223333:role/sup\u200bport", []string{"cannot be used"}},
		"quote in it":       {`arn=arn:aws:iam::111122223333:role/x","AWS":"*`, []string{"cannot be used"}},
		"none":              {"arn=", []string{"no role ARN was given"}},
		"unknown cell":      {"cell=helios-nix", []string{`There is no cell "helios-nix" here`, "The cells are helios-prod, helios-test"}},
		"no cell of two":    {"-cell", []string{"Say which cell"}},
		"too long":          {"for=13h", []string{"13 h is longer than the 12 h that is allowed here", "Ask for 12 h or less"}},
		"far too long":      {"for=100000d", []string{"is not"}},
		"negative":          {"for=-4h", []string{"Duration"}},
		"zero":              {"for=0h", []string{"Duration"}},
		"no duration":       {"for=soon", []string{`"soon" is not a duration such as 90m, 4h, 1h30m or 2d`}},
		"a blink":           {"for=10ms", []string{"the shortest access is 1 s"}},
		"no ticket":         {"ticket=", []string{"Name SingleStore's ticket"}},
		"huge ticket":       {"ticket=" + strings.Repeat("9", 101), []string{"The ticket may have 100 characters at most"}},
		"no reason":         {"reason=", []string{"reason"}},
		"huge reason":       {"reason=" + long, []string{"3000"}},
		"key twice":         {"for=4h for=5h", []string{"for= is given twice"}},
		"unknown key":       {"role=admin", []string{`I do not understand "role=admin"`, "cell, arn, ticket, for, and last reason"}},
		"word":              {"now", []string{`I do not understand "now"`}},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			words := map[string]string{"cell": prod, "arn": vendor, "ticket": "48213", "for": "4h", "reason": "stuck"}
			key, value, ok := strings.Cut(c.text, "=")
			text := c.text
			if _, known := words[key]; known && ok {
				words[key] = value
			} else if rest, ok := strings.CutPrefix(c.text, "-"); ok {
				delete(words, rest)
			} else if text != "grant" {
				words["cell"] += " " + text
			}
			if text != "grant" {
				text = "grant"
				for _, k := range []string{"cell", "arn", "ticket", "for", "reason"} {
					if v, ok := words[k]; ok {
						text += " " + k + "=" + v
					}
				}
			}
			s.ana.says(text).refused(s, c.says...)
			if live, err := s.db.Live(); err != nil || len(live) != 0 {
				t.Errorf("a request was made of it: %+v (%v)", live, err)
			}
			if got := s.slack.Messages(channel); len(got) != 0 {
				t.Errorf("the channel was told:\n%s", s.wall())
			}
			s.untouched()
		})
	}
}

// Everything that is wrong is said at once.
func TestCommand_severalMistakes(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says("grant cell=nix arn=* for=99h").refused(s, `no cell "nix"`, "wildcard", "longer than the 12 h", "Name SingleStore's ticket", "reason")
	})
}

// What keyboards and Slack make of a line that was meant well.
func TestCommand_goodAsk(t *testing.T) {
	for name, c := range map[string]struct{ text, ticket, reason string }{
		"smart quotes":          {"grant cell=“helios-prod” arn=" + vendor + " ticket=‘48213’ for=4h reason=“stuck node pool”", "48213", "stuck node pool"},
		"dashes of a phone":     {"grant cell=helios–prod arn=" + strings.ReplaceAll(vendor, "-", "\u2011") + " ticket=48213 for=4h reason=stuck node pool", "48213", "stuck node pool"},
		"quotes":                {`grant cell="helios-prod" arn="` + vendor + `" ticket="48 213" for="4h" reason="a \"b\""`, "48 213", `a \"b\"`},
		"no-break spaces":       {"grant\u00a0cell=helios-prod\u00a0arn=" + vendor + "\u00a0ticket=48213\u202ffor=4h\u00a0reason=stuck\u00a0pool", "48213", "stuck pool"},
		"link of Slack":         {"grant cell=helios-prod arn=<" + vendor + "|" + vendor + "> ticket=<https://support.example/48213|48213> for=4h reason=stuck", "48213", "stuck"},
		"angle brackets":        {"grant cell=helios-prod arn=<" + vendor + "> ticket=48213 for=4h reason=stuck", "48213", "stuck"},
		"escaped":               {"grant cell=helios-prod arn=&lt;" + vendor + "&gt; ticket=48213 for=4h reason=a &lt; b &amp;&amp; c &amp;lt; d", "48213", "a < b && c &lt; d"},
		"lines and tabs":        {"grant\ncell=helios-prod\n\tarn=" + vendor + "\r\nticket=48213 for=4h reason=one\ntwo", "48213", "one two"},
		"capitals":              {"GRANT Cell=helios-prod ARN=" + vendor + " Ticket=48213 FOR=4h Reason=stuck", "48213", "stuck"},
		"reason takes the rest": {"grant cell=helios-prod ticket=48213 for=4h arn=" + vendor + " reason=the arn=arn:aws:iam::999999999999:role/x is wrong, cell=helios-test for=99h reason=none", "48213", "the arn=arn:aws:iam::999999999999:role/x is wrong, cell=helios-test for=99h reason=none"},
		"many spaces":           {"  grant   cell=helios-prod    arn=" + vendor + "  ticket=48213   for=4h    reason=  stuck  ", "48213", "stuck"},
		"a reason's own text":   {"grant cell=helios–prod arn=" + vendor + " ticket=48213 for=4h reason=“stuck” — the node’s pool, 3–5 pods − see “runbook”", "48213", "“stuck” — the node’s pool, 3–5 pods − see “runbook”"},
		"a reason in quotes":    {"grant cell=helios-prod arn=" + vendor + " ticket=48213 for=4h reason=“stuck — the node’s pool”", "48213", "stuck — the node’s pool"},
		"a reason with markup":  {"grant cell=helios-prod arn=" + vendor + " ticket=48213 for=4h reason=&lt;!channel&gt; — \u202eevil\u200b `x` a\u00a0b", "48213", "<!channel> — evil `x` a b"},
		"default duration":      {"grant cell=helios-prod arn=" + vendor + " ticket=48213 reason=stuck", "48213", "stuck"},
	} {
		beside(t, name, func(t *testing.T, s *stage) {
			s.asks(c.text)
			g := s.grant("BG-1")
			if g.Cell != prod || g.Principal != vendor || g.Duration != 4*time.Hour || g.Ticket != c.ticket || g.Reason != c.reason {
				t.Errorf("understood as cell %q, ARN %q, ticket %q, %s, reason %q; want ticket %q, reason %q", g.Cell, g.Principal, g.Ticket, g.Duration, g.Reason, c.ticket, c.reason)
			}
		})
	}
}

// A letter that becomes another when it is made small does not shift the value.
func TestCommand_keyWithForeignLetter(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		// U+212A KELVIN SIGN becomes k in lower case, and is two bytes longer.
		a := s.ana.says("grant cell=helios-prod arn=" + vendor + " tic\u212aet=48213 for=4h reason=stuck")
		if live, _ := s.db.Live(); len(live) == 1 && live[0].Ticket != "48213" {
			t.Errorf("the ticket is %q, want 48213 or a refusal:\n%s", live[0].Ticket, a.text)
		}
	})
}

// With one cell and a default duration both may be left out.
func TestCommand_onlyCell(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.asks("grant arn=" + vendor + " ticket=48213 reason=stuck")
		if g := s.grant("BG-1"); g.Cell != prod || g.Duration != 4*time.Hour {
			t.Errorf("got cell %s for %s", g.Cell, g.Duration)
		}
	}, func(c *setup) { c.policy.Cells = c.policy.Cells[:1] })
}

func TestCommand_allowedRoles(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.ana.says(strings.Replace(askProd, vendor, vendor2, 1)).refused(s, "is not one of the roles that singlestore.roles allows")
		s.asks(askProd)
	}, func(c *setup) { c.policy.Vendor.Roles = []string{vendor} })
}

func TestCommand_help(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.mia.says("help").wants(t, "grant", "revoke", "status", "show", "help")
		s.mia.says("help grant").wants(t, "/breakglass grant", "reason")
		s.mia.says("help REVOKE").wants(t, "revoke")
		for _, word := range []string{"extend", "emergency", "history", "check"} {
			s.mia.says("help "+word).wants(t, "/breakglass "+word)
		}
		s.mia.says("help nothing-like-it").refused(s, "There is no command")
	})
}

func TestCommand_typos(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for typed, meant := range map[string]string{
			"garnt": "grant", "rvoke BG-1": "revoke", "stauts": "status", "sohw 1": "show", "halp": "help", "close": "revoke", "request": "grant", "ls": "status",
		} {
			s.ana.says(typed).refused(s, "nothing happened", "Did you mean", "/breakglass "+meant, "/breakglass help "+meant)
		}
		s.ana.says("frobnicate <!channel> now").refused(s, "There is no command", "/breakglass help")
		s.ana.says("`grant`").refused(s, "There is no command")
		s.ana.says(strings.Repeat("x", 9000)).refused(s, "There is no command")
		s.untouched()
	})
}

func TestCommand_show(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.mia.says("show").refused(s, "Say which grant")
		s.mia.says("show BG-1").refused(s, "There is no grant BG-1 here")
		s.mia.says("show <!here>").refused(s, "is not the id of a grant")
		s.asks(askProd)
		s.mia.says("show bg-1").wants(t, "BG-1 · Requested · helios-prod", "stuck node pool", "asked for 4 h")
		s.ben.presses("BG-1", "Approve")
		s.until("BG-1", "Open until")
		s.mia.says("show 1").wants(t, "Open until", "approved 4 h", "opened access until", `"Sid": "BreakglassBG1"`, "Support was not told yet")
		s.ana.says("revoke 1")
		s.mia.says("show 1").wants(t, "Access is being taken away")
		s.proven("BG-1")
		s.mia.says("show 1").wants(t, "Closed", "and proven", "@ana", "revoked access", "closed access, proven in")
	})
}

func TestCommand_status(t *testing.T) {
	for _, text := range []string{"", "status", "STATUS"} {
		bubble(t, func(t *testing.T, s *stage) {
			s.mia.says(text).wants(t, "Nothing is open, and nothing is waiting")
			s.asks(askProd)
			s.mia.says(text).wants(t, "1 waiting for a decision", "BG-1 · helios-prod", "needs 1 approval", "lapses in")
			s.ben.presses("BG-1", "Approve")
			s.until("BG-1", "Open until")
			time.Sleep(time.Hour)
			s.mia.says(text).wants(t, "1 open", "3 h left", "Support not told yet")
			s.ana.says("revoke")
			s.mia.says(text).wants(t, "1 closing")
			s.proven("BG-1")
			s.mia.says(text).wants(t, "Nothing is open")
			s.phase("BG-1", grant.Closed)
		}, quiet)
	}
}

// Commands are answered from wherever they are typed, also where the bot is no
// member.
func TestCommand_fromElsewhere(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		other := s.slack.AddChannel(slackChannel("random", true, ana))
		a := s.answered(s.ana.Slash(t.Context(), other, "/breakglass", askProd, atHome))
		s.inTime(a, "grant").wants(t, "BG-1 is requested")
		s.until("BG-1", "Requested")
		if got := s.slack.Messages(other); len(got) != 0 {
			t.Errorf("something was posted where the command was typed: %v", got)
		}
	})
}
