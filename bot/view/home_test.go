package view

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakglass/store/grant"
)

// pressed is what the buttons of a home tab do, as action and value.
func pressed(h HomeTab) (out []string) {
	for _, b := range h.face.Blocks {
		for _, e := range b.Elements {
			if x, ok := e.(button); ok {
				out = append(out, x.ActionID+" "+x.Value)
			}
		}
	}
	return out
}

// TestHome_crowd holds that however much there is, the tab fits, and that every
// button stands below the words that it is about.
func TestHome_crowd(t *testing.T) {
	var live, ended []grant.Grant
	id := grant.ID(0)
	add := func(to *[]grant.Grant, name string, by grant.UserID) {
		g := sceneNamed(t, name).g
		id++
		g.ID, g.Requester = id, by
		g.Reason = strings.Repeat("a reason in words ", 100)
		g.Token = fmt.Sprintf("TOKEN%d", id)
		if r := g.Report; r != nil {
			long := *r
			long.RoleName, long.Redirect = strings.Repeat("r", 64), &grant.Redirect{From: "a", To: strings.Repeat("/logs", 40)}
			long.Findings = nil
			for range 5 {
				long.Findings = append(long.Findings, grant.Finding{Level: grant.Blocks, Text: strings.Repeat("it is not there ", 20)})
			}
			g.Report = &long
		}
		*to = append(*to, g)
	}
	for range 40 {
		for _, name := range []string{"requested", "requested_redirect", "opening", "open_more_asked", "emergency_open", "closing_stuck"} {
			add(&live, name, ana)
		}
		add(&live, "requested", ben)
		add(&ended, "closed_watched", ana)
		add(&ended, "emergency_closed", ana)
	}
	h := Home(HomeView{User: ben, MayDecide: true, MayRequest: true, Live: live, Ended: ended, Unsigned: append(slices.Clone(live), ended...), Guards: []grant.Guard{strays(t)}, Now: start})
	fitsView(t, h.JSON())
	for i, b := range h.face.Blocks {
		if b.Type != "actions" || i == 1 { // the second asks for access
			continue
		}
		above := h.face.Blocks[i-1]
		said := ""
		if above.Text != nil {
			said = above.Text.Text
		}
		for _, e := range above.Elements {
			for _, x := range e.(richPart).Elements {
				said += x.Text
			}
		}
		token := b.Elements[0].(button).Value
		token, _, _ = strings.Cut(strings.TrimPrefix(token, "TOKEN"), ":")
		if !strings.Contains(said, "BG-"+token+" ·") {
			t.Errorf("block %d has the buttons of BG-%s below %q", i, token, said)
		}
	}
}

// TestHome_mine holds that a person sees the buttons that do something for them.
func TestHome_mine(t *testing.T) {
	g := func(id grant.ID, scene string) grant.Grant {
		x := sceneNamed(t, scene).g // asked for by Ana
		x.ID, x.Token = id, fmt.Sprint("T", uint64(id))
		return x
	}
	owes := g(4, "emergency_closed")
	v := HomeView{
		Live:  []grant.Grant{g(1, "requested_half_approved"), g(2, "open_more_half"), g(3, "opening")}, // both approved by Ben
		Ended: []grant.Grant{owes}, Unsigned: []grant.Grant{owes}, Now: start.Add(2 * time.Hour),
	}
	decideOne := []string{"approve T1", "deny T1", "more "}
	decideMore := []string{"approve_extension T2:1", "deny_extension T2:1"}
	for _, tt := range []struct {
		name                    string
		user                    grant.UserID
		decide, request, revoke bool
		want                    []string
	}{
		{"an approver", eva, true, false, false, slices.Concat(decideOne, decideMore, []string{"sign_review T4", "revoke T3", "mark_sent T2", "revoke T2"})},
		{"an approver who has approved", ben, true, true, false, []string{"request home", "sign_review T4", "revoke T3", "mark_sent T2", "revoke T2"}},
		{"the requester, who approves others", ana, true, true, false, []string{"request home", "revoke T3", "mark_sent T2", "revoke T2", "withdraw T1"}},
		{"a revoker", "U0KAI", false, false, true, []string{"revoke T3", "mark_sent T2", "revoke T2"}},
		{"anybody", "U0KAI", false, true, false, []string{"request home"}},
		{"a guest", "U0KAI", false, false, false, nil},
	} {
		v.User, v.MayDecide, v.MayRequest, v.MayRevoke = tt.user, tt.decide, tt.request, tt.revoke
		if got := pressed(Home(v)); !slices.Equal(got, tt.want) {
			t.Errorf("%s sees the buttons %v, want %v", tt.name, got, tt.want)
		}
	}
	// Whoever asks for more time decides as little on that as the requester does; and
	// nobody decides when the time is up.
	asked := g(2, "open_more_asked")
	x := *asked.Extension
	x.By = eva
	asked.Extension = &x
	for user, want := range map[grant.UserID]bool{ana: false, eva: false, ben: true} {
		late := v
		late.Live, late.Unsigned, late.User, late.MayDecide = []grant.Grant{asked}, nil, user, true
		if got := slices.Contains(pressed(Home(late)), decideMore[0]); got != want {
			t.Errorf("%s decides on the time that Eva asks for: %v, want %v", user, got, want)
		}
		late.Now = asked.End
		if got := pressed(Home(late)); len(got) > 0 {
			t.Errorf("when the time is up %s sees the buttons %v", user, got)
		}
	}
	// What was put to the approvers again waits since then.
	first, again := g(6, "requested"), g(7, "requested_again")
	again.AskedAt = first.RequestedAt.Add(time.Minute)
	again.RequestedAt = first.RequestedAt.Add(-time.Hour)
	order := HomeView{User: eva, MayDecide: true, Live: []grant.Grant{again, first}, Now: start}
	if got := pressed(Home(order)); len(got) == 0 || got[0] != "approve T6" {
		t.Errorf("the buttons are %v, want what waits longest first", got)
	}
	v.Live = []grant.Grant{g(5, "open")}
	v.User, v.MayRequest, v.MayRevoke = "U0KAI", true, false
	if got, want := pressed(Home(v)), []string{"request home", "extend T5"}; !slices.Equal(got, want) {
		t.Errorf("whoever may ask for access sees the buttons %v, want %v", got, want)
	}
}
