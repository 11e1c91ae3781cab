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

var update = flag.Bool("update", false, "write the golden files and the cards in doc.go anew")

// reading is a message as a reader in UTC sees it, from the blocks as Slack gets
// them.
func reading(t *testing.T, m Message) string {
	t.Helper()
	var blocks []map[string]any
	if err := json.Unmarshal(m.BlocksJSON(), &blocks); err != nil {
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
	s := "[ " + b["text"].(map[string]any)["text"].(string) + " ]"
	if b["confirm"] != nil {
		s = strings.TrimSuffix(s, " ]") + " … ]"
	}
	return s
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
	fits(t, m)
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
func fits(t interface{ Errorf(string, ...any) }, m Message) {
	for _, p := range slacksim.Validate(m.BlocksJSON()) {
		t.Errorf("Slack refuses the blocks: %s", p)
	}
	if n := units(m.Text); n > 4000 || n == 0 {
		t.Errorf("the top-level text has %d characters, want 1 to 4000", n)
	}
	if n := len(m.Blocks); n > 50 || n == 0 {
		t.Errorf("%d blocks, want 1 to 50", n)
	}
}

func TestCard_golden(t *testing.T) {
	for _, s := range scenes(t) {
		t.Run(s.name, func(t *testing.T) {
			golden(t, "card_"+s.name, Card(s.tale.g, s.tale.now))
		})
	}
}

func TestShow_golden(t *testing.T) {
	for _, name := range []string{"requested", "opening", "open", "closing_stuck", "closed", "closed_never_opened", "denied", "open_watched", "open_nobody", "open_unread", "closed_watched"} {
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
		{"unused", "open_nobody", grant.RemindUnused, 30 * time.Minute, people, nil},
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
	golden(t, "status", Status(live, now))
	golden(t, "status_empty", Status(nil, now))
	golden(t, "status_waiting", Status(live[:1], now))
	open := []grant.Grant{live[3], live[5]}
	golden(t, "choose", Choose(open, now))
	golden(t, "choose_empty", Choose(nil, now))
	golden(t, "confirm_all", ConfirmAll(open, now))
}

func TestAnswers_golden(t *testing.T) {
	golden(t, "requested", Requested(sceneNamed(t, "requested").g, "C0APPROVALS"))
	golden(t, "requested_already", Requested(sceneNamed(t, "open").g, "C0APPROVALS"))
	golden(t, "revoking", Revoking([]grant.Grant{sceneNamed(t, "closing").g, sceneNamed(t, "withdrawn").g}, 1, "C0APPROVALS"))
	golden(t, "refused", Refused("Only @U0ANA, who asked for BG-7, may withdraw it. Nothing changed. `/breakglass status` shows what there is; <!channel> & `code` stay text.", "REF7"))
	golden(t, "failed", Failed("REF7"))
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

// TestDoc_cards holds the cards in doc.go to what is rendered.
func TestDoc_cards(t *testing.T) {
	const mark = "// # The card in each phase\n"
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	before, _, ok := strings.Cut(string(src), mark)
	if !ok {
		t.Fatalf("doc.go has no line %q", mark)
	}
	var b strings.Builder
	b.WriteString(before + mark + "//\n// As a reader in UTC sees it; buttons stand in brackets, with dots where they ask first.\n")
	for _, name := range []string{"requested", "opening", "open", "closing", "closed", "denied", "withdrawn", "lapsed"} {
		s := sceneNamed(t, name)
		b.WriteString("//\n")
		for l := range strings.Lines(reading(t, Card(s.g, s.now))) {
			l = strings.TrimRight(l, "\n")
			if strings.Trim(l, "=") == "" && l != "" {
				l = strings.Repeat("=", len(l))
			}
			b.WriteString(strings.TrimRight("//\t"+l, "\t ") + "\n")
		}
	}
	b.WriteString("package view\n")
	if *update {
		if err := os.WriteFile("doc.go", []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(src), b.String()); diff != "" {
		t.Errorf("doc.go (-have +want):\n%s", diff)
	}
}
