package slacksim_test

import (
	"context"
	"fmt"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"breakglass/bot/slacksim"
)

// A bot asks in a channel whenever somebody types /breakglass, and decides when somebody clicks.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	sim := slacksim.New(slacksim.Options{})
	defer sim.Close()
	defer cancel()
	ada := sim.AddUser(slacksim.User{Name: "ada"})
	bob := sim.AddUser(slacksim.User{Name: "bob"})
	ops := sim.AddChannel(slacksim.Channel{Name: "ops", Members: []string{ada.ID(), bob.ID()}})

	// The bot: slack-go as it is used with the real Slack, but for three addresses.
	api := slack.New(sim.BotToken(), slack.OptionAppLevelToken(sim.AppToken()),
		slack.OptionAPIURL(sim.APIURL()), slack.OptionHTTPClient(sim.HTTPClient()))
	client := socketmode.New(api, socketmode.OptionDialer(sim.Dialer()))
	go func() { _ = client.RunContext(ctx) }()
	go func() {
		for e := range client.Events {
			switch d := e.Data.(type) {
			case slack.SlashCommand:
				_ = client.AckCtx(ctx, e.Request.EnvelopeID, map[string]string{"text": "Asked."})
				label := slack.NewTextBlockObject(slack.PlainTextType, "Approve 4 h", false, false)
				_, _, _ = api.PostMessageContext(ctx, ops, slack.MsgOptionText("may <@"+d.UserID+">?", false),
					slack.MsgOptionBlocks(
						slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, "May <@"+d.UserID+">?", false, false), nil, nil),
						slack.NewActionBlock("decide", slack.NewButtonBlockElement("approve", "BG-1", label))))
			case slack.InteractionCallback:
				_ = client.AckCtx(ctx, e.Request.EnvelopeID, nil)
				_, _, _, _ = api.UpdateMessageContext(ctx, d.Channel.ID, d.Message.Timestamp,
					slack.MsgOptionText("*Approved* by <@"+d.User.ID+">", false))
			}
		}
	}()

	// The people.
	_ = sim.WaitConnections(ctx, 1)
	said, _ := ada.Slash(ctx, ops, "/breakglass", "grant")
	for _, m := range said.Ephemerals() {
		fmt.Println("ada sees:", sim.Render(m))
	}
	card, _ := sim.WaitMessage(ctx, ops, nil)
	fmt.Println(sim.Render(card))
	_, _ = bob.Click(ctx, card, "Approve")
	card, _ = sim.WaitMessage(ctx, ops, func(m slacksim.Message) bool { return m.Edits > 0 })
	fmt.Println(sim.Render(card))
	// Output:
	// ada sees: Asked.
	// May @ada?
	// [ Approve 4 h ]
	// Approved by @bob (edited)
}

// A person opens a modal with a slash command, is told what is wrong with it, and sends it again.
func Example_modal() {
	ctx, cancel := context.WithCancel(context.Background())
	sim := slacksim.New(slacksim.Options{})
	defer sim.Close()
	defer cancel()
	ada := sim.AddUser(slacksim.User{Name: "ada"})
	ops := sim.AddChannel(slacksim.Channel{Name: "ops", Members: []string{ada.ID()}})

	api := slack.New(sim.BotToken(), slack.OptionAppLevelToken(sim.AppToken()),
		slack.OptionAPIURL(sim.APIURL()), slack.OptionHTTPClient(sim.HTTPClient()))
	client := socketmode.New(api, socketmode.OptionDialer(sim.Dialer()))
	go func() { _ = client.RunContext(ctx) }()
	go func() {
		plain := func(s string) *slack.TextBlockObject {
			return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
		}
		form := slack.ModalViewRequest{
			Type: slack.VTModal, Title: plain("Ask for access"), Submit: plain("Ask"),
			Blocks: slack.Blocks{BlockSet: []slack.Block{
				slack.NewInputBlock("reason", plain("Reason"), nil, slack.NewPlainTextInputBlockElement(nil, "text")),
			}},
		}
		for e := range client.Events {
			switch d := e.Data.(type) {
			case slack.SlashCommand:
				_ = client.AckCtx(ctx, e.Request.EnvelopeID, nil)
				_, _ = api.OpenViewContext(ctx, d.TriggerID, form)
			case slack.InteractionCallback:
				var answer any
				if d.View.State.Values["reason"]["text"].Value == "because" {
					answer = slack.NewErrorsViewSubmissionResponse(map[string]string{"reason": "Say what is broken."})
				}
				_ = client.AckCtx(ctx, e.Request.EnvelopeID, answer)
			}
		}
	}()
	if err := sim.WaitConnections(ctx, 1); err != nil {
		panic(err)
	}

	_, _ = ada.Slash(ctx, ops, "/breakglass", "grant")
	form, _ := ada.WaitModal(ctx, nil)
	_, _ = ada.Submit(ctx, form, slacksim.Values{"Reason": "because"})
	form, _ = ada.Modal()
	fmt.Println(sim.RenderView(form))
	_, _ = ada.Submit(ctx, form, slacksim.Values{"Reason": "stuck node pool"})
	_, open := ada.Modal()
	fmt.Println("still open:", open)
	// Output:
	// Ask for access
	// ──────────────
	// Reason: [ because ]
	//   (!) Say what is broken.
	// [ Ask ]
	// still open: false
}
