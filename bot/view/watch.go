package view

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakglass/store/grant"
)

// consoles are the domains of the AWS console in each partition.
var consoles = map[string]string{
	"aws":        "console.aws.amazon.com",
	"aws-us-gov": "console.amazonaws-us-gov.com",
	"aws-cn":     "console.amazonaws.cn",
}

// logURL is where the console shows a log stream; empty where there is no such
// address. The console wants names percent-encoded twice, with $ for % (no
// documentation says so; its own links do). What is encoded so holds nothing
// that could end the address or be taken for markup.
func logURL(region, group, stream string) string {
	if !regionPattern.MatchString(region) || group == "" || stream == "" {
		return ""
	}
	url := fmt.Sprintf(
		"https://%s.%s/cloudwatch/home?region=%s#logsV2:log-groups/log-group/%s/log-events/%s",
		region, consoles[grant.PartitionOf(region)], region, consoleName(group), consoleName(stream),
	)
	if len(url) > maxURL {
		return ""
	}
	return url
}

func consoleName(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "$25%02X", c)
		}
	}
	return b.String()
}

// logLink leads to a session's log, or names its place where there is no link. The
// log stream of a session has the session's id for its name.
func logLink(g grant.Grant, id string) span {
	group := ""
	switch {
	case g.Access != nil:
		group = g.Access.LogGroup
	case g.Report != nil:
		group = g.Report.LogGroup
	}
	if url := logURL(g.Region, group, id); url != "" {
		return span{kind: link, text: "log in CloudWatch", url: url}
	}
	return say("log stream of that name in " + tidy(group, 512))
}

// who is the short name of a session's owner: of an assumed role, the name that
// the person gave.
func who(s grant.Session) span {
	owner := s.Owner
	if i := strings.LastIndexByte(owner, '/'); i >= 0 && strings.Contains(owner, ":assumed-role/") {
		owner = owner[i+1:]
	}
	if owner = tidy(owner, 80); owner == "" {
		return say("somebody unnamed")
	}
	return code(owner)
}

func onto(s grant.Session) line {
	if s.Target == "" {
		return nil
	}
	return ln(" on ", typedCode(s.Target, 40))
}

func visitOf(g grant.Grant, id string) (grant.Visit, bool) {
	if g.Watch == nil {
		return grant.Visit{}, false
	}
	for _, v := range g.Watch.Visits {
		if v.Session.ID == id {
			return v, true
		}
	}
	return grant.Visit{}, false
}

// canRevoke reports whether Revoke now does something.
func canRevoke(g grant.Grant, now time.Time) bool {
	return g.Phase == grant.Open && now.Before(g.End)
}

// sessionFacts is what is known about one session.
func (p *page) sessionFacts(g grant.Grant, v grant.Visit) {
	log := ln(bold("Log:"), " ", logLink(g, v.Session.ID))
	switch {
	case v.NeverLogged:
		log = nil
	case v.Gone.IsZero():
		log = append(log, say(". It begins with the first output."))
	}
	p.para(
		fact("Owner", typedCode(v.Session.Owner, 300)),
		fact("Session", typedCode(v.Session.ID, 128)),
		fact("Kind", typedCode(v.Session.Document, 128)),
		log,
	)
}

func (p *page) sayCame(id string, g grant.Grant) bool {
	v, ok := visitOf(g, id)
	if !ok {
		return false
	}
	what := ": a session has started,"
	if !v.Back.IsZero() {
		what = ": a session is live again,"
		if !v.Gone.IsZero() {
			what = ": a session was live again,"
		}
	}
	l := ln(bold(g.ID.String()+" on "+cell(g)+what), " of ", who(v.Session), onto(v.Session), ", since ", when(v.Since()))
	if !v.Gone.IsZero() {
		l = append(l, say(" and until "), when(v.Gone))
	}
	p.lead(append(l, say(".")))
	p.sessionFacts(g, v)
	return true
}

func (p *page) sayLeft(id string, g grant.Grant, now time.Time) bool {
	v, ok := visitOf(g, id)
	if !ok || v.Gone.IsZero() {
		return false
	}
	p.lead(ln(
		bold(g.ID.String()+" on "+cell(g)+": a session has ended,"), " of ", who(v.Session), onto(v.Session), ", after "+about(max(v.Gone.Sub(v.Since()), 0))+", at ", when(v.Gone), ".",
	))
	p.sessionFacts(g, v)
	if live, _ := g.Watch.Count(); live == 0 && canRevoke(g, now) {
		p.para(ln("No session is live now. Is Support done? Then press Revoke now on the card."))
	}
	return true
}

// sayUnlogged tells of a session that leaves no log, or never will.
func (p *page) sayUnlogged(kind, id string, g grant.Grant, people People, now time.Time) bool {
	v, ok := visitOf(g, id)
	if !ok {
		return false
	}
	what, more := ": a session is not logged.", "What is typed there is not recorded while that lasts. If nothing has been printed in it yet, its log may still begin."
	if kind == grant.SayNeverLogged {
		what, more = ": a session goes past the log.", "Port forwarding and SSH are never logged: nothing of what passes through it is recorded."
	}
	l := ln(people.mentions(g.Requester), user(g.Requester), " ", bold(g.ID.String()+" on "+cell(g)+what), " It is of ", who(v.Session), onto(v.Session), ", since ", when(v.Since()))
	if !v.Gone.IsZero() {
		l = append(l, say(", and has ended at "), when(v.Gone))
	}
	p.lead(append(l, say(".")), ln(more))
	p.sessionFacts(g, v)
	if canRevoke(g, now) {
		p.para(ln("Not what was agreed? Press Revoke now: it ends all access under " + g.ID.String() + ", this session too. Otherwise ask Support what it is for."))
		p.press(p.revokeButton(g, "Revoke now"))
	}
	return true
}

func (p *page) saySessions(g grant.Grant, now time.Time) bool {
	live, ended := g.Watch.Count()
	if live+ended == 0 {
		return false
	}
	p.lead(
		ln(user(g.Requester), " ", bold(g.ID.String()+" on "+cell(g)+": many sessions at once."), fmt.Sprintf(" %d are live, %d have ended.", live, ended)),
		ln("They are too many to be told one by one: ", code(showCommand(g))),
	)
	if canRevoke(g, now) {
		p.press(p.revokeButton(g, "Revoke now"))
	}
	return true
}

func (p *page) sayDrift(arg string, g grant.Grant, people People, now time.Time) bool {
	i := strings.LastIndexByte(arg, ':')
	if i < 0 || g.Watch == nil || !canRevoke(g, now) {
		return false
	}
	d, ok := g.Watch.Drift[arg[:i]]
	if !ok || strconv.Itoa(d.Told) != arg[i+1:] {
		return false // it was put back, or is told anew
	}
	p.lead(
		ln(people.mentions(g.Requester), user(g.Requester), " ", bold(g.ID.String()+" on "+cell(g)+" is not as it was opened."), " Seen ", when(d.Since), ": ", typed(d.Text, 4*cardNote)),
	)
	p.para(
		ln("Was it meant so? Then there is nothing to do. Otherwise press Revoke now, and ask for new access; who changed it is in CloudTrail."),
		ln("If it is put back, nothing more is said about it; ", code(showCommand(g)), " keeps both."),
	)
	p.press(p.revokeButton(g, "Revoke now"))
	return true
}

func (p *page) sayAssumed(arg string, g grant.Grant) bool {
	if g.Watch == nil {
		return false
	}
	var fresh []grant.Assumed
	for _, a := range g.Watch.Assumed {
		if strconv.Itoa(a.Told) == arg {
			fresh = append(fresh, a)
		}
	}
	times := "The role was assumed once."
	if n := len(fresh); n != 1 {
		times = fmt.Sprintf("The role was assumed %d times.", n)
	}
	if len(fresh) == 0 {
		if !g.Watch.AssumedMore {
			return false
		}
		times = fmt.Sprintf("The role was assumed more than %d times; CloudTrail has the rest.", len(g.Watch.Assumed))
	}
	p.lead(ln(bold(g.ID.String()+" on "+cell(g)+", from CloudTrail:"), " "+times))
	p.assumed("", fresh, 10)
	p.para(blind())
	return true
}

// blind is what CloudTrail cannot show.
func blind() line {
	return ln("CloudTrail is minutes late, and does not show attempts that were refused.")
}

func (p *page) assumed(title string, list []grant.Assumed, most int) {
	p.para(assumedLines(title, list, most)...)
}

func assumedLines(title string, list []grant.Assumed, most int) []line {
	var lines []line
	if title != "" && len(list) > 0 {
		lines = append(lines, ln(bold(title)))
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b grant.Assumed) int { return a.At.Compare(b.At) })
	for i, a := range list {
		if i == most {
			lines = append(lines, ln(fmt.Sprintf("and %d more", len(list)-i)))
			break
		}
		l := ln("• ", exact(a.At))
		for _, f := range []struct {
			name, value string
			most        int
		}{{", as ", a.Session, 80}, {", by ", a.By, 200}, {", from ", a.From, 60}} {
			if s := typedCode(f.value, f.most); s.text != "" {
				l = append(l, say(f.name), s)
			}
		}
		lines = append(lines, l)
	}
	return lines
}

func instanceOf(g grant.Grant) line {
	if l := instance(g); l != nil {
		return append(ln(" on"), l...)
	}
	return nil
}

// sessionsLine is the card's one line about who is in. Nothing in it grows old.
func sessionsLine(g grant.Grant) line {
	if g.Watch == nil {
		return nil
	}
	live, ended := g.Watch.Count()
	switch {
	case live+ended > 0:
		return ln(bold("Sessions:"), fmt.Sprintf(" %d live, %d ended", live, ended))
	case g.Watch.SessionsAt.IsZero():
		return ln(bold("Sessions:"), " they could not be listed yet, so somebody may be in.")
	default:
		return ln("Nobody has come in yet.")
	}
}

// drift is what is not as it was opened.
func (p *page) drift(g grant.Grant) {
	const most = 4
	if g.Watch == nil || len(g.Watch.Drift) == 0 {
		return
	}
	var lines []line
	for i, name := range slices.Sorted(maps.Keys(g.Watch.Drift)) {
		if i == most {
			lines = append(lines, ln(fmt.Sprintf("and %d more: ", len(g.Watch.Drift)-i), code(showCommand(g))))
			break
		}
		d := g.Watch.Drift[name]
		lines = append(lines, ln("! ", bold("Warning, not as it was opened:"), " ", typed(d.Text, 2*cardNote), " Seen ", when(d.Since), "."))
	}
	p.para(append(lines, ln("→ Not meant? Press Revoke now."))...)
}

// seen lists who came in, as far as looking shows it.
func (p *page) seen(g grant.Grant, most int) {
	w := g.Watch
	if w == nil {
		return
	}
	live, ended := w.Count()
	n := live + ended
	var lines []line
	switch {
	case n > 0:
		lines = append(lines, ln(bold(fmt.Sprintf("Sessions that were seen: %d", n))))
	case w.SessionsAt.IsZero():
		lines = append(lines, ln(bold("Sessions:"), " they could not be listed, so nothing is known about who came in."))
	default:
		lines = append(lines, ln(bold("Sessions:"), " none was seen, looking once a minute."))
	}
	// The newest are kept.
	shown := w.Visits[max(len(w.Visits)-most, 0):]
	if left := n - len(shown); left > 0 {
		lines = append(lines, ln(fmt.Sprintf("%d that are not listed here; the audit log has them", left)))
	}
	for _, v := range shown {
		l := ln("• ", who(v.Session), onto(v.Session), ", ", exact(v.Since()))
		switch {
		case !v.Gone.IsZero():
			l = append(l, say(" to "), exact(v.Gone))
		case g.Phase == grant.Open:
			l = append(l, say(", still live"))
		default:
			l = append(l, say(" until access was taken away"))
		}
		switch {
		case v.NeverLogged:
			l = append(l, say(", "), bold("never logged"))
		case v.Unlogged && !v.LoggedAt.IsZero():
			l = append(l, say(", "), bold("its log began late"), say(": "), logLink(g, v.Session.ID))
		case v.Unlogged:
			l = append(l, say(", "), bold("had no log when it was looked for"), say(": "), logLink(g, v.Session.ID))
		default:
			l = append(l, say(", "), logLink(g, v.Session.ID))
		}
		lines = append(lines, l, ln("   ", typedCode(v.Session.ID, 128)))
	}
	p.para(lines...)
	if len(w.Assumed) == 0 {
		p.para(ln(bold("Role assumed:"), " CloudTrail has shown nobody so far. "), blind())
		return
	}
	title := fmt.Sprintf("Role assumed, from CloudTrail: %d", len(w.Assumed))
	if w.AssumedMore {
		title += " and more"
	}
	p.assumed(title, w.Assumed, most)
	p.para(blind())
}
