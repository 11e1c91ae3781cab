package slacksim_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"breakglass/bot/slacksim"
)

// texts returns the texts of the slash commands that an app got, in the order of their arrival.
func texts(a *app) []string {
	var out []string
	for _, e := range a.seen(socketmode.EventTypeSlashCommand) {
		out = append(out, e.Data.(slack.SlashCommand).Text)
	}
	return out
}

func TestDelivery_lostAndLateAcks(t *testing.T) {
	for name, c := range map[string]struct {
		fault   slacksim.DeliveryFault
		acked   bool
		verdict slacksim.Verdict
		arrived int
	}{
		"lost ack":      {slacksim.DeliveryFault{LoseAck: true}, false, slacksim.AckLost, 1},
		"slow ack":      {slacksim.DeliveryFault{DelayAck: 2 * time.Second}, true, slacksim.AckTaken, 1},
		"late ack":      {slacksim.DeliveryFault{DelayAck: 4 * time.Second}, false, slacksim.AckLate, 1},
		"lost":          {slacksim.DeliveryFault{Lose: true}, false, "", 0},
		"slow":          {slacksim.DeliveryFault{Delay: 2 * time.Second}, true, slacksim.AckTaken, 1},
		"late":          {slacksim.DeliveryFault{Delay: 4 * time.Second}, false, slacksim.AckLate, 1},
		"another kind":  {slacksim.DeliveryFault{Kind: "block_actions", Lose: true}, true, slacksim.AckTaken, 1},
		"not this time": {slacksim.DeliveryFault{Skip: 1, Lose: true}, true, slacksim.AckTaken, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, slacksim.Options{})
				a := w.run(ackWith(map[string]string{"text": "done"}))
				remove := w.InjectDelivery(c.fault)
				i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "first")
				if err != nil || i.Acked != c.acked || (i.Failure == "") != c.acked {
					t.Errorf("got %+v, %v", i, err)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				var verdict slacksim.Verdict
				for _, a := range w.Acks() {
					verdict = a.Verdict
				}
				if verdict != c.verdict || len(texts(a)) != c.arrived {
					t.Errorf("got %q and %d arrivals, want %q and %d", verdict, len(texts(a)), c.verdict, c.arrived)
				}
				remove()
				if i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "second"); err != nil || !i.Acked || len(w.ada.Ephemerals()) != 2 {
					t.Errorf("afterwards got %+v, %v, %d ephemerals", i, err, len(w.ada.Ephemerals()))
				}
			})
		})
	}
}

func TestDelivery_overtaking(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		a := w.run(ackWith(nil))
		w.InjectDelivery(slacksim.DeliveryFault{Times: 1, Delay: time.Second})
		first := make(chan slacksim.Interaction, 1)
		go func() {
			i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "first")
			if err != nil {
				t.Error(err)
			}
			first <- i
		}()
		synctest.Wait()
		if i, err := w.bob.Slash(t.Context(), channel, "/breakglass", "second"); err != nil || !i.Acked {
			t.Error(i, err)
		}
		if i := <-first; !i.Acked || i.After != time.Second {
			t.Errorf("got %+v", i)
		}
		synctest.Wait()
		if got := texts(a); !cmp.Equal(got, []string{"second", "first"}) {
			t.Errorf("got %q", got)
		}
	})
}

func TestDelivery_aDelayedEnvelopeDiesWithItsConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		a := w.run(ackWith(nil))
		w.InjectDelivery(slacksim.DeliveryFault{Kind: "app_home_opened", Times: 1, Delay: time.Second})
		opened := make(chan struct{})
		go func() {
			defer close(opened)
			if i, err := w.ada.OpenHome(t.Context()); err != nil || i.Acked {
				t.Errorf("got %+v, %v", i, err)
			}
		}()
		synctest.Wait()
		w.DisconnectAll(slacksim.ReasonRefreshRequested, 0)
		<-opened
		time.Sleep(time.Second)
		synctest.Wait()
		// The event comes again, over the connection that the app has made meanwhile.
		events := a.seen(socketmode.EventTypeEventsAPI)
		if len(events) != 1 || events[0].Request.RetryAttempt != 1 || events[0].Request.RetryReason != "timeout" {
			t.Fatalf("got %+v", events)
		}
		if acks := w.Acks(); len(acks) != 1 || acks[0].Connection != 2 || acks[0].Verdict != slacksim.AckTaken {
			t.Errorf("got %+v", acks)
		}
	})
}

func TestDelivery_anEventWhoseAckIsLostComesAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		a := w.run(ackWith(nil))
		w.InjectDelivery(slacksim.DeliveryFault{Times: 2, LoseAck: true})
		if i, err := w.ada.OpenHome(t.Context()); err != nil || i.Acked {
			t.Errorf("got %+v, %v", i, err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		ids := map[string]int{}
		events := a.seen(socketmode.EventTypeEventsAPI)
		for _, e := range events {
			ids[e.Data.(slackevents.EventsAPIEvent).Data.(*slackevents.EventsAPICallbackEvent).EventID]++
		}
		if len(events) != 3 || len(ids) != 1 {
			t.Errorf("got %d events of %v", len(events), ids)
		}
		w.InjectDelivery(slacksim.DeliveryFault{Lose: true})
		w.ClearFaults()
		if i, err := w.ada.OpenHome(t.Context()); err != nil || !i.Acked {
			t.Errorf("got %+v, %v after the faults were cleared", i, err)
		}
	})
}

func TestDelivery_duplicatesGoOverTwoConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, slacksim.Options{})
		one, two := w.run(ackWith(map[string]string{"text": "done"})), w.run(ackWith(map[string]string{"text": "done"}))
		w.DuplicateNext(1, false)
		i, err := w.ada.Slash(t.Context(), channel, "/breakglass", "x")
		if err != nil || !i.Acked {
			t.Fatal(i, err)
		}
		synctest.Wait()
		if len(texts(one)) != 1 || len(texts(two)) != 1 || len(w.ada.Ephemerals()) != 1 {
			t.Errorf("got %q and %q, %d answers", texts(one), texts(two), len(w.ada.Ephemerals()))
		}
		var got []slacksim.Verdict
		for _, a := range w.Acks() {
			got = append(got, a.Verdict)
		}
		if !cmp.Equal(got, []slacksim.Verdict{slacksim.AckTaken, slacksim.AckDuplicate}) {
			t.Errorf("got %q", got)
		}
		w.SetChooser(func(c []*slacksim.Connection) *slacksim.Connection { return c[1] })
		if again, err := w.Redeliver(t.Context(), i, false); err != nil || again.Connection != 2 {
			t.Errorf("got %+v, %v", again, err)
		}
	})
}
