package actions_test

import (
	"context"
	"strings"
	"testing"
	"time"

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
				s.cell.Region.Preferences(strings.Replace(preferences["right already"], logGroup, "/aws/ssm/other/cluster", 1))
			},
			words: []string{"cloudWatchLogGroupName: /aws/ssm/other/cluster → " + logGroup, "shown: no change"},
		},
		"there were no preferences and now they point elsewhere": {
			change: func(s *stage, _ *life) {
				s.cell.Region.Preferences(strings.Replace(preferences["right already"], logGroup, "/aws/ssm/other/cluster", 1))
			},
			words: []string{"/aws/ssm/other/cluster → " + logGroup, "shown: document SSM-SessionManagerRunShell: absent → created"},
		},
		"they point to a third group": {
			before: func(s *stage) {
				s.cell.Region.Preferences(strings.Replace(preferences["right already"], logGroup, "/aws/ssm/other/cluster", 1))
			},
			change: func(s *stage, _ *life) {
				s.cell.Region.Preferences(strings.Replace(preferences["right already"], logGroup, "/aws/ssm/third/cluster", 1))
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
				l := s.request().checked()
				tt.change(s, l)
				err := l.tryOpen()
				wantTrouble(t, err, grant.Refused, grant.StepCheck, append(tt.words, "Nothing was opened.", "Request access again")...)
				s.noWrites()
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
		l := s.request().checked()
		s.world.Inject(awssim.Fault{Call: "ssm:UpdateDocument", Kind: awssim.Throttle, Count: 1})
		s.world.After(func(_ context.Context, c awssim.Call) {
			if c.Name() == "ssm:UpdateDocument" {
				s.cell.Region.Preferences(strings.Replace(preferences["right already"], logGroup, "/aws/ssm/other/cluster", 1))
			}
		})
		wantTrouble(t, l.tryOpen(), grant.Refused, grant.StepLogging, "/aws/ssm/other/cluster → "+logGroup, "Request access again")
		s.noWrites()
	})
}

// AWS hung while the card was made, and Approve was pressed all the same: the role,
// the statement and the end are the request's own, but the logging of the whole
// region is not moved away from where it goes without anybody having seen it.
func TestOpen_redirectNobodyHasSeen(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":"/aws/ssm/other/cluster","cloudWatchStreamingEnabled":true}}`)
		l := s.request()
		wantTrouble(t, l.tryOpen(), grant.Refused, grant.StepCheck, "/aws/ssm/other/cluster → "+logGroup, "not on the card yet", "Request access again")
		s.noWrites()
	})
}
