package grant

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// SurveyEvery is how often the role of a cell is looked at, whether anything
	// is open there or not.
	SurveyEvery = 5 * time.Minute
	// SurveyAgain is how soon a look is repeated that found something new: what
	// IAM shows may be a minute old, and a grant may just be opening or closing.
	SurveyAgain = time.Minute
)

// Trust is one principal of one Allow statement in a role's trust policy.
type Trust struct {
	Sid       string    `json:"sid,omitempty"`
	Principal string    `json:"principal"`
	ID        ID        `json:"id,omitempty"` // of the grant, where the Sid is one of ours
	End       time.Time `json:"end,omitzero"` // as the statement says; zero: without one
}

// Survey is what a look at the role of one cell has shown.
type Survey struct {
	RoleARN  string `json:"role_arn,omitempty"`
	RoleName string `json:"role_name,omitempty"`
	// Trust is every trust that is ours or that names one of SingleStore's
	// accounts, whether a grant explains it or not.
	Trust []Trust `json:"trust,omitempty"`
	// Sure says that nothing of ours can be opening or closing there, so that one
	// look is enough: the store says so at the first look with an empty database.
	Sure bool `json:"-"`
	// Trouble says why the role could not be looked at, and then the rest is
	// empty. Of kind Refused it is told; anything else may pass by itself.
	Trouble *Trouble `json:"trouble,omitempty"`
}

// Stray is trust that no grant explains.
type Stray struct {
	Trust
	// Token is the opaque id that the buttons of its message carry.
	Token    string    `json:"token"`
	RoleARN  string    `json:"role_arn"`
	RoleName string    `json:"role_name"`
	Seen     time.Time `json:"seen"`          // for the first time
	Told     time.Time `json:"told,omitzero"` // it was seen twice and is owed a message
	Gone     time.Time `json:"gone,omitzero"` // a look did not find it any more
	// By is the grant that the last look found behind it, after it was told; 0:
	// none. As long as there is one the trust is neither gone nor news.
	By   ID   `json:"by,omitempty"`
	Card Card `json:"card,omitzero"` // its message
}

// key tells strays apart.
func (t Trust) key() string { return t.Sid + "\x00" + strings.ToLower(t.Principal) }

// Guard is what is remembered about one cell beside its grants: trust that no
// grant explains. Times are UTC.
type Guard struct {
	Cell CellName `json:"cell"`
	// At is when the role could be looked at last; zero: never.
	At     time.Time `json:"at,omitzero"`
	Strays []Stray   `json:"strays,omitempty"`
	// Beyond is how many strays the last look found that found no room here.
	Beyond int `json:"beyond,omitempty"`
	// Blind is why nothing can be seen since BlindAt, in words; empty: it can.
	Blind   *Trouble  `json:"blind,omitempty"`
	BlindAt time.Time `json:"blind_at,omitzero"`
	// BlindTold counts the messages about it, so that each has its own name.
	BlindTold int `json:"blind_told,omitempty"`
}

const (
	// mostStrays is how many a cell remembers: a trust policy holds few thousand
	// characters, so more is a flood.
	mostStrays = 40
	// keepGone is how long a stray that has gone is remembered, for its message.
	keepGone = 7 * 24 * time.Hour
)

// SayBlind is the message that a cell cannot be looked at (Arg of DoStray is
// the cell, a slash, and this with a number, or a stray's token).
const SayBlind = "blind"

// StrayArg is the Arg of the [DoStray] effect for the message of a cell.
func StrayArg(cell CellName, what string) string { return string(cell) + "/" + what }

// ParseStrayArg reads a [StrayArg]. Names of cells have no slash in them.
func ParseStrayArg(arg string) (cell CellName, what string, ok bool) {
	c, what, ok := strings.Cut(arg, "/")
	return CellName(c), what, ok && c != "" && what != ""
}

// Survey takes in a look at the cell's role: each stray is told once, when two
// looks have found it (one, where that is [Survey.Sure]), and again only when it
// was gone in between. live are the
// grants that have not ended, as they are now; others what is remembered of the
// other cells, which may share the role; token makes a fresh opaque id. What is
// owed is owed for no grant.
func (g Guard) Survey(s Survey, live []Grant, others []Guard, token func() string, now time.Time) (Guard, []Effect) {
	now = now.UTC()
	g.Strays = slices.Clone(g.Strays)
	next := Effect{Kind: DoSurvey, Arg: string(g.Cell), Due: now.Add(SurveyEvery)}
	if s.Trouble != nil {
		return g.blind(*s.Trouble, next, now)
	}
	var effects []Effect
	if g.Blind != nil {
		g.Blind, g.BlindAt = nil, time.Time{}
	}
	g.At = now
	sooner := func(at time.Time) {
		if at.Before(next.Due) {
			next.Due = at
		}
	}
	found := map[string]bool{}
	beyond := 0
	for _, t := range tidyTrust(s.Trust) {
		i := slices.IndexFunc(g.Strays, func(o Stray) bool {
			return o.Gone.IsZero() && o.RoleARN == s.RoleARN && o.key() == t.key()
		})
		if by := explainer(t, s.RoleARN, live); by != 0 {
			if i < 0 || !g.Strays[i].toldEver() {
				continue
			}
			found[t.key()] = true
			x := &g.Strays[i]
			x.Trust = t
			if x.By != by {
				x.By = by
				effects = append(effects, g.strayMessage(*x, now))
			}
			continue
		}
		if toldElsewhere(t, s.RoleARN, others) {
			continue
		}
		found[t.key()] = true
		switch {
		case i < 0 && g.standing() >= mostStrays:
			beyond++
		case i < 0:
			x := Stray{Trust: t, Token: token(), RoleARN: s.RoleARN, RoleName: s.RoleName, Seen: now}
			if s.Sure {
				x.Told = now
				effects = append(effects, g.strayMessage(x, now))
			} else {
				sooner(now.Add(SurveyAgain))
			}
			g.Strays = append(g.Strays, x)
		default:
			x := &g.Strays[i]
			changed := !x.End.Equal(t.End)
			x.Trust = t
			if x.By != 0 {
				// The grant behind it has ended, and it stands: that is news again.
				x.By, x.Told, x.Seen = 0, time.Time{}, now
			}
			if x.Told.IsZero() && now.Before(x.Seen) {
				x.Seen = now // the clock was set back
			}
			switch {
			case x.Told.IsZero() && now.Before(x.Seen.Add(SurveyAgain)):
				sooner(x.Seen.Add(SurveyAgain))
			case x.Told.IsZero():
				x.Told = now
				x.Card = Card{} // an older message would be edited, and nobody would notice
				effects = append(effects, g.strayMessage(*x, now))
			case changed:
				effects = append(effects, g.strayMessage(*x, now))
			}
		}
	}
	kept := g.Strays[:0]
	for _, x := range g.Strays {
		switch {
		case !x.Gone.IsZero() && now.Sub(x.Gone) > keepGone:
			continue
		case !x.Gone.IsZero() || x.RoleARN == s.RoleARN && found[x.key()]:
		case !x.toldEver():
			continue // it was only passing
		default:
			x.Gone, x.By = now, 0
			effects = append(effects, g.strayMessage(x, now))
		}
		kept = append(kept, x)
	}
	g.Strays = forgetful(kept)
	if g.Beyond != beyond {
		g.Beyond = beyond
		if x, ok := g.spokesman(); ok {
			effects = append(effects, g.strayMessage(x, now))
		}
	}
	return g, append(effects, next)
}

// tidyTrust makes trust safe to keep and names none twice. Of two statements for
// one principal the one that lets it in for longer counts.
func tidyTrust(list []Trust) []Trust {
	var out []Trust
	for _, t := range list {
		t = Trust{Sid: Clean(t.Sid, 128), Principal: Clean(t.Principal, 600), ID: t.ID, End: t.End.UTC()}
		if t.End.Equal(time.Time{}) {
			t.End = time.Time{}
		}
		i := slices.IndexFunc(out, func(o Trust) bool { return o.key() == t.key() })
		switch {
		case i < 0:
			out = append(out, t)
		case t.End.IsZero() || !out[i].End.IsZero() && t.End.After(out[i].End):
			out[i].End = t.End
		}
	}
	return out
}

// toldEver reports whether people have been told of it, perhaps before a grant
// stood behind it.
func (x Stray) toldEver() bool { return !x.Told.IsZero() || x.Card.TS != "" }

// forgetful drops the strays that went first, where there are too many: whoever
// may write the trust policy can make as many come and go as there is time.
func forgetful(list []Stray) []Stray {
	for {
		first, gone := -1, 0
		for i, x := range list {
			if x.Gone.IsZero() {
				continue
			}
			if gone++; first < 0 || x.Gone.Before(list[first].Gone) {
				first = i
			}
		}
		if gone <= mostStrays {
			return list
		}
		list = slices.Delete(list, first, first+1)
	}
}

// standing counts the strays that are there.
func (g Guard) standing() int {
	n := 0
	for _, x := range g.Strays {
		if x.Gone.IsZero() {
			n++
		}
	}
	return n
}

// spokesman is the stray in whose message stands how many there are beyond those
// that are followed one by one: the last that people were told of.
func (g Guard) spokesman() (Stray, bool) {
	for _, x := range slices.Backward(g.Strays) {
		if x.Gone.IsZero() && !x.Told.IsZero() {
			return x, true
		}
	}
	return Stray{}, false
}

// Unlisted is how many strays beyond its own the message of that stray must tell of.
func (g Guard) Unlisted(token string) int {
	if x, ok := g.spokesman(); ok && x.Token == token {
		return g.Beyond
	}
	return 0
}

func (g Guard) strayMessage(x Stray, now time.Time) Effect {
	return Effect{Kind: DoStray, Arg: StrayArg(g.Cell, x.Token), Due: now}
}

// blind takes in that nothing could be seen. Only what a person must mend is
// told, once two looks in a row have found it, and again only when it changes.
func (g Guard) blind(t Trouble, next Effect, now time.Time) (Guard, []Effect) {
	t.Cause = nil
	next.Due = now.Add(SurveyAgain)
	if t.Kind != Refused {
		return g, []Effect{next}
	}
	same := g.Blind != nil && g.Blind.Text == t.Text
	if now.Before(g.BlindAt) {
		g.BlindAt = now // the clock was set back
	}
	switch {
	case !same:
		g.Blind, g.BlindAt = &t, now
		return g, []Effect{next}
	case !g.BlindAt.IsZero() && !now.Before(g.BlindAt.Add(SurveyAgain)):
		g.BlindAt = time.Time{} // told
		g.BlindTold++
		next.Due = now.Add(SurveyEvery)
		return g, []Effect{{Kind: DoStray, Arg: StrayArg(g.Cell, fmt.Sprintf("%s:%d", SayBlind, g.BlindTold)), Due: now}, next}
	case g.BlindAt.IsZero():
		next.Due = now.Add(SurveyEvery)
		return g, []Effect{next}
	default:
		next.Due = g.BlindAt.Add(SurveyAgain)
		return g, []Effect{next}
	}
}

// explainer is the grant that may have access and stands behind a trust; 0: none.
// Ours is its own grant's alone, anybody else's is explained by a grant for the
// same principal, whose closing takes it out.
func explainer(t Trust, roleARN string, live []Grant) ID {
	for _, l := range live {
		switch {
		case !l.Live() || !l.onRole(roleARN):
		case t.ID != 0 && (l.ID == t.ID || l.Takes == t.ID):
			return l.ID
		case t.ID == 0 && strings.EqualFold(string(l.Principal), t.Principal):
			return l.ID
		}
	}
	return 0
}

// toldElsewhere reports whether another cell, with the same role, was told of the
// stray already.
func toldElsewhere(t Trust, roleARN string, others []Guard) bool {
	return slices.ContainsFunc(others, func(o Guard) bool {
		return slices.ContainsFunc(o.Strays, func(x Stray) bool {
			return !x.Told.IsZero() && x.Gone.IsZero() && x.RoleARN == roleARN && x.key() == t.key()
		})
	})
}

// Stray finds a stray by its token.
func (g Guard) Stray(token string) (Stray, bool) {
	for _, x := range g.Strays {
		if token != "" && x.Token == token {
			return x, true
		}
	}
	return Stray{}, false
}

// Posted notes where a stray's message stands.
func (g Guard) Posted(token string, card Card) Guard {
	g.Strays = slices.Clone(g.Strays)
	for i := range g.Strays {
		if g.Strays[i].Token == token {
			g.Strays[i].Card = card
		}
	}
	return g
}

// Answers reports the grant by which somebody is dealing with the stray already:
// one that asks to adopt it, one that takes it away, one that explains it.
// What is under way comes before what is only asked for.
func (x Stray) Answers(live []Grant) (by Grant, ok bool) {
	for _, l := range live {
		switch {
		case l.Phase.Terminal():
		case x.Token != "" && l.Stray == x.Token && l.Phase == Requested:
			by, ok = l, true
		case x.Token != "" && l.Stray == x.Token, explainer(x.Trust, x.RoleARN, []Grant{l}) != 0:
			return l, true
		}
	}
	return by, ok
}

// Adoptable reports whether the stray's principal is one that a grant could be
// for.
func (p Policy) Adoptable(cell CellName, x Stray) bool {
	c, ok := p.Cell(cell)
	_, err := p.Vendor.principal(x.Principal, c, ok)
	return ok && err == nil
}

// Adopt makes the request that puts a stray under the bot's care: from its
// approval on it has an end like any other access, and revoking takes it out.
func (p Policy) Adopt(by Actor, cell CellName, x Stray, token string) (Request, error) {
	if !x.Gone.IsZero() {
		return Request{}, strayGone(x)
	}
	if !p.Adoptable(cell, x) {
		return Request{}, Refuse(BadPrincipal, "%s is not a SingleStore role that access can be granted to here, so it cannot be adopted. Nothing changed. Press Remove, or correct the trust policy of %s by hand.", Clean(x.Principal, 200), x.RoleName)
	}
	d := p.Limits.Default
	if d <= 0 {
		d = p.Limits.Max
	}
	r, err := p.Request(by, Ask{
		Cell: string(cell), ARN: x.Principal, Ticket: "adopted", For: d.String(),
		Reason: fmt.Sprintf("Adopted: %s of the trust policy of %s lets it in, and no grant explains that.", x.where(), x.RoleName),
	}, token)
	if err != nil {
		return Request{}, err
	}
	r.Stray, r.Takes = x.Token, x.ID
	return r, nil
}

// Removal makes the event that takes a stray away, with the same proof as the
// end of any access.
func (p Policy) Removal(by Actor, cell CellName, x Stray, token string) (Remove, error) {
	c, ok := p.Cell(cell)
	switch {
	case !x.Gone.IsZero():
		return Remove{}, strayGone(x)
	case !ok:
		return Remove{}, Refuse(UnknownCell, "The cell %s is not in the bot's configuration any more. Nothing changed. Let the operator put it back, or correct the trust policy of %s by hand.", cell, x.RoleName)
	}
	return Remove{
		By: by, Token: token, Cell: c.Name, Account: c.Account, Region: c.Region,
		Stray: x, Terms: p.terms(c),
	}, nil
}

func strayGone(x Stray) error {
	return Refuse(WrongPhase, "That trust has gone from %s already, since %s. Nothing changed, and nothing is left to do.", x.RoleName, x.Gone.Format("2006-01-02 15:04 UTC"))
}

// Idle reports whether the stray let nobody in when it was told of: its
// statement had ended, or whom it names is deleted.
func (x Stray) Idle() bool {
	return !x.End.IsZero() && x.End.Before(x.Told) || Deleted(x.Principal)
}

// Deleted reports whether a principal is the unique id that AWS shows in a trust
// policy for a role or user that has been deleted (IAM User Guide, "IAM
// identifiers", Unique identifiers).
func Deleted(principal string) bool {
	return strings.HasPrefix(principal, "AROA") || strings.HasPrefix(principal, "AIDA")
}

// where names the statement for people.
func (x Stray) where() string {
	if x.Sid != "" {
		return "statement " + x.Sid
	}
	return "a statement without a Sid"
}

// Remove begins a grant that only ends: trust that no grant explains is taken
// away and proven gone.
type Remove struct {
	By      Actor
	Token   string
	Cell    CellName
	Account AccountID
	Region  string
	Stray   Stray
	Terms   Terms
}

// Kind and Actor make it an [Event].
func (Remove) Kind() Kind { return KindRemove }

// Actor is who had the trust taken away.
func (e Remove) Actor() Actor { return e.By }

func (g *Grant) remove(e Remove, now time.Time) ([]Effect, error) {
	switch {
	case e.By.Kind == Operator:
	case e.By.Kind == Person && e.By.User != "" && (e.By.Approver || e.By.Revoker):
	default:
		return nil, Refuse(NotAllowed, "You may not remove trust: only the approvers and the revokers may. Nothing changed. Ask one of them now.")
	}
	x := e.Stray
	*g = Grant{
		ID: g.ID, Token: e.Token, Cell: e.Cell, Account: e.Account, Region: e.Region,
		Principal: RoleARN(x.Principal), Requester: e.By.User, Terms: e.Terms, RequestedAt: now,
		Stray: x.Token, Takes: x.ID, Removal: true,
		Reason: fmt.Sprintf("No grant explains %s of the trust policy of %s.", x.where(), x.RoleName),
		Report: &Report{At: now, RoleARN: x.RoleARN, RoleName: x.RoleName},
		// Whoever was let in may have credentials and a shell.
		Touched: true,
	}
	g.tell(now, e.By, "had trust taken away that no grant explains: %s in %s", x.Principal, x.where())
	effects := g.close(e.By, "revoked by "+mention(e.By)+": no grant explains it", now)
	return append(effects, Effect{Kind: DoStray, Arg: StrayArg(g.Cell, g.Stray), Due: now}), nil
}

// AnswersStray reports whether the event begins a grant that deals with a stray.
func AnswersStray(ev Event) bool { return strayOf(ev) != "" }

func strayOf(ev Event) string {
	switch e := ev.(type) {
	case Request:
		return e.Stray
	case Remove:
		return e.Stray.Token
	default:
		return ""
	}
}

// Alone refuses a second answer to the same stray: it is for the moment at which
// the event is committed. live are the grants that have not ended.
func Alone(ev Event, live []Grant) error {
	token := strayOf(ev)
	if token == "" {
		return nil
	}
	for _, l := range live {
		if l.Stray != token {
			continue
		}
		if _, adopts := ev.(Request); !adopts && l.Phase == Requested {
			continue // removing is stronger than a request that nobody has decided
		}
		return Refuse(WrongPhase, "%s deals with that already, since %s: %s pressed first. Nothing changed. `/breakglass show %s` tells how far it is.", l.ID, l.RequestedAt.Format("15:04 UTC"), l.starter(), l.ID)
	}
	return nil
}

// StillThere refuses the approval of a grant whose stray has gone: to open access
// that nobody has any more is another decision than to put an end to access that
// somebody has. It is for the moment at which the event is committed. guards are what
// is remembered of the cells; others are the grants that have not ended, and those
// that have since the grant was asked for.
func StillThere(g Grant, guards []Guard, others []Grant) error {
	if g.Stray == "" || g.Removal {
		return nil
	}
	gone := func(how string) error {
		return Refuse(WrongPhase, "The trust that %s was to adopt is not there any more: %s. Nothing was opened, and nothing changed. Deny %s; for new access there is `/breakglass grant`.", g.ID, how, g.ID)
	}
	for _, o := range others {
		if o.Removal && o.Stray == g.Stray {
			return gone(fmt.Sprintf("%s had it removed, as %s", o.starter(), o.ID))
		}
	}
	for _, guard := range guards {
		switch x, ok := guard.Stray(g.Stray); {
		case ok && x.Gone.IsZero():
			return nil
		case ok:
			return gone(fmt.Sprintf("it has gone from %s since %s", x.RoleName, x.Gone.Format("2006-01-02 15:04 UTC")))
		}
	}
	return gone("it is not remembered")
}

// starter names who began the grant, for people.
func (g Grant) starter() string {
	if g.Removal && g.Ending != nil {
		return mention(g.Ending.By)
	}
	return mention(Actor{Kind: Person, User: g.Requester})
}
