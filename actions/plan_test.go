package actions_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// checked takes the report of the read-only checks in, as the bot does before
// people approve.
func (l *life) checked() *life {
	l.s.t.Helper()
	l.apply(grant.CheckDone{Report: l.s.aws.Check(l.s.t.Context(), l.g)})
	return l
}

// People approve a plan. Whatever was shown and is another now when it comes to
// opening, nobody has approved that: nothing is written.
func TestOpen_notWhatWasApproved(t *testing.T) {
	const encrypted = `"cloudWatchEncryptionEnabled":true`
	for name, tt := range map[string]struct {
		before func(*stage)
		change func(*stage, *life)
		words  []string
	}{
		"another instance": {
			change: func(s *stage, _ *life) {
				s.cell.Instance.State("terminated")
				s.cell.Region.Instance("i-0fedcba9876543210").Name("Breakglass instance").Profile("privileged-access-" + cellName)
			},
			words: []string{"The instance is i-0fedcba9876543210 now, but", "was shown when this was approved"},
		},
		"another role": {
			change: func(s *stage, _ *life) { s.cell.Role.Path("/moved/") },
			words:  []string{"The role is arn:aws:iam::" + account + ":role/moved/" + roleName + " now"},
		},
		"another log group": {
			change: func(s *stage, _ *life) {
				s.cell.Region.LogGroup("/elsewhere").KMSKey("arn:aws:kms:us-east-1:444455556666:key/x")
				s.conf.LogGroup = "/elsewhere"
				s.start()
			},
			words: []string{"The log group is /elsewhere now, but " + logGroup + " was shown"},
		},
		"another statement": {
			change: func(_ *stage, l *life) { l.g.Principal = otherARN },
			words:  []string{"The trust statement is", otherARN + `"}`, vendorARN + `"}`, "was shown"},
		},
		"logging was on and points elsewhere now": {
			before: func(s *stage) { s.cell.Region.Preferences(preferences["right already"]) },
			change: func(s *stage, _ *life) {
				s.cell.Region.Preferences(loggedTo("/aws/ssm/other/cluster"))
			},
			words: []string{"cloudWatchLogGroupName: /aws/ssm/other/cluster → " + logGroup, "shown: no change"},
		},
		"there were no preferences and now they point elsewhere": {
			change: func(s *stage, _ *life) {
				s.cell.Region.Preferences(loggedTo("/aws/ssm/other/cluster"))
			},
			words: []string{"/aws/ssm/other/cluster → " + logGroup, "shown: document SSM-SessionManagerRunShell: absent → created"},
		},
		"they point to a third group": {
			before: func(s *stage) {
				s.cell.Region.Preferences(loggedTo("/aws/ssm/other/cluster"))
			},
			change: func(s *stage, _ *life) {
				s.cell.Region.Preferences(loggedTo("/aws/ssm/third/cluster"))
			},
			words: []string{"/aws/ssm/third/cluster → " + logGroup, "shown: cloudWatchLogGroupName: /aws/ssm/other/cluster → " + logGroup},
		},
		"a version that nobody was shown would become the default": {
			before: func(s *stage) { s.cell.Region.Preferences(preferences["right already"]) },
			change: func(s *stage, _ *life) {
				s.cell.Region.Preferences(preferences["right already"]).SetDefaultVersion(prefsName, 1)
			},
			words: []string{"default version of SSM-SessionManagerRunShell: 1 → 2", "shown: no change"},
		},
		"another version than was shown would become the default": {
			before: func(s *stage) {
				s.cell.Region.Preferences(preferences["right already"]).Preferences(preferences["right already"]).SetDefaultVersion(prefsName, 1)
			},
			change: func(s *stage, _ *life) {
				s.cell.Region.Preferences(preferences["right already"]).SetDefaultVersion(prefsName, 1)
			},
			words: []string{"1 → 3", "shown: default version of SSM-SessionManagerRunShell: 1 → 2"},
		},
		"the log group has lost its key": {
			before: func(s *stage) { s.cell.Region.Preferences(preferences["other people's"]) },
			change: func(s *stage, _ *life) { s.cell.LogGroup.Delete(); s.cell.Region.LogGroup(logGroup) },
			words:  []string{"set cloudWatchEncryptionEnabled to false now, but true was shown"},
		},
		"the log group has a key now": {
			before: func(s *stage) {
				s.cell.LogGroup.Delete()
				s.cell.Region.LogGroup(logGroup)
				s.cell.Region.Preferences(strings.Replace(preferences["right already"], encrypted, `"cloudWatchEncryptionEnabled":false`, 1))
			},
			change: func(s *stage, _ *life) {
				s.cell.Region.LogGroup(logGroup).KMSKey("arn:aws:kms:us-east-1:444455556666:key/x")
			},
			words: []string{"cloudWatchEncryptionEnabled: false → true", "shown: no change"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				if tt.before != nil {
					tt.before(s)
				}
				l := s.asked().checked().approved()
				tt.change(s, l)
				tr := wantTrouble(t, l.tryOpen(), grant.Changed, grant.StepCheck, append(tt.words, "Nothing was opened.", "Look at the card", "needs approval again")...)
				s.noWrites()
				if l.apply(grant.Replanned{Trouble: *tr}); l.g.Phase != grant.Requested || len(l.g.Approvals) > 0 {
					t.Fatalf("it is %s with %d approvals, and should be asked for again", l.g.Phase, len(l.g.Approvals))
				}
				l.checked().approved().open() // what is shown now
			})
		})
	}
}

// What only makes less to do, or was not shown because it could not be read,
// stops nobody.
func TestOpen_lessThanWasApproved(t *testing.T) {
	for name, tt := range map[string]struct {
		before, change func(*stage)
	}{
		"nothing has changed":   {},
		"somebody has done it":  {change: func(s *stage) { s.cell.Region.Preferences(preferences["right already"]) }},
		"somebody has begun it": {change: func(s *stage) { s.cell.Region.Preferences(preferences["other people's"]) }},
		"the console has made the document": {change: func(s *stage) {
			s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":"","cloudWatchEncryptionEnabled":false}}`)
		}},
		"other settings": {
			before: func(s *stage) { s.cell.Region.Preferences(preferences["other people's"]) },
			change: func(s *stage) {
				s.cell.Region.Preferences(strings.Replace(preferences["other people's"], `"45"`, `"30"`, 1))
			},
		},
		"others are trusted": {change: func(s *stage) { s.cell.Role.Trust(trusts["other people's"]) }},
		"preferences were not readable when it was checked": {
			before: func(s *stage) {
				s.world.Inject(awssim.Fault{Call: "ssm:GetDocument", Kind: awssim.Throttle, Count: 10})
			},
			change: func(s *stage) { s.cell.Region.Preferences(preferences["other people's"]) },
		},
		"nothing was readable when it was checked": {
			before: func(s *stage) {
				remove := s.world.Inject(awssim.Fault{Kind: awssim.Throttle})
				time.AfterFunc(20*time.Second, remove)
			},
			change: func(*stage) { time.Sleep(time.Minute) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				if tt.before != nil {
					tt.before(s)
				}
				l := s.request().checked()
				if tt.change != nil {
					tt.change(s)
				}
				l.open()
				l.clean()
			})
		})
	}
}

// Somebody redirects the preferences between our look and our writing: what
// people were shown is not done on top of that.
func TestOpen_redirectedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Region.Preferences(preferences["other people's"])
		l := s.asked().checked().approved()
		s.world.Inject(awssim.Fault{Call: "ssm:UpdateDocument", Kind: awssim.Throttle, Count: 1})
		s.world.After(func(_ context.Context, c awssim.Call) {
			if c.Name() == "ssm:UpdateDocument" {
				s.cell.Region.Preferences(loggedTo("/aws/ssm/other/cluster"))
			}
		})
		wantTrouble(t, l.tryOpen(), grant.Changed, grant.StepLogging, "/aws/ssm/other/cluster → "+logGroup, "needs approval again")
		s.noWrites()
	})
}

// loggedTo is a preferences document that is right but for its group.
func loggedTo(group string) string {
	return strings.Replace(preferences["right already"], logGroup, group, 1)
}

// The preferences point to another cell's group, and the whole region's sessions
// with them. To move them takes a yes of its own by everybody who approves, to
// exactly that; the finding names both groups.
func TestOpen_redirectNeedsAYes(t *testing.T) {
	other := &grant.Redirect{From: "/aws/ssm/other/cluster", To: logGroup}
	third := &grant.Redirect{From: "/aws/ssm/third/cluster", To: logGroup}
	approval := func(by grant.UserID, yes string) grant.Approval { return grant.Approval{By: by, Yes: yes} }
	for name, tt := range map[string]struct {
		approvals []grant.Approval
		ok        bool
	}{
		"agreed":                   {[]grant.Approval{approval("U1", other.Yes())}, true},
		"both agreed":              {[]grant.Approval{approval("U1", other.Yes()), approval("U2", other.Yes())}, true},
		"one of two":               {[]grant.Approval{approval("U1", other.Yes()), approval("U2", "")}, false},
		"one to something else":    {[]grant.Approval{approval("U1", third.Yes()), approval("U2", other.Yes())}, false},
		"approved, and not asked":  {[]grant.Approval{approval("U1", "")}, false},
		"agreed to something else": {[]grant.Approval{approval("U1", third.Yes())}, false},
		"by nobody":                {nil, false},
	} {
		for _, shown := range []bool{true, false} { // the report may be newer than the approval
			t.Run(fmt.Sprintf("%s, on the card %t", name, shown), func(t *testing.T) {
				t.Parallel()
				bubble(t, func(t *testing.T, s *stage) {
					s.cell.Region.Preferences(loggedTo(other.From))
					l := s.request()
					l.g.Approvals = tt.approvals
					if shown {
						l.checked()
						finding(t, *l.g.Report, "preferences", grant.Warning, other.From, other.To, "for everybody", "revoking does not change it back")
						if diff := cmp.Diff(other, l.g.Report.Redirect); diff != "" {
							t.Errorf("redirect (-want +got):\n%s", diff)
						}
					}
					err := l.tryOpen()
					if !tt.ok {
						wantTrouble(t, err, grant.Changed, grant.StepCheck, "from "+other.From+" to "+other.To, "not everybody who approved", "needs approval again")
						s.noWrites()
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					s.wantLogging(true)
				})
			})
		}
	}
}

// What is no redirection needs no yes: logging that was off, that was never set
// up, or that goes to the group already.
func TestCheck_noRedirect(t *testing.T) {
	for name, prefs := range map[string]string{
		"absent": "", "off": preferences["other people's"], "right already": preferences["right already"],
		"not set": `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				if prefs != "" {
					s.cell.Region.Preferences(prefs)
				}
				if r := s.aws.Check(t.Context(), s.asked().g); r.Redirect != nil {
					t.Errorf("redirect: %+v", r.Redirect)
				}
			})
		})
	}
}

// The bot dies in the middle of its own change of the preferences, at any call.
// They point to our group then, and nobody is asked again; before that they do
// not, and the yes that was given still counts.
func TestOpen_crashWhileRedirecting(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; n <= 40; n++ {
			done := false
			bubble(t, func(t *testing.T, s *stage) {
				s.world.Tune(func(k *awssim.Knobs) { k.DocumentDelay = 2 * time.Second })
				s.cell.Region.Preferences(loggedTo("/aws/ssm/other/cluster"))
				l := s.asked().checked().approved()
				remove := s.crashAt(n, after, func(ctx context.Context) {
					_, err := s.aws.Open(ctx, l.g, nil, l.step)
					done = err == nil
				})
				remove()
				s.start()
				l.open()
				s.wantLogging(true)
				if v := len(s.cell.Region.DocumentVersions(prefsName)); v != 2 {
					t.Errorf("crash at call %d: %d versions, want 2", n, v)
				}
			})
			if done {
				break
			}
		}
	}
}

// Somebody sends the region's logs elsewhere in the very moment in which we switch
// them on: UpdateDocument has no condition, so ours covers theirs. Nobody has
// agreed to that, and theirs is put back.
func TestOpen_coveredARedirection(t *testing.T) {
	theirs := strings.Replace(loggedTo("/aws/ssm/third/cluster"), `"inputs":{`, `"inputs":{"idleSessionTimeout":"7",`, 1)
	for name, before := range map[string]string{
		"logging was off": preferences["other people's"], "a redirection was agreed to": loggedTo("/aws/ssm/other/cluster"),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				s.world.Tune(func(k *awssim.Knobs) { k.DocumentDelay = time.Second })
				s.cell.Region.Preferences(before)
				l := s.asked().checked().approved()
				once := true
				s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
					if c.Name() == "ssm:UpdateDocument" && once {
						once = false
						s.cell.Region.Preferences(theirs)
					}
					return nil
				})
				tr := wantTrouble(t, l.tryOpen(), grant.Changed, grant.StepLogging, "/aws/ssm/third/cluster", logGroup, "needs approval again")
				versions := s.cell.Region.DocumentVersions(prefsName)
				last := versions[len(versions)-1].Content
				if !strings.Contains(last, "/aws/ssm/third/cluster") || !strings.Contains(last, `"idleSessionTimeout":"7"`) || strings.Contains(last, logGroup) {
					t.Errorf("the latest version is not theirs: %s", last)
				}
				if slices.Contains(s.writes(), "ssm:UpdateDocumentDefaultVersion") {
					t.Error("ours became the default version")
				}
				time.Sleep(2 * time.Second)
				l.apply(grant.Replanned{Trouble: *tr})
				l.checked().approved().open()
				s.wantLogging(true)
				if got := s.inputs()["idleSessionTimeout"]; got != "7" {
					t.Errorf("idleSessionTimeout: %v", got)
				}
			})
		})
	}
	t.Run("and cannot be put back", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *stage) {
			s.cell.Region.Preferences(preferences["other people's"])
			l := s.asked().checked().approved()
			n := 0
			s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
				if c.Name() != "ssm:UpdateDocument" {
					return nil
				}
				if n++; n > 1 {
					return &awssim.Fault{Kind: awssim.Deny}
				}
				s.cell.Region.Preferences(theirs)
				return nil
			})
			wantTrouble(t, l.tryOpen(), grant.Refused, grant.StepLogging, "their version 2 was covered by the bot's version 3", "save the right one")
		})
	})
}
