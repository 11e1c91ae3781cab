package bot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
	"breakglass/store"
	"breakglass/store/grant"
)

// What must hold after every step, and at the end. The letters are those of the
// messages. "We" is the bot.
//
//	(a) In AWS a statement of ours stands only for what was asked for, in words or in
//	    a form, and with as many yeses as are needed: of people who are approvers,
//	    none of them the requester, each for at least as long as it lasts; or for an
//	    emergency of somebody who may. SingleStore comes in by such a statement, or by
//	    one that people put there themselves, and not otherwise.
//	(b) Nothing lasts longer than that: see the tails below.
//	(c) Statements that are not ours keep their bytes and their order.
//	(d) In the end every grant that AWS was touched for is closed and proven, no
//	    session is live, and credentials of before are refused.
//	(e) What was acknowledged is in the store, and everything happens once, however
//	    often it is delivered.
//	(f) The audit log is whole, after each start and at the end.
//	(g) No reminder comes twice, and a grant has one card.
//	(h) "Closed" stands on no card before it is so; nothing secret is ever shown.
//	(x) The bot does not end by itself, and stops in time when told to.
//
// The tails that are allowed, and where they are promised:
//
//   - Assuming the role by our statement: none. The statement itself says until when
//     (DESIGN 3.4, DateLessThan), whatever becomes of the bot.
//   - Credentials after the end: [stopTail], because the hard stop refuses what is
//     after the end and AWS counts whole seconds (DESIGN 3.4); unless people take the
//     hard stop away, or another grant on the role lasts longer (the latest end counts).
//   - After a revocation, and for shells in every case: as long as it takes us to write
//     and to list. AWS may fail or we may be down (DESIGN 4.3, "never gives up"); when
//     all is well for [tail], nothing of it is left.
//   - A write takes up to the simulated propagation to count, which is always below the
//     60 s for which Closed waits after the trust went and after the cut-off was put.
//   - A decision to end (deny, withdraw, revoke) that was acknowledged is overtaken by
//     what was on the wire already: [wire].
//   - What people write into a trust policy in the moment in which we write may be
//     overwritten: IAM has no conditional write (actions/doc.go, trap 7): [overwritten].
//   - Who approved is believed for a minute, and one attempt at opening takes three at
//     most (DESIGN 3.1; openLimit): [belief].
const (
	stopTail = 2 * time.Second
	tail     = 5 * time.Minute
	wire     = 500 * time.Millisecond
	belief   = 4*time.Minute + 15*time.Second

	overwritten = 5 * time.Second
)

// listBegins is where people add statements.
const listBegins = `"Statement": [`

// change1 is that somebody became an approver, or is none any more.
type change1 struct {
	at time.Time
	is bool
}

// ledger is what an onlooker has seen.
type ledger struct {
	deeds     []*deed
	approvers map[string][]change1
	gates     [2]*gate
	cuts      []time.Time // of the power
	calm      time.Time   // since when nothing but Slack is ill
	slackBad  [][2]time.Time

	staleUntil time.Time

	looked   int // changes in Slack
	tokens   map[string]int
	buttons  map[int][]slacksim.Button // ever seen on a card
	cardsOf  map[int][]string          // every card a grant ever had
	standing map[int][]string
	torn     map[int]bool  // somebody deleted its card
	asked    map[int]*deed // the request that a grant came of
	closed   map[int]time.Time
	// announced are the grants that were said to be open.
	announced map[int]bool
	probed    map[int]bool
	whispers  map[string]string // what people alone were told, by the trigger of their act
	reminded  map[string]int    // by grant and kind
	arrived   map[string]time.Time
	came      []*visit
	entries   map[string]int
}

// gate is a role that SingleStore may want to assume.
type gate struct {
	cell         awssim.CellScene
	region, name string
	group        string // where its sessions are logged
	items        []item // what people added, the newest first
	ours         map[int]*trusted
	past         []trusted // statements that have stood
	edited       time.Time
	stopGone     time.Time // when people last deleted the hard stop
	stopped      time.Time // the last end for which the hard stop was tried
	logged       time.Time // when people last changed the logging
	mended       bool      // we have taken something of people's out
}

// item is a statement that people added.
type item struct {
	text   string
	vendor string // whom of SingleStore it lets in
	sid    string // one of ours, that they put back
	orphan bool   // it names a role that has been deleted
}

// trusted is one statement of ours.
type trusted struct {
	sid, principal, raw string
	end                 time.Time
	present             bool
	at, gone            time.Time
	byHand              bool // people put it back
	orphan              bool
	used                map[string]bool // extensions that it has had
}

// visit is SingleStore's engineer inside.
type visit struct {
	g      *gate
	as     string
	key    awssim.Credentials
	at     time.Time
	by     []int // grants that explained it; none: people let them in
	byHand bool
	shell  *awssim.Shell
}

func (l *ledger) begin(p *play) {
	*l = ledger{
		approvers: map[string][]change1{}, tokens: map[string]int{}, buttons: map[int][]slacksim.Button{}, cardsOf: map[int][]string{}, standing: map[int][]string{}, torn: map[int]bool{},
		asked: map[int]*deed{}, closed: map[int]time.Time{}, announced: map[int]bool{}, probed: map[int]bool{}, whispers: map[string]string{}, reminded: map[string]int{}, arrived: map[string]time.Time{}, entries: map[string]int{},
	}
	for _, u := range []string{ana, ben, eva} {
		l.approvers[u] = []change1{{time.Now(), true}}
	}
	l.gates = [2]*gate{
		{cell: p.cell, region: "us-east-1", name: prod, group: "/aws/ssm/helios-prod/cluster", ours: map[int]*trusted{}},
		{cell: p.cell2, region: "eu-west-1", name: test, group: "/aws/ssm/helios-test/cluster", ours: map[int]*trusted{}},
	}
}

func mapsKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

// foreign is the trust policy as people have it, without ours.
func (g *gate) foreign() string {
	var b strings.Builder
	for _, it := range g.items {
		b.WriteString(it.text)
	}
	return strings.Replace(trustBefore, listBegins, listBegins+b.String(), 1)
}

// set is people writing the trust policy. The ledger is held.
func (g *gate) set(p *play, doc string) {
	g.cell.Role.Trust(doc)
	g.edited = time.Now()
	p.took(g, doc, true)
}

// statement is one of a trust policy.
type statement struct {
	raw       string
	Sid       string
	Effect    string
	Principal struct{ AWS any }
	Action    any
	Condition map[string]map[string]any
}

func (s statement) principals() (out []string) {
	switch v := s.Principal.AWS.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			out = append(out, fmt.Sprint(x))
		}
	}
	return out
}

// statementsOf reads a trust policy; around is everything beside its statements.
func statementsOf(doc string) (list []statement, around string, err error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal([]byte(doc), &top); err != nil {
		return nil, "", err
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(top["Statement"], &raws); err != nil {
		return nil, "", err
	}
	for _, raw := range raws {
		s := statement{raw: string(raw)}
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, "", err
		}
		list = append(list, s)
	}
	delete(top, "Statement")
	rest, err := json.Marshal(top)
	return list, string(rest), err
}

var oursPattern = regexp.MustCompile(`^BreakglassBG([0-9]+)$`)

// beforeAWS sees every call to AWS that the bot makes.
func (p *play) beforeAWS(_ context.Context, c awssim.Call) *awssim.Fault {
	if !strings.HasSuffix(c.Caller, ":user/breakglass-bot") {
		return nil
	}
	if c.Op == "UpdateAssumeRolePolicy" {
		p.mu.Lock()
		p.arrived[c.Role()] = time.Now()
		p.mu.Unlock()
	}
	return p.strikes(c)
}

// afterAWS holds every trust policy that the bot writes to what people decided.
func (p *play) afterAWS(_ context.Context, c awssim.Call) {
	if c.Op != "UpdateAssumeRolePolicy" || !c.Done || !strings.HasSuffix(c.Caller, ":user/breakglass-bot") {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.mistake()
	for _, g := range p.gates {
		if g.cell.Role.Name() != c.Params["RoleName"] {
			continue
		}
		if wrong := p.took(g, c.Params["PolicyDocument"], false); wrong != "" {
			p.wrongly(wrong[:1], "%s\n%s", wrong[2:], c.Params["PolicyDocument"])
		}
	}
}

// mistake is for a panic of the onlooker's own, which the bot would outlive. The
// ledger is held.
func (p *play) mistake() {
	if x := recover(); x != nil {
		p.wrongly("x", "the onlooker: %v", x)
	}
}

// took takes in a trust policy that was written, and answers what is wrong with it,
// after the letter of what it breaks. The ledger is held.
func (p *play) took(g *gate, doc string, people bool) (wrong string) {
	now := time.Now()
	list, _, err := statementsOf(doc)
	if err != nil {
		return "c the trust policy cannot be read: " + err.Error()
	}
	present := map[int]bool{}
	for _, s := range list {
		m := oursPattern.FindStringSubmatch(s.Sid)
		if m == nil {
			continue
		}
		id, _ := strconv.Atoi(m[1])
		present[id] = true
		t := trusted{sid: s.Sid, raw: s.raw, at: now, present: true, byHand: people, used: map[string]bool{}}
		if who := s.principals(); len(who) == 1 {
			t.principal = who[0]
		}
		end, _ := s.Condition["DateLessThan"]["aws:CurrentTime"].(string)
		t.end, _ = time.Parse(time.RFC3339, end)
		was := g.ours[id]
		switch {
		case people && was != nil && was.present:
			continue // it stands as it stood
		case people:
			g.ours[id] = &t
			continue
		case was != nil && was.present && was.raw == t.raw, was != nil && was.orphan && was.end.Equal(t.end):
			was.present = true
			continue
		case was != nil && was.raw == t.raw && now.Sub(g.edited) < overwritten:
			was.present = true // people took it out in the moment in which another was written
			continue
		}
		if w := p.mayStand(g, id, s, t, was, now); w != "" && wrong == "" {
			wrong = w
		}
		if was != nil {
			t.used, t.byHand = was.used, was.byHand && was.present
		} else {
			p.n.opened++
		}
		g.ours[id] = &t
		g.past = append(g.past, t)
	}
	for id, t := range g.ours {
		if t.present && !present[id] {
			t.present, t.gone = false, now
		}
	}
	if people || wrong != "" {
		return wrong
	}
	return p.keeps(g, list, now)
}

// mayStand answers why a statement of ours may not be written.
func (p *play) mayStand(g *gate, id int, s statement, t trusted, was *trusted, now time.Time) string {
	ask := p.request(id)
	switch {
	case ask == nil:
		return fmt.Sprintf("a access for BG-%d, which nobody asked for", id)
	case s.Effect != "Allow" || s.Action != any("sts:AssumeRole") || t.principal == "":
		return fmt.Sprintf("a the statement of BG-%d is not what was shown: %s", id, s.raw)
	case t.end.IsZero():
		return fmt.Sprintf("b the statement of BG-%d has no end: %s", id, s.raw)
	case p.gates[ask.cell] != g:
		return fmt.Sprintf("a BG-%d was asked for on %s and is opened on %s", id, p.gates[ask.cell].name, g.name)
	case !strings.EqualFold(t.principal, ask.arn) && (was == nil || !was.orphan):
		return fmt.Sprintf("a BG-%d was asked for %s and lets in %s", id, ask.arn, t.principal)
	}
	if was != nil && was.present {
		// Until people are told that it is open, a write that is not seen to have been
		// done (its answer was lost, the power was cut) may be done again. It is held to
		// the same as the first.
		if wrong := p.mayMove(id, ask, t, was, now); wrong == "" || p.announced[id] {
			return wrong
		}
	}
	for _, d := range p.deeds {
		ends := d.grant == id && (d.kind == "deny" || d.kind == "withdraw" || d.kind == "revoke")
		if ends && d.acked && p.stood(d) && p.arrived[g.cell.Role.Name()].After(d.ackedAt.Add(wire)) && now.After(p.staleUntil.Add(time.Minute)) {
			return fmt.Sprintf("a BG-%d is opened, though @%s had ended it at %s (%s)", id, d.who, d.ackedAt.Format("15:04:05"), d.kind)
		}
	}
	long := t.end.Sub(now)
	switch {
	case long > ask.long:
		return fmt.Sprintf("b BG-%d was asked for %s and would last %s", id, ask.long, long)
	case ask.kind == "emergency" && p.w.emergency && (ask.who == ana || ask.who == mia):
	case p.yeses(id, ask, "approve", "", long, now) < p.w.approvals:
		return fmt.Sprintf("a BG-%d is opened for %s with %d of %d approvals", id, long, p.yeses(id, ask, "approve", "", long, now), p.w.approvals)
	}
	if doc, ok := g.cell.Role.InlinePolicy("BreakglassHardStop"); (!ok || !strings.Contains(doc, "Deny")) && now.Sub(g.stopGone) > time.Minute {
		return fmt.Sprintf("b BG-%d is opened without a hard stop", id)
	}
	versions := g.cell.Region.DocumentVersions(prefsDoc)
	if logged := len(versions) > 0 && strings.Contains(versions[len(versions)-1].Content, g.group); !logged && now.Sub(g.logged) > tail {
		return fmt.Sprintf("a BG-%d is opened without logging", id)
	}
	return ""
}

// mayMove answers why the end of a statement may not move.
func (p *play) mayMove(id int, ask *deed, t trusted, was *trusted, now time.Time) string {
	more := t.end.Sub(was.end)
	for _, d := range p.deeds {
		if d.grant != id || d.kind != "approve_extension" || was.used[d.ext] {
			continue
		}
		if more > 0 && p.yeses(id, ask, "approve_extension", d.ext, more, now) >= p.w.approvals {
			was.used[d.ext] = true
			return ""
		}
	}
	return fmt.Sprintf("b the end of BG-%d is moved by %s, and nobody approved that", id, more)
}

// yeses counts the people whose approval counts.
func (p *play) yeses(id int, ask *deed, kind, ext string, long time.Duration, now time.Time) int {
	who := map[string]bool{}
	for _, d := range p.deeds {
		if d.grant != id || d.kind != kind || d.ext != ext || d.long < long || d.at.After(now) || d.who == ask.who {
			continue
		}
		if p.refused(d) && !d.again { // for want of an answer of Slack's, perhaps
			continue
		}
		if kind == "approve_extension" && p.askedMore(id, d.who) {
			continue
		}
		if p.wasApprover(d.who, now.Add(-belief), now) {
			who[d.who] = true
		}
	}
	return len(who)
}

// askedMore reports whether the person is the only one who asked for more time.
func (p *play) askedMore(id int, who string) bool {
	own, others := false, false
	for _, d := range p.deeds {
		if d.grant == id && d.kind == "extend" {
			own, others = own || d.who == who, others || d.who != who
		}
	}
	return own && !others
}

// wasApprover reports whether somebody was an approver at any moment in between.
func (p *play) wasApprover(who string, from, to time.Time) bool {
	is := false
	for _, c := range p.approvers[who] {
		if c.at.After(to) {
			break
		}
		if is && c.at.After(from) {
			return true
		}
		is = c.is
	}
	return is
}

// request is what a grant came of, by its ticket.
func (p *play) request(id int) *deed {
	if d := p.asked[id]; d != nil {
		return d
	}
	g, err := p.db.Grant(grant.ID(id))
	if err != nil {
		return nil
	}
	for _, d := range p.deeds {
		switch {
		case d.ticket != "" && d.ticket == g.Ticket && d.who == string(g.Requester):
			p.asked[id] = d
		case d.kind == "adopt" && g.Ticket == "adopted" && d.who == string(g.Requester) && d.arn == string(g.Principal):
			own := *d
			own.long = adopted
			if own.cell = 0; g.Cell == test {
				own.cell = 1
			}
			p.asked[id] = &own
		}
	}
	return p.asked[id]
}

// keeps answers what of people's statements is not as they left it.
func (p *play) keeps(g *gate, list []statement, now time.Time) string {
	want, _, err := statementsOf(g.foreign())
	if err != nil {
		return "c our own idea of it: " + err.Error()
	}
	var got []statement
	for _, s := range list {
		if oursPattern.FindString(s.Sid) == "" {
			got = append(got, s)
		}
	}
	var left []item
	for _, w := range want {
		it, added := g.item(w.raw)
		switch {
		case len(got) > 0 && got[0].raw == w.raw:
			got = got[1:]
			if added {
				left = append(left, it)
			}
			continue
		case it.sid != "": // one of ours, that somebody put back
			if slices.ContainsFunc(list, func(s statement) bool { return s.raw == w.raw }) {
				left = append(left, it)
			}
			continue
		case it.vendor != "" && p.ends(g, it.vendor), it.orphan:
			g.mended = true // as is promised: a closing takes these out
			continue
		case added && now.Sub(g.edited) < overwritten:
			continue
		}
		return "c a statement that is not ours is lost or changed: " + w.raw
	}
	if len(got) > 0 && now.Sub(g.edited) >= overwritten {
		return "c a statement is there that nobody wrote: " + got[0].raw
	}
	g.items = left
	return ""
}

func (g *gate) item(raw string) (item, bool) {
	for _, it := range g.items {
		if strings.TrimSuffix(strings.TrimSpace(it.text), ",") == raw {
			return it, true
		}
	}
	return item{}, false
}

// ends reports whether a grant for that principal is being ended on the role, or a
// removal of it: then it is taken out wherever it stands.
func (p *play) ends(g *gate, principal string) bool {
	for id := grant.ID(1); ; id++ {
		x, err := p.db.Grant(id)
		if err != nil {
			return false
		}
		if string(x.Cell) == g.name && string(x.Principal) == principal && x.Ending != nil {
			return true
		}
	}
}

// refused reports whether whoever did it was shown that it did not count.
func (p *play) refused(d *deed) bool {
	if strings.Contains(textOf(d.payload), "Reference:") || strings.Contains(d.payload, `"response_action":"errors"`) {
		return true
	}
	if d.trigger == "" {
		return false
	}
	text := p.whispers[d.trigger]
	return strings.Contains(text, "Reference:") || strings.Contains(text, "is revoked yet")
}

// stood reports whether a deed that was acknowledged surely counted: its person saw
// no refusal, and would have.
func (p *play) stood(d *deed) bool {
	if !d.acked || p.refused(d) {
		return false
	}
	words := map[string]string{"ask": "is requested", "emergency": "is opening now", "extend": "Asked for", "revoke": "Revoking", "revoke all": "Revoking"}
	switch {
	case d.payload != "" && d.payload != "null" && strings.Contains(d.payload, `"response_action"`):
		return true // a form that was not refused
	case d.payload != "" && d.payload != "null":
		return strings.Contains(d.payload, words[d.kind]) && words[d.kind] != ""
	case words[d.kind] != "" && d.kind != "revoke":
		return false // it was answered otherwise
	}
	// A button says nothing where all is well. Its refusal comes a moment after the
	// acknowledgement, and may be lost.
	if p.maybeUnheard(d) {
		return false
	}
	return true
}

// maybeUnheard reports whether the refusal of a click may not have reached its
// person, where it need not have reached the store either.
func (p *play) maybeUnheard(d *deed) bool {
	lost := false
	for _, at := range p.cuts {
		lost = lost || !at.Before(d.at) && at.Sub(d.ackedAt) < 15*time.Second
	}
	ill := false
	for _, bad := range p.slackBad {
		ill = ill || d.at.After(bad[0].Add(-time.Minute)) && d.at.Before(bad[1].Add(time.Minute))
	}
	plain := !d.forged && d.kind != "revoke" && p.wasApprover(d.who, d.at, d.at) && p.wasApprover(d.who, d.at.Add(-time.Minute), d.at.Add(-time.Minute))
	return ill || lost && !plain
}

// gaze looks at what has changed in Slack. It may be called by the bot itself, in
// the moment in which it changed something.
func (p *play) gaze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.mistake()
	changes := p.slack.Changes(p.looked)
	p.looked += len(changes)
	for _, c := range changes {
		m := c.Message
		if m.Ephemeral && m.Trigger != "" {
			p.whispers[m.Trigger] += p.slack.Render(m)
		}
		if m.Channel != channel || m.Ephemeral || m.User == "" {
			continue
		}
		if m.ThreadTS != "" {
			if c.Kind == slacksim.Posted {
				p.heard(m)
			}
			continue
		}
		title := cardTitle.FindStringSubmatch(m.Text)
		if title == nil {
			continue
		}
		id, _ := strconv.Atoi(title[1])
		switch c.Kind {
		case slacksim.Posted:
			p.cardsOf[id] = append(p.cardsOf[id], m.TS)
			p.standing[id] = append(p.standing[id], m.TS)
		case slacksim.Deleted:
			p.torn[id] = true
			p.standing[id] = slices.DeleteFunc(p.standing[id], func(ts string) bool { return ts == m.TS })
			continue
		default:
		}
		for _, b := range m.Buttons() {
			if b.Type == "button" {
				p.tokens[beforeColon(b.Value)] = id
				p.buttons[id] = append(p.buttons[id], b)
			}
		}
		switch title[2] {
		case "Open until":
			p.announced[id] = true
		case "Closed":
			p.sawClosed(id, c.At)
		}
	}
}

var cardTitle = regexp.MustCompile(`^BG-([0-9]+) · (Requested|Opening|Open until|Closing|Closed|Denied|Withdrawn|Lapsed)`)

// sawClosed holds the word to what is so at this very moment. The ledger is held.
func (p *play) sawClosed(id int, at time.Time) {
	if _, known := p.closed[id]; known {
		return
	}
	p.closed[id] = at
	p.n.closed++
	wrong := func(format string, args ...any) {
		p.wrongly("h", "the card of BG-%d says Closed, and %s", id, fmt.Sprintf(format, args...))
	}
	for _, g := range p.gates {
		if t := g.ours[id]; t != nil && t.present && !t.byHand {
			wrong("its statement stands")
		}
	}
	for _, v := range p.came {
		if slices.Contains(v.by, id) && !p.explained(v, id, at) && v.shell != nil && !ended(v.shell) {
			wrong("a shell that %s opened under %v at %s lives; %s", v.as, v.by, v.at.Format("15:04:05"), v.g.tells())
		}
	}
}

// tells says how the statements on a role stand, for messages about what went wrong.
func (g *gate) tells() string {
	var b strings.Builder
	for id, t := range g.ours {
		fmt.Fprintf(&b, "BG-%d for %s from %s until %s, there %t, gone %s, by hand %t; ", id, t.principal, t.at.Format("15:04:05"), t.end.Format("15:04:05"), t.present, t.gone.Format("15:04:05"), t.byHand)
	}
	for _, it := range g.items {
		fmt.Fprintf(&b, "people's %s; ", strings.TrimSpace(it.text))
	}
	return b.String()
}

// leftTo reports whether another grant for the same principal has not been proven
// closed yet: the shells of both are its to end.
func (p *play) leftTo(g *gate, id int, principal string) bool {
	for o, t := range g.ours {
		if o != id && t.principal == principal && p.closed[o].IsZero() {
			return true
		}
	}
	return false
}

// explained reports whether somebody's being in goes on under another grant for the
// same principal, or because people let them in.
func (p *play) explained(v *visit, besides int, at time.Time) bool {
	if slices.ContainsFunc(v.g.items, func(it item) bool { return it.vendor == v.as }) {
		return true
	}
	for id, t := range v.g.ours {
		// People may have taken its statement out: it counts as open until its end.
		open := p.closed[id].IsZero() && at.Before(p.over(id, t))
		if id != besides && t.principal == v.as && (open || t.present || at.Sub(t.gone) < time.Minute) {
			return true
		}
	}
	return false
}

// The words by which the reminders of each kind are known.
var reminderWords = map[string][2]string{
	"undecided":  {"has been waiting for", "• Waiting"},
	"unsent":     {"does not know yet that", "• Support does not know yet"},
	"before_end": {" ends in ", "• It ends in "},
	"still_open": {"is still open,", "• Still open,"},
	"unused":     {"Nobody has come in yet. ", "• Nobody has come in yet,"},
	"extend":     {"the question for more time has waited", "• More time?"},
	"review":     {"still owes its review", "• Review owed"},
}

// heard counts the reminders. The ledger is held.
func (p *play) heard(m slacksim.Message) {
	id := 0
	for n, list := range p.cardsOf {
		if slices.Contains(list, m.ThreadTS) {
			id = n
		}
	}
	text := strings.NewReplacer("*", "").Replace(p.slack.Render(m))
	merged := strings.Contains(text, "late, because the bot was away")
	for kind, words := range reminderWords {
		switch {
		case merged && strings.Contains(text, words[1]), !merged && strings.Contains(text, words[0]) && !strings.Contains(text, "Access under"):
			p.reminded[fmt.Sprintf("%d/%s", id, kind)]++
		}
	}
}

// entered notes that SingleStore came in, and holds that to what explains it. It
// answers nil where it is wrong.
func (p *play) entered(g *gate, as string, key awssim.Credentials) *visit {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	v := &visit{g: g, as: as, key: key, at: now}
	for _, it := range g.items {
		v.byHand = v.byHand || it.vendor == as
	}
	var late []string
	for id, t := range g.ours {
		if t.principal != as || (!t.present && now.Sub(t.gone) > time.Minute) {
			continue
		}
		if !now.Before(t.end) {
			late = append(late, fmt.Sprintf("BG-%d ended at %s", id, t.end.Format("15:04:05")))
			continue
		}
		v.by = append(v.by, id)
		v.byHand = v.byHand || t.byHand
	}
	if len(v.by) == 0 && !v.byHand && now.Sub(g.edited) > time.Minute {
		letter := "a"
		if len(late) > 0 {
			letter = "b"
		}
		p.wrongly(letter, "%s may assume the role of %s, and nothing explains it (%s)", as, g.name, strings.Join(late, ", "))
		return nil
	}
	p.came = append(p.came, v)
	return v
}

// check holds everything that must hold after a step.
func (p *play) check() {
	p.gaze()
	for _, g := range p.gates {
		p.tryDoor(g)
	}
	p.mu.Lock()
	for id, list := range p.standing {
		if len(list) > 1 {
			p.wrongly("g", "BG-%d has %d cards\n%s", id, len(list), p.callsToSlack("chat.postMessage", "conversations.history"))
		}
	}
	p.mu.Unlock()
	p.checkDeeds()
	p.checkOver()
}

// callsToSlack lists calls, for messages about what went wrong.
func (p *play) callsToSlack(methods ...string) string {
	var b strings.Builder
	for _, c := range p.slack.Calls("") {
		if slices.Contains(methods, c.Method) {
			fmt.Fprintf(&b, "%s %s: %d %s %.60s %.200s\n", c.At.Format("15:04:05.000"), c.Method, c.Status, c.Error, c.Args["text"], c.Args["metadata"])
		}
	}
	return b.String()
}

// tryDoor tries to come in by every way.
func (p *play) tryDoor(g *gate) {
	doc := g.cell.Role.TrustDocument()
	if !strings.Contains(doc, "Breakglass") && !strings.Contains(doc, "111122223333") && time.Since(g.edited) > time.Minute {
		return // nobody of SingleStore's is in it
	}
	for _, as := range []string{vendor, vendor2} {
		if key, err := p.assume(g.cell, as); err == nil {
			p.entered(g, as, key)
		}
	}
}

// checkDeeds wants in the store what was acknowledged.
func (p *play) checkDeeds() {
	if p.ended == nil || p.power.off.Load() {
		return // the next bot's store will tell
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.deeds {
		if d.checked || !d.acked || d.twin || time.Since(d.ackedAt) > 20*time.Hour {
			continue
		}
		d.checked = true
		if !p.stood(d) {
			continue
		}
		if _, known, err := p.db.Known("envelope/" + d.envelope); !known {
			p.wrongly("e", "what @%s did at %s (%s BG-%d) was acknowledged, and the store does not know it (%v)", d.who, d.at.Format("15:04:05.000"), d.kind, d.grant, err)
		}
	}
}

// over is when the access of a grant should have ended; zero: it may go on.
func (p *play) over(id int, t *trusted) time.Time {
	end := t.end
	for _, d := range p.deeds {
		if d.grant == id && d.kind == "revoke" && p.stood(d) && d.ackedAt.Before(end) {
			end = d.ackedAt
		}
	}
	return end
}

// checkOver wants nothing left of what should have ended some time ago, where
// nothing has kept us from ending it.
func (p *play) checkOver() {
	type suspect struct {
		id int
		v  *visit
	}
	now := time.Now()
	var creds []suspect
	p.mu.Lock()
	well := now.Sub(p.calm) > tail
	for _, g := range p.gates {
		for id, t := range g.ours {
			over := p.over(id, t)
			proven := !p.closed[id].IsZero()
			if t.byHand || now.Before(over) || !proven && (!well || now.Sub(over) <= tail) {
				continue
			}
			if t.present && well {
				p.wrongly("b", "BG-%d was over at %s, and its statement stands", id, over.Format("15:04:05"))
			}
			for _, v := range p.came {
				if v.g != g || v.as != t.principal || len(v.by) == 0 || v.byHand || p.explained(v, id, now) || v.at.After(over) && (!proven || !v.at.Before(p.closed[id])) {
					continue
				}
				if p.leftTo(g, id, v.as) {
					continue
				}
				if v.shell != nil && !ended(v.shell) {
					p.wrongly("b", "BG-%d was over at %s, and a shell of %s from %s lives, opened under %v; %s", id, over.Format("15:04:05"), v.as, v.at.Format("15:04:05"), v.by, g.tells())
				}
				if !p.probed[id] && now.Before(v.key.Expires) {
					creds = append(creds, suspect{id, v})
				}
			}
			p.probed[id] = true
		}
	}
	p.mu.Unlock()
	for _, c := range creds {
		if sh, err := p.shell(c.v.g.cell, c.v.g.region, c.v.key); err == nil {
			sh.Exit()
			p.bad("b", "BG-%d is over, and credentials of %s from %s still work", c.id, c.v.as, c.v.at.Format("15:04:05"))
		}
	}
	for _, g := range p.gates {
		p.checkStop(g, now)
	}
}

// checkStop wants credentials refused once the last end on a role is over, whether
// we are there or not: that is the hard stop's work.
func (p *play) checkStop(g *gate, now time.Time) {
	p.mu.Lock()
	var last time.Time
	for _, t := range g.ours {
		if t.end.After(last) {
			last = t.end
		}
	}
	var keys []*visit
	if !last.IsZero() && now.After(last.Add(stopTail)) && g.stopGone.IsZero() && !g.stopped.Equal(last) {
		g.stopped = last
		for _, v := range p.came {
			if v.g == g && len(v.by) > 0 && !v.byHand && now.Before(v.key.Expires) {
				keys = append(keys, v)
			}
		}
	}
	p.mu.Unlock()
	for _, v := range keys {
		if sh, err := p.shell(g.cell, g.region, v.key); err == nil {
			sh.Exit()
			p.bad("b", "the last end on the role of %s was at %s, and credentials of %s from %s still work", g.name, last.Format("15:04:05"), v.as, v.at.Format("15:04:05"))
		}
	}
}

// finale waits until all is over, and holds the end to what it must be.
func (p *play) finale() {
	p.heal()
	p.reap()
	if p.ended == nil {
		p.boot()
	}
	p.check() // before the keys of the story are forgotten
	for range 150 {
		if p.broken() != "" {
			return
		}
		live, err := p.db.Live()
		if err != nil {
			p.bad("x", "%v", err)
		}
		if len(live) == 0 {
			break
		}
		p.pause(2 * time.Minute)
		p.check()
	}
	// Whatever people let in by hand, they take out again with our help.
	p.pause(13 * time.Minute)
	for range 6 {
		before := len(p.deeds)
		p.stray(p.rob, step{what: "Remove"})
		if len(p.deeds) == before {
			break
		}
		p.pause(8 * time.Minute)
		p.check()
	}
	for _, v := range p.came {
		if v.shell != nil && v.byHand {
			v.shell.Exit()
		}
	}
	p.check()
	if p.broken() == "" {
		p.atTheEnd()
	}
}

// atTheEnd is (d), and what can be counted only now.
func (p *play) atTheEnd() {
	live, err := p.db.Live()
	if err != nil || len(live) > 0 {
		p.bad("d", "%d grants have not ended (%v): %v\n%s", len(live), err, phasesOf(live), p.wall())
		return
	}
	for _, g := range p.gates {
		doc := g.cell.Role.TrustDocument()
		list, _, err := statementsOf(doc)
		if err != nil {
			p.bad("c", "%v", err)
			continue
		}
		for _, s := range list {
			if oursPattern.MatchString(s.Sid) || strings.Contains(s.raw, "111122223333") || strings.Contains(s.raw, "AROA") && !strings.Contains(s.raw, "LEAVER") {
				p.bad("d", "the trust policy of %s still has %s", g.name, s.raw)
			}
		}
		p.mu.Lock()
		wrong := p.keeps(g, list, time.Now())
		want, mended := g.foreign(), g.mended
		p.mu.Unlock()
		if wrong != "" {
			p.bad("c", "%s", wrong[2:])
		} else if doc != want && !mended {
			p.bad("c", "the trust policy of %s has other bytes:\n%s\nwant:\n%s", g.name, doc, want)
		}
		for _, x := range g.cell.Region.Sessions() {
			if x.Status != "Terminated" {
				p.bad("d", "the session %s on %s is %s", x.ID, g.name, x.Status)
			}
		}
		for _, as := range []string{vendor, vendor2} {
			if _, err := p.assume(g.cell, as); err == nil {
				p.bad("d", "%s may assume the role of %s", as, g.name)
			}
		}
	}
	for _, v := range p.came {
		if len(v.by) == 0 {
			continue // people let them in, and took that back: see to it themselves
		}
		if _, err := p.shell(v.g.cell, v.g.region, v.key); err == nil {
			p.bad("d", "credentials of %s from %s still work", v.as, v.at.Format("15:04:05"))
		}
	}
	if err := p.db.Verify(); err != nil {
		p.bad("f", "%v", err)
	}
	p.checkCards()
	p.checkLog()
}

func phasesOf(live []grant.Grant) string {
	var out []string
	for _, g := range live {
		out = append(out, fmt.Sprintf("%s is %s", g.ID, g.Phase))
	}
	return strings.Join(out, ", ")
}

// checkCards wants the last word on each card to be what became of it.
func (p *play) checkCards() {
	for id := grant.ID(1); ; id++ {
		g, err := p.db.Grant(id)
		if _, none := errors.AsType[*grant.Refusal](err); none {
			return
		}
		cards := p.cards(id.String())
		if err == nil && len(cards) == 0 && p.torn[int(id)] {
			continue // a card that was deleted when all was over comes back at the next change
		}
		if err != nil || len(cards) != 1 {
			p.bad("g", "%s has %d cards (%v)\n%s", id, len(cards), err, p.wall())
			return
		}
		if want := string(g.Phase[0]-'a'+'A') + string(g.Phase[1:]); !strings.HasPrefix(cards[0].Text, id.String()+" · "+want) {
			p.bad("h", "%s is %s, and its card says %s", id, g.Phase, cards[0].Text)
		}
	}
}

// checkLog counts in the audit log: everything happened once.
func (p *play) checkLog() {
	type act struct {
		who  string
		kind grant.Kind
		id   grant.ID
	}
	acts, reminders, tickets := map[act]int{}, map[string]int{}, map[string]int{}
	extended := map[grant.ID]int{}
	for e, err := range p.db.Entries(1) {
		if err != nil {
			p.bad("f", "%v", err)
			return
		}
		p.n.entries++
		var detail struct {
			Event  grant.Kind
			Name   string
			Ticket string
		}
		_ = json.Unmarshal(e.Detail, &detail) // what is not there is empty
		kind := e.Kind
		if kind == store.KindRefused {
			kind = detail.Event
		}
		switch {
		case e.Actor.Kind == grant.Person:
			acts[act{string(e.Actor.User), kind, e.Grant}]++
			if detail.Ticket != "" && detail.Ticket != "adopted" {
				tickets[detail.Ticket]++
			}
		case kind == grant.KindReminderDue:
			name, _, _ := strings.Cut(detail.Name, ":")
			reminders[fmt.Sprintf("%d/%s", e.Grant, name)]++
			reminders[fmt.Sprintf("%d/%s!", e.Grant, detail.Name)]++
		case kind == grant.KindExtendDone:
			extended[e.Grant]++
		}
	}
	for ticket, n := range tickets {
		if n > 1 {
			p.bad("e", "ticket %s was asked for once, and %d grants came of it", ticket, n)
		}
	}
	for a, n := range acts {
		did := 0
		for _, d := range p.deeds {
			if d.who == a.who && (d.kind == string(a.kind) && d.grant == int(a.id) || d.kind == "revoke all" && a.kind == grant.KindRevoke) {
				did++
			}
		}
		switch a.kind {
		case grant.KindApprove, grant.KindDeny, grant.KindWithdraw, grant.KindRevoke, grant.KindMarkSent, grant.KindExtend, grant.KindSign, grant.KindApproveExtension, grant.KindDenyExtension:
			if n > did {
				p.bad("e", "@%s did %s on %s %d times, and the log has it %d times", a.who, a.kind, a.id, did, n)
			}
		default: // requests are counted by their tickets
		}
	}
	for name, n := range p.reminded {
		if n > reminders[name] {
			p.bad("g", "the reminder %s was due %d times and was posted %d times\n%s", name, reminders[name], n, p.wall())
		}
	}
	for name, n := range reminders {
		word, once := strings.CutSuffix(name, "!")
		id, _ := strconv.Atoi(word[:strings.IndexByte(word, '/')])
		most := 1
		if strings.Contains(word, "before_end") {
			most += extended[grant.ID(id)]
		}
		if once && n > most && (strings.Contains(word, "before_end") || strings.Contains(word, "unsent") || strings.Contains(word, "unused")) {
			p.bad("g", "the reminder %s was given %d times, want %d at most", word, n, most)
		}
	}
}
