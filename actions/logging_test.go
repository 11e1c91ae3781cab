package actions_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"breakglass/actions/awssim"
	"breakglass/store/grant"
)

// inputs are the inputs of the latest version of the preferences.
func (s *stage) inputs() map[string]any {
	s.t.Helper()
	versions := s.cell.Region.DocumentVersions(prefsName)
	if len(versions) == 0 {
		s.t.Fatal("there are no preferences")
	}
	last := versions[len(versions)-1]
	if !last.IsLatest || !last.IsDefault {
		s.t.Errorf("version %d: latest %t, default %t", last.Version, last.IsLatest, last.IsDefault)
	}
	var doc struct {
		Inputs map[string]any `json:"inputs"`
	}
	if err := json.Unmarshal([]byte(last.Content), &doc); err != nil {
		s.t.Fatalf("%v in %s", err, last.Content)
	}
	return doc.Inputs
}

func (s *stage) wantLogging(kms bool) {
	s.t.Helper()
	in := s.inputs()
	if in["cloudWatchLogGroupName"] != logGroup || in["cloudWatchEncryptionEnabled"] != kms || in["cloudWatchStreamingEnabled"] != true {
		s.t.Errorf("inputs: %v", in)
	}
}

func TestLogging_states(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*stage)
		plan    []string // lines of the report, in part
		check   func(*testing.T, *stage)
	}{
		"absent": {
			plan:  []string{"absent → created", "cloudWatchLogGroupName: (empty) → " + logGroup, "cloudWatchEncryptionEnabled: false → true"},
			check: func(t *testing.T, s *stage) { s.wantLogging(true) },
		},
		"group without a key": {
			// Encryption enforced without a key would keep every session of the
			// region from starting.
			prepare: func(s *stage) {
				s.cell.LogGroup.Delete()
				s.cell.Region.LogGroup(logGroup)
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"cloudWatchEncryptionEnabled":true}}`)
			},
			plan: []string{"cloudWatchEncryptionEnabled: true → false"},
			check: func(t *testing.T, s *stage) {
				s.wantLogging(false)
				creds, err := s.vendor(vendorARN).assume()
				if err != nil {
					t.Fatal(err)
				}
				s.mustShell(creds)
			},
		},
		"another group": {
			prepare: func(s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":"/aws/ssm/other/cluster","cloudWatchEncryptionEnabled":true,"cloudWatchStreamingEnabled":true}}`)
			},
			plan:  []string{"cloudWatchLogGroupName: /aws/ssm/other/cluster → " + logGroup},
			check: func(t *testing.T, s *stage) { s.wantLogging(true) },
		},
		"YAML": {
			prepare: func(s *stage) {
				s.cell.Region.Preferences("schemaVersion: '1.0'\nsessionType: Standard_Stream\ninputs:\n  maxSessionDuration: '90'\n  runAsEnabled: true\n  idleSessionTimeout: \"0030\"\n  cloudWatchStreamingEnabled: false\n  shellProfile:\n    linux: |\n      set -o vi\n      date\n")
			},
			plan: []string{"cloudWatchLogGroupName: (not set) → " + logGroup},
			check: func(t *testing.T, s *stage) {
				s.wantLogging(true)
				in := s.inputs()
				if in["maxSessionDuration"] != "90" || in["idleSessionTimeout"] != "0030" || in["runAsEnabled"] != true || in["shellProfile"].(map[string]any)["linux"] != "set -o vi\ndate\n" {
					t.Errorf("inputs: %v", in)
				}
			},
		},
		"strings instead of booleans": {
			// The agent cannot read "true": a session would not be logged.
			prepare: func(s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":"` + logGroup + `","cloudWatchEncryptionEnabled":"true","cloudWatchStreamingEnabled":"true"}}`)
			},
			check: func(t *testing.T, s *stage) { s.wantLogging(true) },
		},
		"no inputs at all": {
			prepare: func(s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"unused":{"type":"String","default":"1.50"}}}`)
			},
			check: func(t *testing.T, s *stage) {
				s.wantLogging(true)
				v := s.cell.Region.DocumentVersions(prefsName)
				if got := v[len(v)-1].Content; !strings.HasPrefix(got, `{"schemaVersion":"1.0","sessionType":"Standard_Stream","parameters":{"unused":{"type":"String","default":"1.50"}},"inputs":{`) {
					t.Errorf("preferences: %s", got)
				}
			},
		},
		"parameters for other settings": {
			prepare: func(s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0", "parameters":{"idle":{"type":"String","default":"0030"}},"sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"{{ idle }}","kmsKeyId":"alias\/x","cloudWatchLogGroupName":"","runAsEnabled":false}}`)
			},
			plan: []string{"cloudWatchLogGroupName: (empty) → " + logGroup},
			check: func(t *testing.T, s *stage) {
				s.wantLogging(true)
				v := s.cell.Region.DocumentVersions(prefsName)
				const want = `{"schemaVersion":"1.0", "parameters":{"idle":{"type":"String","default":"0030"}},"sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"{{ idle }}","kmsKeyId":"alias\/x","cloudWatchLogGroupName":"` + logGroup + `","runAsEnabled":false,"cloudWatchEncryptionEnabled":true,"cloudWatchStreamingEnabled":true}}`
				if got := v[len(v)-1].Content; got != want {
					t.Errorf("preferences:\n%s\nwant\n%s", got, want)
				}
			},
		},
		"latest is right, default is not": {
			prepare: func(s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{}}`)
				s.cell.Region.Preferences(preferences["right already"])
				s.cell.Region.SetDefaultVersion(prefsName, 1)
			},
			plan: []string{"default version of " + prefsName + ": 1 → 2"},
			check: func(t *testing.T, s *stage) {
				s.wantLogging(true)
				if n := len(s.cell.Region.DocumentVersions(prefsName)); n != 2 {
					t.Errorf("%d versions, want 2", n)
				}
			},
		},
		"right in an older version": {
			// AWS does not take a content that the document has had before.
			prepare: func(s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","description":"d","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":"` + logGroup + `","cloudWatchEncryptionEnabled":true,"cloudWatchStreamingEnabled":true}}`)
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","description":"d","sessionType":"Standard_Stream","inputs":{"cloudWatchLogGroupName":"","cloudWatchEncryptionEnabled":true,"cloudWatchStreamingEnabled":true}}`)
			},
			check: func(t *testing.T, s *stage) { s.wantLogging(true) },
		},
		"slow to become active": {
			prepare: func(s *stage) {
				s.world.Tune(func(k *awssim.Knobs) { k.DocumentDelay = 3 * time.Second })
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{}}`)
			},
			check: func(t *testing.T, s *stage) { s.wantLogging(true) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				if tt.prepare != nil {
					tt.prepare(s)
				}
				l := s.asked()
				r := s.aws.Check(t.Context(), l.g)
				for _, want := range tt.plan {
					if !slices.ContainsFunc(r.Logging, func(l string) bool { return strings.Contains(l, want) }) {
						t.Errorf("%q is not in the plan %q", want, r.Logging)
					}
				}
				s.noWrites()
				l.checked().approved().open()
				tt.check(t, s)
				if r := s.aws.Check(t.Context(), l.g); len(r.Logging) > 0 {
					t.Errorf("after opening the plan is %q", r.Logging)
				}
			})
		})
	}
}

// Somebody saves preferences of their own at the same moment: theirs stay, and
// ours come on top.
func TestLogging_somebodyElseSavesToo(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		once := true
		s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
			if c.Name() == "ssm:CreateDocument" && once {
				once = false
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"7"}}`)
			}
			return nil
		})
		s.request().open()
		s.wantLogging(true)
		if got := s.inputs()["idleSessionTimeout"]; got != "7" {
			t.Errorf("idleSessionTimeout: %v", got)
		}
	})
}

// The same with a document that is there already: UpdateDocument overwrites it
// blindly, so that what somebody saved between our reading and our writing has
// to be put back under ours.
func TestLogging_overwroteSomebodyElse(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"20"}}`)
		once := true
		s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
			if c.Name() == "ssm:UpdateDocument" && once {
				once = false
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"7"}}`)
			}
			return nil
		})
		s.request().open()
		s.wantLogging(true)
		if got := s.inputs()["idleSessionTimeout"]; got != "7" {
			t.Errorf("idleSessionTimeout: %v", got)
		}
	})
}

// somebodySaves saves preferences as a program of somebody else's does: the new
// version takes a while to become active.
func (s *stage) somebodySaves(content string) {
	s.t.Helper()
	c := ssm.NewFromConfig(s.config(s.cell.Bot.Credentials()))
	if len(s.cell.Region.DocumentVersions(prefsName)) == 0 {
		if _, err := c.CreateDocument(s.t.Context(), &ssm.CreateDocumentInput{Name: new(prefsName), Content: new(content), DocumentType: "Session"}); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	if _, err := c.UpdateDocument(s.t.Context(), &ssm.UpdateDocumentInput{Name: new(prefsName), Content: new(content), DocumentVersion: new("$LATEST")}); err != nil {
		s.t.Fatal(err)
	}
}

// A version that is still being made, somebody's or our own from before a crash,
// can be neither changed nor made the default, and sessions do not use it: it is
// waited for, and nothing opens before.
func TestLogging_versionNotActiveYet(t *testing.T) {
	const theirs = `{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{"idleSessionTimeout":"7"}}`
	for name, tt := range map[string]struct {
		before func(*stage)
		meets  string // somebody saves just before this call of ours
		saves  string
	}{
		"ours was just created":     {before: func(s *stage) { s.somebodySaves(preferences["right already"]) }},
		"theirs was just created":   {before: func(s *stage) { s.somebodySaves(theirs) }},
		"ours is being updated":     {before: func(s *stage) { s.cell.Region.Preferences(theirs); s.somebodySaves(preferences["right already"]) }},
		"theirs is being updated":   {before: func(s *stage) { s.cell.Region.Preferences(preferences["other people's"]); s.somebodySaves(theirs) }},
		"theirs begins before ours": {before: func(s *stage) { s.cell.Region.Preferences(preferences["other people's"]) }, meets: "ssm:UpdateDocument", saves: theirs},
		"theirs is created at once": {meets: "ssm:CreateDocument", saves: theirs},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				s.world.Tune(func(k *awssim.Knobs) { k.DocumentDelay = 4 * time.Second })
				if tt.before != nil {
					tt.before(s)
				}
				began, once := time.Now(), true
				s.world.Before(func(_ context.Context, c awssim.Call) *awssim.Fault {
					if c.Name() == tt.meets && once {
						once = false
						s.somebodySaves(tt.saves)
					}
					return nil
				})
				s.request().open()
				if d := time.Since(began); d < 4*time.Second {
					t.Errorf("opened after %s, before the preferences were in use", d)
				}
				s.wantLogging(true)
				if strings.Contains(name, "theirs") && s.inputs()["idleSessionTimeout"] != "7" {
					t.Errorf("inputs: %v", s.inputs())
				}
				creds, err := s.vendor(vendorARN).assume()
				if err != nil {
					t.Fatal(err)
				}
				id, _ := s.mustShell(creds)
				if !slices.Contains(s.cell.LogGroup.Streams(), id) {
					t.Errorf("the session %s is not logged", id)
				}
			})
		})
	}
}

// A document may have a thousand versions. AWS deletes none by itself, and the bot
// deletes nobody's: what to do is said, and nothing opens meanwhile.
func TestLogging_thousandVersions(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		for n := range 1000 {
			s.cell.Region.Preferences(`{"schemaVersion":"1.0","description":"` + strconv.Itoa(n) + `","sessionType":"Standard_Stream","inputs":{}}`)
		}
		wantTrouble(t, s.request().tryOpen(), grant.Refused, grant.StepLogging, "as many versions as AWS allows", "delete-document --name "+prefsName)
		if w := s.writes(); len(w) > 0 {
			t.Errorf("AWS was changed: %v", w)
		}
	})
}

// What AWS does not take is said in words.
func TestLogging_refusals(t *testing.T) {
	for code, words := range map[string]string{
		"DocumentVersionLimitExceeded": "as many versions as AWS allows",
		"MaxDocumentSizeExceeded":      "does not take the new content",
		"InvalidDocumentContent":       "does not take the new content",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, s *stage) {
				s.cell.Region.Preferences(`{"schemaVersion":"1.0","sessionType":"Standard_Stream","inputs":{}}`)
				s.world.Inject(awssim.Fault{Call: "ssm:UpdateDocument", Kind: awssim.Instead, Error: &awssim.Error{Status: 400, Code: code, Message: "no"}})
				wantTrouble(t, s.request().tryOpen(), grant.Refused, grant.StepLogging, words)
			})
		})
	}
}
