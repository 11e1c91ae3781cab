package bot_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// Several people press everything at once, on several grants, while sockets drop
// and AWS stumbles. Whatever comes of it, everything that was opened was approved
// by somebody else, and all of it ends closed.
func TestRace_everybodyPressesEverything(t *testing.T) {
	for seed := range uint64(6) {
		beside(t, fmt.Sprint("seed ", seed), func(t *testing.T, s *stage) {
			s.world.Inject(slowAWS)
			for _, text := range []string{askProd, askTest(), askProd} {
				s.ana.says(text)
			}
			s.until("BG-3", "Requested")
			var all sync.WaitGroup
			people := []person{s.ana, s.ben, s.eva, s.rob, s.mia}
			for n, p := range people {
				r := rand.New(rand.NewPCG(seed, uint64(n)))
				all.Go(func() {
					for range 40 {
						time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
						p.anything(t, r)
					}
				})
			}
			all.Go(func() {
				r := rand.New(rand.NewPCG(seed, 99))
				for range 10 {
					time.Sleep(time.Duration(r.IntN(8000)) * time.Millisecond)
					if cs := s.slack.Connections(); len(cs) > 0 {
						cs[r.IntN(len(cs))].Drop()
					}
				}
			})
			all.Wait()
			live, err := s.db.Live()
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range live {
				if g.Live() && (len(g.Approvals) != 1 || g.Approvals[0].By == g.Requester || g.Approvals[0].By == mia || g.Approvals[0].By == rob) {
					t.Errorf("%s was opened with the approvals %+v", g.ID, g.Approvals)
				}
			}
			// Whoever is left ends it.
			for range 20 {
				if live, _ = s.db.Live(); len(live) == 0 {
					break
				}
				for _, g := range live {
					if g.Phase == grant.Requested || g.Phase == grant.Open || g.Phase == grant.Opening {
						s.rob.tries("revoke " + g.ID.String())
					}
				}
				time.Sleep(time.Minute)
			}
			if len(live) != 0 {
				t.Errorf("still live: %+v", live)
			}
			s.shut(s.cell)
			s.shut(s.cell2)
			if doc := s.cell.Role.TrustDocument(); doc != trustBefore {
				t.Errorf("the trust policy afterwards:\n%s", doc)
			}
		}, quiet)
	}
}

// anything is one thing that a person may do, sensible or not.
func (p person) anything(t *testing.T, r *rand.Rand) {
	ctx := context.Background()
	id := fmt.Sprintf("BG-%d", 1+r.IntN(4))
	var err error
	switch r.IntN(6) {
	case 0:
		_, err = p.Slash(ctx, channel, "/breakglass", "status", atHome)
	case 1:
		_, err = p.Slash(ctx, channel, "/breakglass", "show "+id, atHome)
	case 2:
		_, err = p.Slash(ctx, channel, "/breakglass", "revoke "+id, atHome)
	default:
		cards := p.s.cards(id)
		if len(cards) == 0 {
			return
		}
		button := []string{"Approve", "Deny", "Withdraw", "Revoke now", "Mark as sent", "Approve"}[r.IntN(6)]
		if r.IntN(4) > 0 && (button == "Deny" || button == "Withdraw") {
			return
		}
		_, err = p.Click(ctx, cards[len(cards)-1], button, atHome)
	}
	if err != nil && !errors.Is(err, slacksim.ErrNoButton) {
		t.Error(err)
	}
}
