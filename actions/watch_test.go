package actions_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"breakglass/actions"
	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// look is one look at an open grant, taken in by the core. It changes nothing.
func (l *life) look() grant.Sighting {
	l.s.t.Helper()
	before := len(l.s.world.Writes())
	v := l.s.aws.Watch(l.s.t.Context(), l.g, l.others())
	if w := l.s.world.Writes()[before:]; len(w) > 0 {
		l.s.t.Errorf("looking changed AWS: %v", w)
	}
	l.apply(grant.Watched{Sighting: v})
	return v
}

// settled lets the minute pass in which nothing counts as drift.
func (l *life) settled() *life {
	l.s.t.Helper()
	time.Sleep(2 * time.Minute)
	l.clean()
	return l
}

// clean holds that everything could be judged and is as it was opened.
func (l *life) clean() {
	l.s.t.Helper()
	v := l.look()
	if len(v.Drift) > 0 || !v.SessionsRead {
		l.s.t.Errorf("drift in what nobody touched: %+v", v)
	}
	for _, name := range []string{"statement", "hard stop", "logging", "permission"} {
		if !slices.Contains(v.Read, name) {
			l.s.t.Errorf("%s was not judged: %v", name, v.Read)
		}
	}
}

// drifted holds that just this is not as it was, and how it is said.
func (l *life) drifted(name string, words ...string) {
	l.s.t.Helper()
	v := l.look()
	if !slices.Contains(v.Read, name) || v.Drift[name] == "" {
		l.s.t.Errorf("no drift of %s: %+v", name, v)
	}
	for other, text := range v.Drift {
		if other != name {
			l.s.t.Errorf("drift of %s, too: %s", other, text)
		}
		if !strings.HasSuffix(text, ".") || strings.Contains(text, "operation error") {
			l.s.t.Errorf("not a sentence for people: %s", text)
		}
	}
	for _, w := range words {
		if !strings.Contains(v.Drift[name], w) {
			l.s.t.Errorf("%q is not in: %s", w, v.Drift[name])
		}
	}
}

// SingleStore's engineer comes, types, leaves; comes again behind a closed tab.
func TestWatch_whoIsIn(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open().settled()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		id, sh := s.mustShell(creds)
		if _, err := sh.Type("whoami"); err != nil {
			t.Fatal(err)
		}
		elsewhere := s.cell.Region.Instance("i-0bbbbbbbbbbbbbbbb").Profile("privileged-access-" + cellName)
		out, err := ssm.NewFromConfig(s.config(creds)).StartSession(t.Context(), &ssm.StartSessionInput{Target: new(elsewhere.ID())})
		if err != nil {
			t.Fatal(err)
		}
		key := s.cell.Account.User("colleague").Credentials()
		mine, _ := s.mustShell(key)
		v := l.look()
		if len(v.Sessions) != 2 || len(v.Unlogged)+len(v.NeverLogged) > 0 || !slices.Equal(v.Logged, []string{v.Sessions[0].ID, v.Sessions[1].ID}) {
			t.Fatalf("sighting: %+v", v)
		}
		for _, live := range v.Sessions {
			if live.ID == mine || !strings.HasSuffix(live.Owner, ":assumed-role/"+roleName+"/support-engineer") || live.Started.IsZero() {
				t.Errorf("session: %+v", live)
			}
		}
		if len(l.g.Watch.Visits) != 2 {
			t.Errorf("watch: %+v", l.g.Watch)
		}
		sh.Exit()
		again, err := s.cell.Region.Shell(*out.SessionId)
		if err != nil {
			t.Fatal(err)
		}
		again.Disconnect()
		v = l.look()
		if len(v.Sessions) != 1 || v.Sessions[0].ID != *out.SessionId || v.Sessions[0].Status != "Disconnected" {
			t.Errorf("sighting: %+v", v)
		}
		if i := slices.IndexFunc(l.g.Watch.Visits, func(v grant.Visit) bool { return v.Session.ID == id }); i < 0 || l.g.Watch.Visits[i].Gone.IsZero() {
			t.Errorf("visits: %+v", l.g.Watch.Visits)
		}
		l.close()
	})
}

// Sessions that leave no log: the instance may not write it, the stream is only
// of a similar name, or what is done in them is never logged.
func TestWatch_unloggedSessions(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.LogGroup.Delete() // with a key on the group it would not even start
		group := s.cell.Region.LogGroup(logGroup)
		l := s.request().open().settled()
		creds, err := s.vendor(vendorARN).assume()
		if err != nil {
			t.Fatal(err)
		}
		s.cell.Host.Detach("arn:aws:iam::" + account + ":policy/session-logging")
		silent, sh := s.mustShell(creds)
		group.Stream(silent + "-copy").Stream("a-" + silent).Stream(strings.ToUpper(silent))
		if _, err := sh.Type("whoami"); err != nil {
			t.Fatal(err)
		}
		var never []string
		for _, document := range []string{"AWS-StartPortForwardingSession", "AWS-StartSSHSession", "AWS-StartNonInteractiveCommand"} {
			out, err := ssm.NewFromConfig(s.config(creds)).StartSession(t.Context(), &ssm.StartSessionInput{Target: new(s.cell.Instance.ID()), DocumentName: new(document)})
			if err != nil {
				t.Fatal(err)
			}
			never = append(never, *out.SessionId)
		}
		slices.Sort(never)
		v := l.look()
		if !slices.Equal(v.Unlogged, []string{silent}) || !slices.Equal(v.NeverLogged, never) || len(v.Logged) > 0 {
			t.Errorf("sighting: %+v", v)
		}
		time.Sleep(grant.UnloggedAfter) // now people are told
		l.look()

		// CloudWatch Logs does not answer: nothing is said about the logs.
		remove := s.world.Inject(awssim.Fault{Call: "logs:DescribeLogStreams", Kind: awssim.Throttle})
		if v := l.look(); len(v.Unlogged) > 0 || len(v.Sessions) != 4 || slices.Contains(v.Read, "permission") {
			t.Errorf("sighting: %+v", v)
		}
		remove()
		group.Stream(silent).Stream(never[0])
		want := []string{silent, never[0]}
		slices.Sort(want)
		if v := l.look(); len(v.Unlogged) > 0 || !slices.Equal(v.NeverLogged, never[1:]) || !slices.Equal(v.Logged, want) {
			t.Errorf("sighting: %+v", v)
		}
		for _, visit := range l.g.Watch.Visits {
			if late := !visit.LoggedAt.IsZero(); late != (visit.Session.ID == silent) {
				t.Errorf("the log of %s began late: %t", visit.Session.ID, late)
			}
		}
		group.Delete()
		l.drifted("logging", "The log group "+logGroup+" has gone")
	})
}

// What people, and their Terraform, do to an open grant, and how it is said; and
// that it is seen when they put it back.
func TestWatch_drift(t *testing.T) {
	const ec2Only = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	edit := func(old, now string) func(*stage, *life) {
		return func(s *stage, l *life) {
			doc := s.cell.Role.TrustDocument()
			changed := strings.Replace(doc, strings.ReplaceAll(old, "END", l.g.End.Format(time.RFC3339)), now, 1)
			if changed == doc {
				s.t.Fatalf("%s is not in %s", old, doc)
			}
			s.cell.Role.Trust(changed)
		}
	}
	prefs := func(content string) func(*stage, *life) {
		return func(s *stage, _ *life) { s.cell.Region.Preferences(content) }
	}
	for name, tt := range map[string]struct {
		change func(*stage, *life)
		drift  string
		words  []string
	}{
		"terraform takes the statement out": {
			func(s *stage, _ *life) { s.cell.Role.Trust(ec2Only) },
			"statement",
			[]string{"The statement BreakglassBG1 has gone from the trust policy of " + roleName, "SingleStore cannot assume the role."},
		},
		"a person puts a statement of their own in its place": {
			edit(`"Sid":"BreakglassBG1"`, `"Sid":"ByHand"`),
			"statement",
			[]string{"has gone", "let in by statement ByHand instead", "not what was approved"},
		},
		"a later end": {
			edit("END", "2027-11-23T21:20:00Z"),
			"statement",
			[]string{"was changed", "it ends 2027-11-23T21:20:00Z now, not 2026-11-24T", "not what was approved"},
		},
		"no end": {
			edit(`,"Condition":{"DateLessThan":{"aws:CurrentTime":"END"}}`, ""),
			"statement",
			[]string{"was changed", "no end now"},
		},
		"another principal": {
			edit(vendorARN, otherARN),
			"statement",
			[]string{"it is about " + otherARN + " now, not " + vendorARN},
		},
		"one more action": {
			edit(vendorARN+`"},"Action":"sts:AssumeRole"`, vendorARN+`"},"Action":["sts:AssumeRole","sts:TagSession"]`),
			"statement",
			[]string{"was changed", "it reads", "sts:TagSession"},
		},
		"a trust policy that is none": {
			func(s *stage, _ *life) { s.cell.Role.Trust(`[]`) },
			"statement",
			[]string{"does not understand"},
		},
		"the role deleted": {
			func(s *stage, _ *life) { s.cell.Role.Delete() },
			"statement",
			[]string{"The role " + roleName + " has gone from account " + account},
		},
		"hard stop taken away": {
			func(s *stage, _ *life) { s.cell.Role.RemoveInline("BreakglassHardStop") },
			"hard stop",
			[]string{"BreakglassHardStop has gone from the role " + roleName, "Terraform"},
		},
		"hard stop of another kind": {
			func(s *stage, _ *life) { s.cell.Role.Inline("BreakglassHardStop", awssim.DenyAll) },
			"hard stop",
			[]string{"or was changed"},
		},
		"hard stop too early": {
			func(s *stage, l *life) {
				p, _ := s.cell.Role.InlinePolicy("BreakglassHardStop")
				s.cell.Role.Inline("BreakglassHardStop", strings.ReplaceAll(p, l.g.End.Format(time.RFC3339), "2026-11-23T21:00:00Z"))
			},
			"hard stop",
			[]string{"after 2026-11-23T21:00:00Z, not", "too early"},
		},
		"logging redirected": {
			prefs(strings.Replace(preferences["right already"], logGroup, "/aws/ssm/other/cluster", 1)),
			"logging",
			[]string{"redirected", "logged to /aws/ssm/other/cluster, not to " + logGroup},
		},
		"logging switched off": {
			prefs(preferences["other people's"]),
			"logging",
			[]string{"switched off"},
		},
		"streaming switched off": {
			prefs(strings.Replace(preferences["right already"], `StreamingEnabled":true`, `StreamingEnabled":false`, 1)),
			"logging",
			[]string{"cloudWatchStreamingEnabled: false → true"},
		},
		"preferences from a parameter": {
			prefs(strings.Replace(preferences["right already"], logGroup, "{{group}}", 1)),
			"logging",
			[]string{"filled in from a parameter"},
		},
		"preferences that are none": {
			prefs("- just\n- a list\n"),
			"logging",
			[]string{"does not understand"},
		},
		"log group deleted": {
			func(s *stage, _ *life) { s.cell.LogGroup.Delete(); s.cell.Region.LogGroup(logGroup + "-old") },
			"logging",
			[]string{"The log group " + logGroup + " has gone"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				l := s.request().open().settled()
				trustWas := s.cell.Role.TrustDocument()
				stopWas, _ := s.cell.Role.InlinePolicy("BreakglassHardStop")
				prefsWas := s.cell.Region.DocumentVersions(prefsName)
				tt.change(s, l)
				l.drifted(tt.drift, tt.words...)
				if _, told := l.g.Watch.Drift[tt.drift]; !told {
					t.Errorf("the core was not told: %+v", l.g.Watch)
				}
				if _, there := s.cell.Account.LookupRole(roleName); !there {
					return
				}
				s.cell.Role.Trust(trustWas).Inline("BreakglassHardStop", stopWas)
				s.cell.Region.Preferences(prefsWas[len(prefsWas)-1].Content).LogGroup(logGroup).KMSKey("arn:aws:kms:us-east-1:444455556666:key/x")
				l.clean()
				if len(l.g.Watch.Drift) > 0 {
					t.Errorf("the core still has %v", l.g.Watch.Drift)
				}
				l.close()
			})
		})
	}
}

// What is not drift: another layout of the same document, statements of others,
// a hard stop that follows a longer grant, the vendor's second role.
func TestWatch_noDrift(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open().settled()
		s.cell.Role.Trust(strings.NewReplacer(`,"`, `, "`, `{`, "{\n  ").Replace(s.cell.Role.TrustDocument()))
		l.clean()
		s.cell.Role.Trust(strings.Replace(s.cell.Role.TrustDocument(), `[`, `[{"Sid":"Theirs","Effect":"Deny","Principal":"*","Action":"sts:TagSession"},`, 1))
		l.clean()
		longer := s.request(func(r *grant.Request) { r.Principal = otherARN; r.Duration = 8 * time.Hour })
		among(l, longer)
		longer.open().settled()
		l.clean()
		longer.close()
		l.clean()
		time.Sleep(time.Until(l.g.End) + time.Minute)
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`).RemoveInline("BreakglassHardStop")
		if v := l.look(); v.Drift["statement"] != "" || v.Drift["hard stop"] != "" {
			t.Errorf("what goes after the end goes rightly: %+v", v)
		}
	})
}

// Without AWS's enforcement there is no hard stop to miss.
func TestWatch_notEnforced(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request(func(r *grant.Request) { r.Terms.AWSEnforced = false }).open()
		time.Sleep(2 * time.Minute)
		if v := l.look(); len(v.Drift) > 0 || slices.Contains(v.Read, "hard stop") || !slices.Contains(v.Read, "statement") {
			t.Errorf("sighting: %+v", v)
		}
	})
}

// SingleStore deletes its role and makes it again under the same name: the ARN
// is the same, the trust is not.
func TestWatch_vendorsRoleMadeAnew(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open().settled()
		old := s.cell.Vendor.UniqueID()
		s.cell.Vendor.Delete()
		s.world.ForeignRole(vendorARN)
		l.drifted("statement", "SingleStore has deleted its role "+vendorARN, old, "not even a new role of the same name", "requested again")
		l.close()
	})
}

// The access role itself is made anew, somewhere else.
func TestWatch_roleMadeAnew(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open().settled()
		s.cell.Role.Delete()
		s.cell.Account.Role(roleName).Path("/new/").Trust(s.cell.Role.TrustDocument()).Inline("BreakglassHardStop", must(s.cell.Role.InlinePolicy("BreakglassHardStop")))
		l.drifted("statement", "was made anew as arn:aws:iam::"+account+":role/new/"+roleName)
	})
}

func must(text string, _ bool) string { return text }

// Two cells of a region share the preferences: opening the second redirects the
// first one's logs, and that is said with its name.
func TestWatch_redirectedByAnotherCell(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		second := actions.Cell{Name: "helios-second", Account: account, Region: region, Role: "second-role", Instance: "i-0cccccccccccccccc"}
		s.cell.Account.Role("second-role")
		s.cell.Region.Instance(second.Instance)
		s.cell.Region.LogGroup("/aws/ssm/helios-second/cluster")
		s.start(func(o *actions.Options) { o.Cells = append(o.Cells, second) })
		l := s.request().open().settled()
		other := s.asked(func(r *grant.Request) { r.Cell = second.Name })
		among(l, other)
		other.checked().approved().open()
		l.drifted("logging", "for BG-2 on helios-second", "logged to /aws/ssm/helios-second/cluster, not to "+logGroup)
	})
}

// A permission is taken from the bot, or its credentials.
func TestWatch_permissionLost(t *testing.T) {
	t.Run("actions", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			l := s.request().open().settled()
			s.cell.Bot.Policy("deny", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["logs:*","iam:GetRole","cloudtrail:*"],"Resource":"*"}]}`)
			l.drifted("permission", "may not call iam:GetRole, logs:DescribeLogGroups, logs:DescribeLogStreams any more", "does not see")
			if v := l.look(); slices.Contains(v.Read, "statement") || slices.Contains(v.Read, "logging") || !v.SessionsRead {
				t.Errorf("judged without reading: %+v", v)
			}
			s.cell.Bot.Without("deny")
			l.clean()
		})
	})
	t.Run("credentials", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			l := s.request().open().settled()
			remove := s.world.Inject(awssim.Fault{Kind: awssim.Instead, Error: &awssim.Error{Status: 403, Code: "ExpiredToken", Message: "The security token included in the request is expired"}})
			l.drifted("permission", "does not accept the bot's credentials", "ExpiredToken")
			remove()
			l.clean()
		})
	})
	t.Run("wrong account", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			l := s.request().open().settled()
			s.world.Account("999988887777")
			l.g.Account, s.conf.Account = "999988887777", "999988887777"
			s.start()
			l.drifted("permission", "of account "+account)
			if v := l.look(); !slices.Equal(v.Read, []string{"permission"}) || v.SessionsRead {
				t.Errorf("judged in another account: %+v", v)
			}
		})
	})
}

// What was not read is not judged: neither well nor ill.
func TestWatch_throttled(t *testing.T) {
	for call, unread := range map[string][]string{
		"iam:GetRole":             {"statement", "hard stop", "permission"},
		"iam:GetRolePolicy":       {"hard stop", "permission"},
		"ssm:GetDocument":         {"logging", "permission"},
		"logs:DescribeLogGroups":  {"logging", "permission"},
		"logs:DescribeLogStreams": {"permission"},
		"ssm:DescribeSessions":    {"permission"},
		"sts:GetCallerIdentity":   {"statement", "hard stop", "logging", "permission"},
	} {
		for kindName, kind := range map[string]awssim.FaultKind{"throttle": awssim.Throttle, "500": awssim.ServerError, "drop": awssim.DropBefore} {
			t.Run(call+" "+kindName, func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, s *stage) {
					l := s.request().open().settled()
					s.start() // else the account is known already
					s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
					s.world.Inject(awssim.Fault{Call: call, Kind: kind})
					began := time.Now()
					v := l.look()
					if d := time.Since(began); d > 31*time.Second {
						t.Errorf("it took %s", d)
					}
					for _, name := range []string{"statement", "hard stop", "logging", "permission"} {
						if got, want := slices.Contains(v.Read, name), !slices.Contains(unread, name); got != want {
							t.Errorf("%s judged: %t, want %t", name, got, want)
						}
						if v.Drift[name] != "" && slices.Contains(unread, name) {
							t.Errorf("%s was not read, but: %s", name, v.Drift[name])
						}
					}
					if v.SessionsRead == (call == "ssm:DescribeSessions" || call == "sts:GetCallerIdentity") {
						t.Errorf("sessions read: %t", v.SessionsRead)
					}
				})
			})
		}
	}
}

// An old replica's answer right after our own writes is not drift, neither for
// the process that wrote nor for the next one.
func TestWatch_staleReads(t *testing.T) {
	for _, restart := range []bool{false, true} {
		bubble(t, func(t *testing.T, s *stage) {
			l := s.request().open()
			s.world.Tune(func(k *awssim.Knobs) { k.StaleReads = 20 * time.Second })
			if restart {
				s.start()
			}
			if v := l.look(); len(v.Drift) > 0 || slices.Contains(v.Read, "statement") || slices.Contains(v.Read, "hard stop") {
				t.Errorf("restart %t: %+v", restart, v)
			}
			time.Sleep(time.Minute)
			l.clean()
		})
	}
}

// A minute after the opening, a closing on the same role overwrites the document
// again, and one replica still has the one from before.
func TestWatch_overwrittenByUs(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		l := s.request().open().settled()
		without := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
		with := s.cell.Role.TrustDocument()
		s.cell.Role.Trust(without)
		l.drifted("statement", "has gone")
		// The bot opens it once more from there: what it has replaced is past.
		if err := l.reopen(); err != nil {
			t.Fatal(err)
		}
		if got := s.cell.Role.TrustDocument(); got == without {
			t.Fatalf("not opened again: %s", got)
		}
		s.cell.Role.Trust(without)
		l.g.Access.At = l.g.Access.At.Add(-time.Hour)
		if v := l.look(); v.Drift["statement"] != "" || slices.Contains(v.Read, "statement") {
			t.Errorf("an answer from before our own write was believed: %+v", v)
		}
		time.Sleep(2 * time.Minute)
		l.drifted("statement", "has gone")
		s.cell.Role.Trust(with)
	})
}

// reopen runs the opening again, as after a crash.
func (l *life) reopen() error {
	access, err := l.s.aws.Open(l.s.t.Context(), l.g, l.others(), func(grant.StepChanged) error { return nil })
	if err == nil {
		l.g.Access = &access
	}
	return err
}

// There is nothing to look at.
func TestWatch_nothingOpen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for _, g := range []grant.Grant{
			s.request().g,
			{Cell: "elsewhere", Access: &grant.Access{}},
			{Cell: cellName, Account: "999988887777", Access: &grant.Access{}},
		} {
			if v := s.aws.Watch(t.Context(), g, nil); len(v.Read) > 0 || v.SessionsRead {
				t.Errorf("sighting: %+v", v)
			}
		}
		if calls := s.world.Calls(); len(calls) > 0 {
			t.Errorf("AWS was called: %v", calls)
		}
	})
}

// CloudTrail tells who came, late, and only what is SingleStore's.
func TestWatch_whoAssumed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newStage(t, awssim.Cell{Region: "eu-west-1"})
		s.world.Tune(func(k *awssim.Knobs) { k.TrailDelay = 15 * time.Minute })
		const stranger = "arn:aws:iam::222233334444:role/auditor"
		v, auditor := s.vendor(vendorARN), s.vendor(stranger)
		s.cell.Role.Trust(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"},{"Sid":"Audit","Effect":"Allow","Principal":{"AWS":["` + stranger + `","` + otherARN + `"]},"Action":"sts:AssumeRole"}]}`)
		if _, err := s.vendor(otherARN).assume(); err != nil { // before it was opened
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		l := s.request(func(r *grant.Request) { r.Duration = 2 * time.Hour }).open().settled()
		for _, who := range []vendor{v, auditor} {
			if _, err := who.assume(); err != nil {
				t.Fatal(err)
			}
		}
		came := time.Now()
		global := s.config(v.role.Credentials("support"))
		global.Region = "us-east-1"
		if _, err := sts.NewFromConfig(global).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: new(s.cell.Role.ARN()), RoleSessionName: new("by-the-global-endpoint")}); err != nil {
			t.Fatal(err)
		}
		if got := l.look().Assumed; len(got) > 0 {
			t.Errorf("CloudTrail is not that fast: %+v", got)
		}
		for range 20 {
			time.Sleep(time.Minute)
			l.look()
		}
		got := l.g.Watch.Assumed
		if len(got) != 2 {
			t.Fatalf("assumed: %+v", got)
		}
		var sessions []string
		for _, a := range got {
			sessions = append(sessions, a.Session)
			if a.By != "111122223333" || a.From == "" || a.EventID == "" || a.At.Sub(came).Abs() > 2*time.Second {
				t.Errorf("assumed: %+v", a)
			}
		}
		if slices.Sort(sessions); !slices.Equal(sessions, []string{"by-the-global-endpoint", "support-engineer"}) {
			t.Errorf("sessions: %v", sessions)
		}
		lookups := map[string][]time.Time{}
		for _, c := range s.world.Calls() {
			if c.Service == "cloudtrail" {
				if c.Status != 200 {
					t.Errorf("LookupEvents was refused: %+v", c)
				}
				lookups[c.Region] = append(lookups[c.Region], c.Time)
			}
		}
		for _, r := range []string{"eu-west-1", "us-east-1"} {
			if n := len(lookups[r]); n < 7 || n > 9 {
				t.Errorf("%d lookups in %s in 23 minutes, want one every 3", n, r)
			}
		}
	})
}

// SingleStore's tools use the STS endpoint of a region of their own: CloudTrail is
// asked there, too, where the operator has named it; each region once in three
// minutes, and one that does not answer holds up no other.
func TestWatch_trailRegions(t *testing.T) {
	for where, tt := range map[string]struct {
		cell        string
		named, asks []string
	}{
		"aws": {"eu-west-1", []string{"ap-southeast-1", "eu-west-1", "us-east-1", "ap-southeast-1", "mx-central-1"}, []string{"ap-southeast-1", "eu-west-1", "mx-central-1", "us-east-1"}},
		"gov": {"us-gov-west-1", []string{"us-gov-east-1", "us-gov-west-1"}, []string{"us-gov-east-1", "us-gov-west-1"}},
	} {
		t.Run(where, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newStage(t, awssim.Cell{Region: tt.cell})
				s.conf.TrailRegions = tt.named
				s.start()
				s.world.Inject(awssim.Fault{Call: "cloudtrail:*", Region: "mx-central-1", Latency: time.Hour})
				l := s.request(func(r *grant.Request) { r.Principal = grant.RoleARN(s.cell.Vendor.ARN()) }).open().settled()
				for _, r := range tt.asks {
					c := s.config(s.cell.Vendor.Credentials("support"))
					c.Region = r
					if _, err := sts.NewFromConfig(c).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: new(s.cell.Role.ARN()), RoleSessionName: new("from-" + r)}); err != nil {
						t.Fatal(err)
					}
				}
				for range 20 {
					time.Sleep(time.Minute)
					began := time.Now()
					l.look()
					if d := time.Since(began); d > 6*time.Second {
						t.Errorf("the look took %s", d)
					}
				}
				var came []string
				for _, a := range l.g.Watch.Assumed {
					came = append(came, strings.TrimPrefix(a.Session, "from-"))
				}
				slices.Sort(came)
				if want := slices.DeleteFunc(slices.Clone(tt.asks), func(r string) bool { return r == "mx-central-1" }); !slices.Equal(came, want) {
					t.Errorf("assumed in %v, want %v", came, want)
				}
				lookups := map[string]int{}
				for _, c := range s.world.Calls() {
					if c.Service == "cloudtrail" {
						lookups[c.Region]++
					}
				}
				for _, r := range tt.asks {
					if n := lookups[r]; n < 6 || n > 8 {
						t.Errorf("%d lookups in %s in 22 minutes, want one every 3", n, r)
					}
				}
				if len(lookups) != len(tt.asks) {
					t.Errorf("asked in %v, want %v", lookups, tt.asks)
				}
			})
		})
	}
}

// CloudTrail is slow, refuses, or is away: nobody waits for it, and nobody is
// told.
func TestWatch_trailIsOnlyAdvice(t *testing.T) {
	for name, fault := range map[string]awssim.Fault{
		"slow": {Latency: 35 * time.Second}, "denied": {Kind: awssim.Deny}, "throttled": {Kind: awssim.Throttle}, "500": {Kind: awssim.ServerError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				fault.Call = "cloudtrail:*"
				s.world.Inject(fault)
				l := s.request().open()
				time.Sleep(2 * time.Minute)
				began := time.Now()
				l.clean()
				if d := time.Since(began); d > 6*time.Second {
					t.Errorf("the look took %s", d)
				}
				n := 0
				for _, c := range s.world.Calls() {
					if c.Service == "cloudtrail" {
						n++
					}
				}
				if n > 1 {
					t.Errorf("CloudTrail was asked %d times", n)
				}
			})
		})
	}
}

// Many roles of one account are watched in the same second: CloudTrail's two
// requests a second are kept, and everybody learns it in the end.
func TestWatch_manyRoles(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		const n = 12
		var cells []actions.Cell
		for i := range n {
			name := string(rune('a'+i)) + "-cell"
			s.cell.Account.Role(name).Attach("arn:aws:iam::"+account+":policy/session-starter", awssim.SessionStarter)
			cells = append(cells, actions.Cell{Name: grant.CellName(name), Account: account, Region: region, Role: name, Instance: s.cell.Instance.ID(), LogGroup: logGroup})
		}
		s.start(func(o *actions.Options) { o.Cells = cells })
		var lives []*life
		for _, c := range cells {
			l := s.request(func(r *grant.Request) { r.Cell = c.Name })
			lives = append(lives, l.open())
			if _, err := sts.NewFromConfig(s.config(s.cell.Vendor.Credentials("x"))).AssumeRole(t.Context(), &sts.AssumeRoleInput{
				RoleArn: new(l.g.Access.RoleARN), RoleSessionName: new("support-engineer"),
			}); err != nil {
				t.Fatal(err)
			}
		}
		for range 12 {
			time.Sleep(time.Minute)
			for _, l := range lives {
				l.look()
			}
		}
		for _, l := range lives {
			if len(l.g.Watch.Assumed) != 1 {
				t.Errorf("%s: %+v", l.g.ID, l.g.Watch.Assumed)
			}
		}
		for _, c := range s.world.Calls() {
			if c.Service == "cloudtrail" && c.Status != 200 {
				t.Errorf("LookupEvents was refused with %s", c.Code)
			}
		}
	})
}
