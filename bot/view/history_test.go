package view

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// TestHistory_mostFits holds that as many as are promised are shown, each with its
// two lines and in the top-level text, too, whatever is to be said of them.
func TestHistory_mostFits(t *testing.T) {
	for _, name := range []string{"closed_watched", "closed_extended", "emergency_closed", "closed_never_opened", "closed_removal", "denied", "lapsed"} {
		var ended []grant.Grant
		for i := range 60 {
			g := sceneNamed(t, name).g
			g.ID = grant.ID(1_000_000 + i)
			g.Cell = grant.CellName(strings.Repeat("c", 64))
			g.Requester = grant.UserID("U" + strings.Repeat("A", 10))
			g.Ticket, g.Why = strings.Repeat("t", grant.MaxTicket), strings.Repeat("no ", 900)
			for n := range 20 {
				g.Approvals = append(g.Approvals, grant.Approval{By: grant.UserID(fmt.Sprintf("U0APPROVE%02d", n)), At: g.RequestedAt})
			}
			if e := g.Ending; e != nil {
				own := *e
				own.By = grant.Actor{Kind: grant.Operator, Name: strings.Repeat("o", 32)}
				own.Why = "revoked by " + own.By.String() + ": " + strings.Repeat("because ", 300)
				g.Ending = &own
			}
			ended = append(ended, g)
		}
		for _, asked := range []int{MostHistory, MostHistory + 1, 50, 1 << 60} {
			m := History(ended[0].Cell, ended, asked)
			for _, p := range slacksim.Validate(m.BlocksJSON()) {
				t.Errorf("%s: Slack refuses the blocks: %s", name, p)
			}
			seen := reading(t, m)
			for i, g := range ended {
				want := i < MostHistory
				if got := strings.Contains(seen, g.ID.String()+" · "); got != want {
					t.Errorf("%s, asked for %d: %s is shown: %t", name, asked, g.ID, got)
				}
				if got := strings.Contains(m.Text, g.ID.String()+" · "); got != want {
					t.Errorf("%s, asked for %d: %s is in the text: %t", name, asked, g.ID, got)
				}
			}
			if got := strings.Contains(seen, "is the most that fits here"); got != (asked > MostHistory) {
				t.Errorf("%s, asked for %d: that it is the most is said: %t", name, asked, got)
			}
			if js, err := json.Marshal(m.Text); err != nil || len(js)+len(m.BlocksJSON()) > 40_000 {
				t.Errorf("%s: %d bytes of JSON (%v)", name, len(js)+len(m.BlocksJSON()), err)
			}
		}
	}
}
