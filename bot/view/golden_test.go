package view

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

var update = flag.Bool("update", false, "write the golden files and the cards in ../doc.go anew")

// reading is a message as a reader in UTC sees it, from the blocks as Slack gets
// them.
func reading(t *testing.T, m Message) string {
	t.Helper()
	return readBlocks(t, m.BlocksJSON())
}

func readBlocks(t *testing.T, js []byte) string {
	t.Helper()
	var blocks []map[string]any
	if err := json.Unmarshal(js, &blocks); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, b := range blocks {
		switch b["type"] {
		case "header":
			s := b["text"].(map[string]any)["text"].(string)
			out = append(out, s+"\n"+strings.Repeat("=", len([]rune(s))))
		case "section":
			s := readMrkdwn(b["text"].(map[string]any)["text"].(string))
			if a, ok := b["accessory"].(map[string]any); ok {
				s += "   " + readButton(a)
			}
			out = append(out, s)
		case "rich_text":
			var s []string
			for _, part := range b["elements"].([]any) {
				s = append(s, readRich(part.(map[string]any)))
			}
			out = append(out, strings.Join(s, "\n"))
		case "actions":
			var s []string
			for _, e := range b["elements"].([]any) {
				s = append(s, readButton(e.(map[string]any)))
			}
			out = append(out, strings.Join(s, " "))
		case "input":
			out = append(out, readInput(b))
		default:
			t.Fatalf("a block of the kind %v", b["type"])
		}
	}
	return strings.Join(out, "\n\n") + "\n"
}

var (
	dateToken = regexp.MustCompile(`<!date\^[0-9]+\^[^|>]*\|([^>]*)>`)
	userToken = regexp.MustCompile(`<(?:!subteam\^|@|#)([A-Z0-9]+)>`)
)

func readMrkdwn(s string) string {
	s = dateToken.ReplaceAllString(s, "$1")
	s = userToken.ReplaceAllString(s, "@$1")
	return strings.NewReplacer("*", "", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}

func readRich(part map[string]any) string {
	var s strings.Builder
	for _, e := range part["elements"].([]any) {
		e := e.(map[string]any)
		switch e["type"] {
		case "text":
			text := e["text"].(string)
			if style, ok := e["style"].(map[string]any); ok && style["code"] == true {
				text = "`" + text + "`"
			}
			s.WriteString(text)
		case "user":
			s.WriteString("@" + e["user_id"].(string))
		case "usergroup":
			s.WriteString("@" + e["usergroup_id"].(string))
		case "channel":
			s.WriteString("#" + e["channel_id"].(string))
		case "date":
			s.WriteString(e["fallback"].(string))
		case "link":
			s.WriteString("[" + e["text"].(string) + "](" + e["url"].(string) + ")")
		default:
			panic(fmt.Sprintf("an element of the kind %v", e["type"]))
		}
	}
	if part["type"] == "rich_text_preformatted" {
		return "    " + strings.ReplaceAll(s.String(), "\n", "\n    ")
	}
	return s.String()
}

func readButton(b map[string]any) string {
	if b["type"] == "overflow" {
		var items []string
		for _, o := range b["options"].([]any) {
			items = append(items, o.(map[string]any)["text"].(map[string]any)["text"].(string))
		}
		return "[ ⋯ " + strings.Join(items, " | ") + " ]"
	}
	s := "[ " + b["text"].(map[string]any)["text"].(string) + " ]"
	if b["confirm"] != nil {
		s = strings.TrimSuffix(s, " ]") + " … ]"
	}
	return s
}

// readInput is an input of a form: its label, what stands in it or as an example,
// and what may be chosen.
func readInput(b map[string]any) string {
	text := func(v any) string { return v.(map[string]any)["text"].(string) }
	e := b["element"].(map[string]any)
	s := text(b["label"])
	if b["optional"] == true {
		s += " (optional)"
	}
	switch value := e["initial_value"]; {
	case value != nil:
		s += "\n  [ " + value.(string) + " ]"
	case e["initial_option"] != nil:
		s += "\n  [ " + text(e["initial_option"].(map[string]any)["text"]) + " ]"
	case e["placeholder"] != nil:
		s += "\n  ( " + text(e["placeholder"]) + " )"
	default:
		s += "\n  ( )"
	}
	if list, ok := e["options"].([]any); ok {
		var all []string
		for _, o := range list {
			all = append(all, text(o.(map[string]any)["text"]))
		}
		s += "\n  of: " + strings.Join(all, ", ")
	}
	if b["hint"] != nil {
		s += "\n  " + text(b["hint"])
	}
	return s
}

// readView is a modal or a home tab as a reader sees it.
func readView(t *testing.T, js []byte) string {
	t.Helper()
	var v struct {
		Title, Submit, Close *struct{ Text string }
		Blocks               json.RawMessage
	}
	if err := json.Unmarshal(js, &v); err != nil {
		t.Fatal(err)
	}
	s := readBlocks(t, v.Blocks)
	if v.Title != nil {
		s = v.Title.Text + "\n" + strings.Repeat("=", len([]rune(v.Title.Text))) + "\n\n" + s + "\n"
	}
	if v.Close != nil {
		s += "[ " + v.Close.Text + " ]"
	}
	if v.Submit != nil {
		s += " [ " + v.Submit.Text + " ]"
	}
	return strings.TrimRight(s, "\n") + "\n"
}

// goldenView compares a modal or a home tab with its file.
func goldenView(t *testing.T, name string, js []byte) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, js, "", "  "); err != nil {
		t.Fatal(err)
	}
	fitsView(t, js)
	compare(t, name, "-- as it is read --\n"+readView(t, js)+"-- view --\n"+pretty.String()+"\n")
}

// fitsView checks what Slack would refuse. How much a view may hold in an
// acknowledgement, which Slack drops without a word over 20 kB, is asked of modals.
func fitsView(t interface{ Errorf(string, ...any) }, js []byte) {
	for _, p := range slacksim.ValidateView(js) {
		t.Errorf("Slack refuses the view: %s", p)
	}
}

// golden compares a message with its file: how it reads, its top-level text,
// and the blocks.
func golden(t *testing.T, name string, m Message) {
	t.Helper()
	var js bytes.Buffer
	if err := json.Indent(&js, m.BlocksJSON(), "", "  "); err != nil {
		t.Fatal(err)
	}
	got := "-- as it is read --\n" + reading(t, m) + "-- top-level text --\n" + m.Text + "\n-- blocks --\n" + js.String() + "\n"
	if m.Broadcast {
		got = "-- shown in the channel, too --\n" + got
	}
	fits(t, m)
	compare(t, name, got)
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with: go test ./bot/view -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// fits checks what Slack would refuse.
func fits(t interface{ Errorf(string, ...any) }, m Message) { fitsIn(t, m, 4000) }

// fitsIn is fits for a message of its own longest text: 4,000 characters is what
// chat.update takes, and a history, which is never edited, may be longer.
func fitsIn(t interface{ Errorf(string, ...any) }, m Message, longest int) {
	for _, p := range slacksim.Validate(m.BlocksJSON()) {
		t.Errorf("Slack refuses the blocks: %s", p)
	}
	if n := units(m.Text); n > longest || n == 0 {
		t.Errorf("the top-level text has %d characters, want 1 to %d", n, longest)
	}
	if n := len(m.Blocks); n > 50 || n == 0 {
		t.Errorf("%d blocks, want 1 to 50", n)
	}
}

func TestCard_golden(t *testing.T) {
	for _, s := range scenes(t) {
		t.Run(s.name, func(t *testing.T) {
			golden(t, "card_"+s.name, Card(s.tale.g, s.others, s.tale.now))
		})
	}
}

func TestShow_golden(t *testing.T) {
	for _, name := range []string{"requested", "opening", "open", "closing_stuck", "closed", "closed_never_opened", "denied", "open_watched", "open_nobody", "open_unread", "closed_watched", "requested_less", "open_more_half", "open_extended", "emergency_open", "emergency_closed_signed"} {
		t.Run(name, func(t *testing.T) {
			s := sceneNamed(t, name)
			golden(t, "show_"+name, Show(s.g, s.now.Add(time.Minute)))
		})
	}
}

var people = People{Approvers: []grant.UserID{ana, ben, eva}}

func TestSay_golden(t *testing.T) {
	group := People{Approvers: people.Approvers, ApproverGroups: []grant.GroupID{"S0PLATFORM"}}
	other := sceneNamed(t, "open").g
	other.ID = 9
	version := func(name string) string { // of the watched story
		return fmt.Sprintf("%s:%d", name, sceneNamed(t, "open_watched").g.Version)
	}
	early := fmt.Sprintf("%s:%d", grant.SayAssumed, sceneNamed(t, "open_watched").g.Version-1)
	for _, tt := range []struct {
		file, scene, name string
		later             time.Duration
		people            People
		others            []grant.Grant
	}{
		{"denied", "denied", grant.SayDenied, 0, people, nil},
		{"lapsed", "lapsed", grant.SayLapsed, 0, people, nil},
		{"withdrawn", "withdrawn", grant.SayWithdrawn, 0, people, nil},
		{"withdrawn_operator", "withdrawn_operator", grant.SayWithdrawn, 0, people, nil},
		{"opened", "open", grant.SayOpened, 0, people, nil},
		{"opened_too", "open_sent", grant.SayOpened, 0, people, []grant.Grant{other}},
		{"failed", "closing_failed", grant.SayFailed, 0, people, nil},
		{"failed_undone", "closed_never_opened", grant.SayFailed, 0, people, nil},
		{"closing", "closing", grant.SayClosing, 0, people, nil},
		{"closing_unopened", "closing_failed", grant.SayClosing, 0, people, nil},
		{"stuck", "closing_stuck", grant.SayStuck + ":3", time.Minute, group, nil},
		{"proof", "closed", grant.SayProof, 0, people, nil},
		{"proof_never_opened", "closed_never_opened", grant.SayProof, 0, people, nil},
		{"proof_still_trusted", "closed_still_trusted", grant.SayProof, 0, people, []grant.Grant{other}},
		{"undecided", "requested", grant.RemindUndecided + ":1", 10 * time.Minute, people, nil},
		{"undecided_group", "requested_half_approved", grant.RemindUndecided + ":2", 30 * time.Minute, group, nil},
		{"unsent", "open", grant.RemindUnsent, 15 * time.Minute, people, nil},
		{"before_end", "open", grant.RemindBeforeEnd + ":30m0s", 3*time.Hour + 30*time.Minute, people, nil},
		{"proof_watched", "closed_watched", grant.SayProof, 0, people, nil},
		{"proof_nobody", "closed_nobody", grant.SayProof, 0, people, nil},
		{"came", "open_watched", grant.SayCame + ":" + kim, 0, people, nil},
		{"came_and_gone", "open_watched", grant.SayCame + ":" + jo, 0, people, nil},
		{"left", "open_watched", grant.SayLeft + ":" + jo, 0, people, nil},
		{"unlogged", "open_watched", grant.SayUnlogged + ":" + kim, 0, group, nil},
		{"unlogged_too_late", "closed_watched", grant.SayUnlogged + ":" + kim, 0, people, nil},
		{"never_logged", "open_watched", grant.SayNeverLogged + ":" + lee, 0, people, nil},
		{"sessions", "open_watched", grant.SaySessions + ":9", 0, people, nil},
		{"drift", "open_watched", version(grant.SayDrift + ":statement"), time.Minute, people, nil},
		{"assumed", "open_watched", early, 0, people, nil},
		{"replanned", "requested_again", fmt.Sprintf("%s:1", grant.SayReplanned), 0, group, nil},
		{"cut", "open_watched", grant.SayCut + ":BG-9", 0, people, nil},
		{"logged", "open_logged_late", grant.SayLogged + ":" + kim, 0, people, nil},
		{"unused", "open_nobody", grant.RemindUnused, 30 * time.Minute, people, nil},
		{"emergency", "emergency_opening", grant.SayEmergency, 0, group, nil},
		{"emergency_late", "emergency_open", grant.SayEmergency, 0, people, nil},
		{"emergency_too_late", "emergency_closed", grant.SayEmergency, 0, people, nil},
		{"emergency_replanned", "emergency_requested", grant.SayEmergency, 0, people, nil},
		{"proof_emergency", "emergency_closed", grant.SayProof, 0, people, nil},
		{"reviewed", "emergency_closed_signed", grant.SayReviewed, 0, people, nil},
		{"review", "emergency_open", grant.RemindReview + ":1", 30 * time.Minute, people, nil},
		{"review_loud", "emergency_closed", grant.RemindReview + ":3", 4 * time.Hour, group, nil},
		{"undecided_loud", "requested", grant.RemindUndecided + ":3", 50 * time.Minute, group, nil},
		{"extend_asked", "open_more_asked", grant.SayExtendAsked + ":1", 0, people, nil},
		{"extend_denied", "open_more_denied", grant.SayExtendDenied + ":1", 0, people, nil},
		{"extend_taken_back", "open_more_taken_back", grant.SayExtendDenied + ":1", 0, people, nil},
		{"extended", "open_extended", grant.SayExtended + ":1", 0, people, nil},
		{"extend_failed", "open_more_failed", grant.SayExtendFailed + ":9", 0, people, nil},
		{"extend", "open_more_half", grant.RemindExtend + ":1", 9 * time.Minute, people, nil},
		{"before_end_more_asked", "open_more_half", grant.RemindBeforeEnd + ":10m0s", 2*time.Hour + 50*time.Minute, people, nil},
		{"before_end_more_approved", "open_more_trying_again", grant.RemindBeforeEnd + ":10m0s", 2*time.Hour + 48*time.Minute, people, nil},
		{"still_open", "open", grant.RemindStillOpen + ":1", 2 * time.Hour, people, nil},
	} {
		t.Run(tt.file, func(t *testing.T) {
			s := sceneNamed(t, tt.scene)
			m, ok := Say(tt.name, s.g, tt.others, tt.people, s.now.Add(tt.later))
			if !ok {
				t.Fatalf("%s is not worth saying of a grant that is %s", tt.name, s.g.Phase)
			}
			golden(t, "say_"+tt.file, m)
		})
	}
}

// TestMerged_golden is what is said after downtime, of everything that is late.
func TestMerged_golden(t *testing.T) {
	group := People{Approvers: people.Approvers, ApproverGroups: []grant.GroupID{"S0PLATFORM"}}
	all := []string{
		grant.RemindUndecided + ":1", grant.RemindUndecided + ":2", grant.RemindUndecided + ":3", grant.RemindUnsent, grant.RemindBeforeEnd + ":30m0s",
		grant.RemindBeforeEnd + ":10m0s", grant.RemindStillOpen + ":1", grant.RemindUnused, grant.RemindReview + ":1", grant.RemindExtend + ":1",
	}
	for _, tt := range []struct {
		file, scene string
		later       time.Duration
		people      People
	}{
		{"requested", "requested", 50 * time.Minute, people},
		{"open", "open", 2 * time.Hour, people},
		{"open_ending", "open_nobody", 3*time.Hour + 50*time.Minute, people},
		{"open_more_asked", "open_more_half", 2*time.Hour + 50*time.Minute, group},
		{"emergency_open", "emergency_open", 3*time.Hour + 50*time.Minute, people},
		{"emergency_closed", "emergency_closed", 9 * time.Hour, group},
	} {
		t.Run(tt.file, func(t *testing.T) {
			s := sceneNamed(t, tt.scene)
			m, ok := Merged(all, s.g, nil, tt.people, s.now.Add(tt.later))
			if !ok {
				t.Fatal("nothing is said")
			}
			golden(t, "merged_"+tt.file, m)
		})
	}
	for _, name := range []string{"opening", "closing", "closed", "denied", "lapsed"} {
		s := sceneNamed(t, name)
		if m, ok := Merged(all, s.g, nil, people, s.now); ok {
			t.Errorf("of a grant that is %s is said: %s", name, m.Text)
		}
	}
	s := sceneNamed(t, "open")
	for _, names := range [][]string{nil, {"nonsense"}, {grant.SayOpened}, {grant.RemindReview + ":1"}} {
		if _, ok := Merged(names, s.g, nil, people, s.now); ok {
			t.Errorf("%v make a message", names)
		}
	}
}

func TestStatus_golden(t *testing.T) {
	var live []grant.Grant
	now := start.Add(3 * time.Hour)
	for i, name := range []string{"requested", "opening", "closing_stuck", "open", "requested_unchecked", "open_sent", "closed", "denied"} {
		g := sceneNamed(t, name).g
		g.ID = grant.ID(7 + i)
		if i == 0 {
			g.RequestedAt = now.Add(-20 * time.Minute)
		}
		if name == "open_sent" {
			g.End = g.End.Add(-30 * time.Minute)
			g.Cell = "helios-staging"
		}
		live = append(live, g)
	}
	golden(t, "status", Status(live, nil, now))
	golden(t, "status_empty", Status(nil, nil, now))
	golden(t, "status_waiting", Status(live[:1], nil, now))
	open := []grant.Grant{live[3], live[5]}
	golden(t, "choose", Choose(open, now))
	golden(t, "choose_empty", Choose(nil, now))
	golden(t, "confirm_all", ConfirmAll(open, now))
}

// strays is what a cell is guarded against: trust by people, outlived trust of
// ours, and some that no grant could be for.
func strays(t *testing.T) grant.Guard {
	t.Helper()
	s := grant.Survey{RoleARN: "arn:aws:iam::444455556666:role/" + role, RoleName: role, Trust: []grant.Trust{
		{Sid: "LetThemIn", Principal: "arn:aws:iam::111122223333:role/support"},
		{Sid: "BreakglassBG4", ID: 4, Principal: "arn:aws:iam::111122223333:role/support", End: start.Add(time.Hour)},
		{Principal: "arn:aws:iam::111122223333:root"},
	}}
	g, n := grant.Guard{Cell: "helios-prod"}, 0
	token := func() string { n++; return fmt.Sprintf("STRAY%d", n) }
	for _, at := range []time.Duration{0, 2 * time.Minute} {
		g, _ = g.Survey(s, nil, nil, token, start.Add(at))
	}
	return g
}

func TestStray_golden(t *testing.T) {
	g := strays(t)
	show := func(name string, x grant.Stray, live []grant.Grant, adoptable bool) {
		golden(t, "stray_"+name, Stray(g.Cell, x, live, adoptable, 0, people))
	}
	show("people", g.Strays[0], nil, true)
	show("outlived", g.Strays[1], nil, true)
	show("account", g.Strays[2], nil, false)

	gone := g.Strays[0]
	gone.Gone = start.Add(time.Hour)
	show("gone", gone, nil, true)
	asked := sceneNamed(t, "requested").g
	asked.Stray = g.Strays[0].Token
	show("asked", g.Strays[0], []grant.Grant{asked}, true)
	show("removing", g.Strays[0], []grant.Grant{sceneNamed(t, "closing_removal").g}, true)
	show("adopted", g.Strays[0], []grant.Grant{sceneNamed(t, "open").g}, true)

	golden(t, "stray_and_more", Stray(g.Cell, g.Strays[2], nil, false, 20, people))
	golden(t, "status_strays", Status(nil, []grant.Guard{g}, start))
	flood := g
	flood.Beyond = 20
	golden(t, "status_strays_beyond", Status(nil, []grant.Guard{flood}, start))
	blind := grant.Guard{Cell: "helios-prod"}
	if _, ok := Blind(blind); ok {
		t.Error("a cell that can be seen is said to be unseen")
	}
	blind.Blind = &grant.Trouble{Kind: grant.Refused, Text: "AWS refuses the bot iam:GetRole.", Remedy: "Let the operator allow it."}
	m, ok := Blind(blind)
	if !ok {
		t.Fatal("nothing is said")
	}
	golden(t, "blind", m)
}

func TestOverlap_golden(t *testing.T) {
	mine, other := sceneNamed(t, "open").g, sceneNamed(t, "open_watched").g
	other.ID, other.Principal = 9, "arn:aws:iam::111122223333:role/on-call"
	golden(t, "confirm_revoke", ConfirmRevoke([]grant.Grant{mine}, []grant.Grant{other}, start.Add(time.Hour)))
	second := mine
	second.ID = 8
	golden(t, "confirm_revoke_cell", ConfirmRevoke([]grant.Grant{mine, second}, []grant.Grant{other}, start.Add(time.Hour)))
	same := other
	same.Principal = mine.Principal
	if _, isPlain := revokes(Card(mine, []grant.Grant{same}, start)); !isPlain {
		t.Error("a card warns of cutting off others, although their own grant keeps them in")
	}
	if text, isPlain := revokes(Card(mine, []grant.Grant{other}, start)); isPlain || !strings.Contains(text, "BG-9") {
		t.Errorf("a card does not say whom revoking cuts off: %q", text)
	}
}

// revokes is what the card's button to revoke asks, and whether it is the plain one.
func revokes(m Message) (text string, isPlain bool) {
	for _, b := range m.Blocks {
		for _, e := range b.Elements {
			if x, ok := e.(button); ok && (x.ActionID == ActionRevoke || x.ActionID == ActionRevokeKnowing) {
				return x.Confirm.Text.Text, x.ActionID == ActionRevoke
			}
		}
	}
	return "", false
}

func TestAnswers_golden(t *testing.T) {
	golden(t, "requested", Requested(sceneNamed(t, "requested").g, "C0APPROVALS"))
	golden(t, "requested_already", Requested(sceneNamed(t, "open").g, "C0APPROVALS"))
	golden(t, "revoking", Revoking([]grant.Grant{sceneNamed(t, "closing").g, sceneNamed(t, "withdrawn").g}, 1, "C0APPROVALS"))
	golden(t, "extend_asked", ExtendAsked(sceneNamed(t, "open_more_asked").g, "C0APPROVALS"))
	golden(t, "extend_asked_late", ExtendAsked(sceneNamed(t, "closing").g, "C0APPROVALS"))
	golden(t, "emergency", Emergency(sceneNamed(t, "emergency_opening").g, "C0APPROVALS"))
	golden(t, "emergency_again", Emergency(sceneNamed(t, "emergency_closed").g, "C0APPROVALS"))
	golden(t, "refused", Refused("Only @U0ANA, who asked for BG-7, may withdraw it. Nothing changed. `/breakglass status` shows what there is; <!channel> & `code` stay text.", "REF7"))
	golden(t, "failed", Failed("REF7"))
}

func TestHistory_golden(t *testing.T) {
	var ended []grant.Grant
	for i, name := range []string{"closed_watched", "emergency_closed", "emergency_closed_signed", "closed", "closed_nobody", "closed_never_opened", "closed_removal", "denied", "withdrawn_operator", "lapsed"} {
		g := sceneNamed(t, name).g
		g.ID = grant.ID(30 - i)
		ended = append(ended, g)
	}
	golden(t, "history", History("", ended, 10))
	golden(t, "history_cell", History("helios-prod", ended[3:4], 10))
	golden(t, "history_most", History("helios-prod", ended[3:4], 50))
	golden(t, "history_empty", History("helios-prod", nil, 10))
}

func TestCheck_golden(t *testing.T) {
	well, bad := report(start), *sceneNamed(t, "requested_blocked").g.Report
	clean := report(start)
	clean.Findings = clean.Findings[:5]
	golden(t, "checking", Checking([]grant.CellName{"helios-prod"}))
	golden(t, "checking_all", Checking([]grant.CellName{"helios-dev", "helios-staging", "helios-prod"}))
	golden(t, "check_ready", Check([]CellReport{{"helios-prod", well}}, start))
	golden(t, "check_blocked", Check([]CellReport{{"helios-prod", bad}}, start))
	golden(t, "check_all", Check([]CellReport{{"helios-dev", clean}, {"helios-staging", well}, {"helios-prod", bad}}, start))
	golden(t, "check_none", Check(nil, start))
}

func TestForms_golden(t *testing.T) {
	cells := []grant.CellName{"helios-prod", "helios-staging"}
	show := func(name string, m Modal) { goldenView(t, "form_"+name, m.JSON()) }
	show("grant", GrantForm(Form{Cells: cells, Default: 4 * time.Hour, Max: 12 * time.Hour}))
	show("grant_one_cell", GrantForm(Form{Cells: cells[:1], Max: 45 * time.Minute}))
	show("grant_prefilled", GrantForm(Form{
		Cells: cells, Default: 4 * time.Hour, Max: 12 * time.Hour,
		Ask: grant.Ask{Cell: "helios-staging", ARN: "arn:aws:iam::111122223333:role/support", Ticket: "48213", For: "1h30m", Reason: "stuck node pool\nsecond line"},
	}))
	show("emergency", GrantForm(Form{Cells: cells, Default: 6 * time.Hour, Max: 12 * time.Hour, Emergency: true, Ask: grant.Ask{For: "2h"}}))
	show("approve_less", ApproveLessForm(sceneNamed(t, "requested").g))
	show("approve_less_redirect", ApproveLessForm(sceneNamed(t, "requested_redirect").g))
	show("deny", DenyForm(sceneNamed(t, "requested").g))
	show("extend", ExtendForm(sceneNamed(t, "open").g, 12*time.Hour))
	show("said", Said("Not requested", Refused("BG-7 is waiting for 1 more approval. Nothing changed.", "REF7")))
	show("said_confirm", Said("Revoke", ConfirmRevoke([]grant.Grant{sceneNamed(t, "open").g}, []grant.Grant{sceneNamed(t, "open_watched").g}, start.Add(time.Hour))))
}

func TestHome_golden(t *testing.T) {
	now := start.Add(70 * time.Minute)
	with := func(id grant.ID, scene string, by grant.UserID) grant.Grant {
		g := sceneNamed(t, scene).g
		g.ID, g.Requester = id, by
		return g
	}
	asked := with(9, "open_more_asked", ana)
	emergency := with(8, "emergency_closed", ana)
	h := HomeView{
		User: ben, MayDecide: true, MayRequest: true, Now: now,
		Live: []grant.Grant{
			with(12, "requested", ana), with(13, "requested_redirect", eva), with(14, "requested_half_approved", ana), with(15, "requested_blocked", ben),
			asked, with(10, "opening", ana), with(11, "closing", eva),
		},
		Ended: []grant.Grant{emergency, with(7, "closed_watched", ana), with(6, "denied", ben)}, Unsigned: []grant.Grant{emergency},
		Guards: []grant.Guard{strays(t)},
	}
	goldenView(t, "home_approver", Home(h).JSON())
	h.User, h.MayDecide = ana, false
	goldenView(t, "home_requester", Home(h).JSON())
	h.User, h.MayRequest, h.MayRevoke = "U0KAI", false, true
	goldenView(t, "home_revoker", Home(h).JSON())
	goldenView(t, "home_empty", Home(HomeView{User: ana, MayRequest: true, Now: now}).JSON())
	goldenView(t, "home_empty_approver", Home(HomeView{User: ben, MayDecide: true, Now: now}).JSON())
}

func TestHelp_golden(t *testing.T) {
	m, ok := Help("")
	if !ok {
		t.Fatal("no help")
	}
	golden(t, "help", m)
	for _, c := range Commands {
		m, ok := Help(c.Name)
		if !ok {
			t.Fatalf("no help for %s", c.Name)
		}
		golden(t, "help_"+c.Name, m)
	}
	m, ok = Help("revok")
	if ok {
		t.Error("help for a command that does not exist")
	}
	golden(t, "help_unknown", m)
}

// TestDoc_cards holds the cards in bot/doc.go to what is rendered.
func TestDoc_cards(t *testing.T) {
	const mark = "// # The card in each phase\n"
	src, err := os.ReadFile("../doc.go")
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(src), mark)
	if !ok {
		t.Fatalf("doc.go has no line %q", mark)
	}
	var b strings.Builder
	b.WriteString(before + mark + "//\n// As a reader in UTC sees it; buttons stand in brackets, with dots where they ask first.\n")
	for _, name := range []string{"requested", "opening", "open", "open_more_asked", "closing", "closed", "emergency_closed", "denied", "withdrawn", "lapsed"} {
		s := sceneNamed(t, name)
		b.WriteString("//\n")
		for l := range strings.Lines(reading(t, Card(s.g, nil, s.now))) {
			l = strings.TrimRight(l, "\n")
			if strings.Trim(l, "=") == "" && l != "" {
				l = strings.Repeat("=", len(l))
			}
			b.WriteString(strings.TrimRight("//\t"+l, "\t ") + "\n")
		}
	}
	b.WriteString("package bot\n")
	if *update {
		if err := os.WriteFile("../doc.go", []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(src), b.String()); diff != "" {
		t.Errorf("doc.go (-have +want):\n%s", diff)
	}
}
