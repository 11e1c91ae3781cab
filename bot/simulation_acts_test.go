package bot_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakglass/bot/slacksim"
	"breakglass/store/grant"
)

// deed is one thing that somebody did in Slack, and what came of it before their
// eyes. It is written down by the people's side, never by the bot's.
type deed struct {
	kind  string // what it decides: ask, emergency, approve, deny, withdraw, revoke, …
	who   string
	grant int           // as the card or the words named it; 0: none yet
	ext   string        // which extension, of a decision about one
	long  time.Duration // asked for, or what the button said that is approved
	// Of a request.
	ticket, arn string
	cell        int

	at       time.Time // sent
	acked    bool
	ackedAt  time.Time
	envelope string
	trigger  string
	payload  string // of the ack
	twin     bool   // delivered in two envelopes
	again    bool   // delivered once more, later
	forged   bool   // on a button that was not there any more
	checked  bool
}

// act has somebody do something. d, which may be nil, is written down at the moment
// at which it is sent.
func (p *play) act(who person, d *deed, f func(slacksim.Edit) (slacksim.Interaction, error)) {
	sent := func(payload map[string]any) {
		atHome(payload)
		p.mu.Lock()
		defer p.mu.Unlock()
		twin := p.twins > 0
		if twin {
			p.twins--
		}
		if d == nil {
			return
		}
		d.who, d.at, d.twin = who.ID(), time.Now(), twin
		if view, ok := payload["view"].(map[string]any); ok {
			// A form is about the grant whose token came back with it.
			if token, _ := view["private_metadata"].(string); token != "" {
				d.grant = p.tokens[beforeColon(token)]
			}
		}
		p.deeds = append(p.deeds, d)
	}
	i, err := f(sent)
	if err != nil || i.EnvelopeID == "" {
		return // Slack itself does not let this happen
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = i
	if d != nil {
		d.acked, d.ackedAt, d.envelope, d.trigger, d.payload = i.Acked && i.Failure == "", i.Sent.Add(i.After), i.EnvelopeID, i.TriggerID, string(i.Payload)
	}
}

func beforeColon(s string) string {
	s, _, _ = strings.Cut(s, ":")
	return s
}

// lastAct is what somebody did last, to be delivered again.
func (p *play) lastAct() slacksim.Interaction {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.deeds {
		d.again = d.again || d.envelope != "" && d.envelope == p.last.EnvelopeID
	}
	return p.last
}

// slash types a command.
func (p *play) slash(who person, text string, d *deed) {
	p.act(who, d, func(e slacksim.Edit) (slacksim.Interaction, error) {
		return who.Slash(context.Background(), channel, "/breakglass", text, e)
	})
}

// grantOf is the grant that a step means, among those that there are; 0: none.
func (p *play) grantOf(on int) int {
	p.gaze()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.cardsOf) == 0 {
		return 0
	}
	ids := slices.Sorted(mapsKeys(p.cardsOf))
	return ids[max(on-1, 0)%len(ids)]
}

// ask has somebody ask for access. Every request has a ticket of its own, so that
// it can be told which grant came of it.
func (p *play) ask(who person, s step) {
	p.mu.Lock()
	p.asks++
	ticket := fmt.Sprint(48000 + p.asks)
	p.n.asked++
	p.mu.Unlock()
	d := &deed{kind: "ask", ticket: ticket, arn: s.what, cell: s.n, long: s.long}
	cell := p.gates[s.n].name
	words := fmt.Sprintf("cell=%s arn=%s ticket=%s for=%s reason=stuck node pool", cell, s.what, ticket, s.long)
	switch s.do {
	case doAsk:
		p.slash(who, "grant "+words, d)
		return
	case doEmergency:
		d.kind = "emergency"
		p.slash(who, "emergency "+words, d)
		return
	}
	who.Reload()
	p.slash(who, "grant", nil)
	v, ok := who.Modal()
	if !ok {
		return
	}
	with := values{"cell": cell, "arn": s.what, "ticket": ticket, "for": "other", "for_other": s.long.String(), "reason": "stuck node pool"}
	for range 2 { // whoever is told that it did not work tries again
		p.act(who, d, func(e slacksim.Edit) (slacksim.Interaction, error) {
			return who.Submit(context.Background(), v, with, e)
		})
		if now, ok := who.Modal(); !ok || now.Trouble == "" {
			break
		}
		again := *d
		again.checked = true // one form is one request: its first delivery counts
		d = &again
	}
	who.Reload()
}

// kinds are the deeds that buttons do.
var kindOfAction = map[string]string{
	"approve": "approve", "approve_redirect": "approve", "deny": "deny", "withdraw": "withdraw", "revoke": "revoke", "revoke_knowing": "revoke",
	"mark_sent": "mark_sent", "sign_review": "sign_review", "approve_extension": "approve_extension", "deny_extension": "deny_extension",
	"revoke_all": "revoke all", "adopt": "adopt", "remove": "remove",
}

// deedOf is what pressing a button would be.
func (p *play) deedOf(b slacksim.Button) *deed {
	token, ext, _ := strings.Cut(b.Value, ":")
	d := &deed{kind: kindOfAction[b.ActionID]}
	if strings.HasSuffix(d.kind, "_extension") {
		d.ext = ext
	}
	p.mu.Lock()
	d.grant = p.tokens[token]
	p.mu.Unlock()
	label := strings.TrimSuffix(strings.TrimPrefix(b.Text, "Approve "), " more")
	for _, each := range slices.Concat(askedFor, lessFor, moreFor, []time.Duration{adopted}) {
		if grant.FormatDuration(each) == label {
			d.long = each
		}
	}
	return d
}

// press has somebody press a button of a grant's card, as they see it.
func (p *play) press(who person, s step) {
	id := p.grantOf(s.on)
	cards := p.cards(fmt.Sprintf("BG-%d", id))
	if id == 0 || len(cards) == 0 {
		return
	}
	card := cards[len(cards)-1]
	for _, b := range card.Buttons() {
		if strings.HasPrefix(b.Text, s.what) && b.Type == "button" {
			p.click(who, card, b)
			return
		}
	}
}

func (p *play) click(who person, m slacksim.Message, b slacksim.Button) {
	var d *deed
	if kindOfAction[b.ActionID] != "" {
		d = p.deedOf(b)
	}
	p.act(who, d, func(e slacksim.Edit) (slacksim.Interaction, error) {
		return who.ClickButton(context.Background(), m, b, e)
	})
}

// stale has somebody press a button that was on the card once.
func (p *play) stale(who person, s step) {
	id := p.grantOf(s.on)
	p.mu.Lock()
	var b slacksim.Button
	for _, o := range p.buttons[id] {
		if strings.HasPrefix(o.ActionID, s.what) {
			b = o
		}
	}
	ts := p.cardsOf[id]
	p.mu.Unlock()
	if b.ActionID == "" || len(ts) == 0 {
		return
	}
	d := p.deedOf(b)
	d.forged = true
	p.act(who, d, func(e slacksim.Edit) (slacksim.Interaction, error) {
		return who.Forge(context.Background(), slacksim.Forgery{Channel: channel, MessageTS: ts[len(ts)-1], ActionID: b.ActionID, Value: b.Value, Text: b.Text}, e)
	})
}

// fillIn decides with a form: approves for less, or denies with a reason.
func (p *play) fillIn(who person, s step) {
	id := p.grantOf(s.on)
	cards := p.cards(fmt.Sprintf("BG-%d", id))
	if id == 0 || len(cards) == 0 {
		return
	}
	line, d, with := less, &deed{kind: "approve", long: s.long}, values{"for": "other", "for_other": s.long.String()}
	if s.do == doDenyWhy {
		line, d, with = denyWhy, &deed{kind: "deny"}, values{"reason": "not now"}
	}
	who.Reload()
	p.act(who, nil, func(e slacksim.Edit) (slacksim.Interaction, error) {
		return who.Choose(context.Background(), cards[len(cards)-1], "more", line, e)
	})
	if v, ok := who.Modal(); ok {
		p.act(who, d, func(e slacksim.Edit) (slacksim.Interaction, error) {
			return who.Submit(context.Background(), v, with, e)
		})
	}
	who.Reload()
}

// revoke has somebody type it, and say yes where they are asked.
func (p *play) revoke(who person, s step) {
	id := p.grantOf(s.on)
	d := &deed{kind: "revoke", grant: id}
	text := fmt.Sprintf("revoke BG-%d", id)
	switch s.what {
	case "cell":
		text, d.kind, d.grant = "revoke "+prod, "revoke all", 0
	case "all":
		text, d = "revoke all", nil
	case "bare":
		text, d.kind, d.grant = "revoke", "revoke all", 0
	}
	from := len(p.slack.Ephemerals(who.ID()))
	p.slash(who, text, d)
	shown := p.slack.Ephemerals(who.ID())
	for _, m := range shown[min(from, len(shown)):] {
		for _, b := range m.Buttons() {
			if strings.HasPrefix(b.Text, "Revoke") && b.Type == "button" {
				p.click(who, m, b)
				return
			}
		}
	}
}

// stray has somebody press a button about trust that no grant explains.
func (p *play) stray(who person, s step) {
	for _, m := range p.strays() {
		for _, b := range m.Buttons() {
			if b.Text != s.what {
				continue
			}
			d := p.deedOf(b)
			if _, rest, ok := strings.Cut(p.slack.Render(m), "arn:aws:iam::111122223333:role/"); ok {
				name := rest[:strings.IndexFunc(rest+" ", func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') })]
				d.arn = "arn:aws:iam::111122223333:role/" + name
			}
			p.act(who, d, func(e slacksim.Edit) (slacksim.Interaction, error) {
				return who.ClickButton(context.Background(), m, b, e)
			})
			return
		}
	}
}

// comes is SingleStore's engineer, who comes in wherever that is possible.
func (p *play) comes(s step) {
	g := p.gates[s.n]
	key, err := p.assume(g.cell, s.what)
	if err != nil {
		p.comesBack(g, s.what)
		return
	}
	v := p.entered(g, s.what, key)
	if v == nil {
		return
	}
	if v.shell, err = p.shell(g.cell, g.region, key); err == nil {
		p.mu.Lock()
		p.n.ins++
		p.mu.Unlock()
		_, _ = v.shell.Type("whoami")
	}
}

// comesBack is SingleStore's engineer who tries credentials of before, while the
// grant that they came in by is still being closed.
func (p *play) comesBack(g *gate, as string) {
	p.mu.Lock()
	var old *visit
	for _, v := range p.came {
		if v.g == g && v.as == as && slices.ContainsFunc(v.by, func(id int) bool { return p.closed[id].IsZero() }) {
			old = v
		}
	}
	p.mu.Unlock()
	if old == nil {
		return
	}
	if shell, err := p.shell(g.cell, g.region, old.key); err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		again := *old
		again.shell = shell
		p.came = append(p.came, &again)
	}
}

// human is somebody, or Terraform, who edits the role.
func (p *play) human(s step) {
	g := p.gates[s.n]
	p.disturbed(time.Now())
	p.mu.Lock()
	defer p.mu.Unlock()
	doc := g.cell.Role.TrustDocument()
	add := func(it item) {
		if slices.ContainsFunc(g.items, func(o item) bool { return o.text == it.text }) {
			return
		}
		edited := strings.Replace(doc, listBegins, listBegins+it.text, 1)
		if edited == doc {
			return
		}
		g.items = append([]item{it}, g.items...)
		g.set(p, edited)
	}
	vendorItem := func(sid string) item {
		return item{vendor: vendor2, text: fmt.Sprintf("\n    {%s\"Effect\": \"Allow\", \"Principal\": {\"AWS\": %q}, \"Action\": \"sts:AssumeRole\"},", sid, vendor2)}
	}
	switch s.what {
	case "adds a statement":
		add(item{text: "\n    {\"Effect\" : \"Allow\",\t\"Principal\": {\"AWS\": [\"arn:aws:iam::444455556666:role/auditors\"]}, \"Action\": \"sts:AssumeRole\"},"})
	case "adds SingleStore":
		add(vendorItem(""))
	case "adds SingleStore by Sid":
		add(vendorItem(`"Sid": "LetThemIn", `))
	case "takes ours out":
		g.set(p, g.foreign())
	case "applies Terraform":
		g.items = nil
		g.set(p, g.foreign())
	case "puts ours back":
		if n := len(g.past); n > 0 && !strings.Contains(doc, g.past[n-1].sid) {
			old := g.past[n-1]
			add(item{text: "\n    " + old.raw + ",", sid: old.sid, vendor: old.principal})
		}
	case "deletes a role that it names":
		add(item{orphan: true, text: "\n    {\"Effect\": \"Allow\", \"Principal\": {\"AWS\": \"AROALEAVERLEAVERLEAV\"}, \"Action\": \"sts:AssumeRole\"},"})
	case "deletes the hard stop":
		g.cell.Role.RemoveInline("BreakglassHardStop")
		g.stopGone = time.Now()
	}
}

// orphan has SingleStore delete its second role, and make it anew: statements that
// named it name nobody any more.
func (p *play) orphan() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.gates {
		if slices.ContainsFunc(g.items, func(it item) bool { return it.vendor == vendor2 }) {
			return
		}
	}
	p.world.ForeignRole(vendor2).Delete()
	p.world.ForeignRole(vendor2)
	p.calm = time.Now()
	for _, g := range p.gates {
		for _, o := range g.ours {
			if o.principal == vendor2 {
				o.orphan = true
			}
		}
	}
}

// slackTrouble notes that Slack may answer badly for so long.
func (p *play) slackTrouble(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slackBad = append(p.slackBad, [2]time.Time{time.Now(), time.Now().Add(d)})
}

// disturbed notes that AWS, the bot or its database may not be well until then.
func (p *play) disturbed(until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until.After(p.calm) {
		p.calm = until
	}
}

// textOf is what an ack's payload says, as one string.
func textOf(payload string) string {
	var v any
	if json.Unmarshal([]byte(payload), &v) != nil {
		return payload
	}
	js, _ := json.Marshal(v)
	return string(js)
}
