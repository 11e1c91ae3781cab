package bot_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"breakglass/store/grant"
)

// gus is a guest of the team, who may do nothing.
const gus = "U0GUS"

// worldOf is how the world of a seed is set up.
type worldOf struct {
	approvals int
	group     bool          // the approvers ben and eva are a user group
	emergency bool          // ana and mia may open emergencies
	quiet     bool          // no reminders
	latency   time.Duration // of each AWS call
}

func (w worldOf) String() string {
	words := []string{fmt.Sprintf("%d approvals", w.approvals)}
	if w.group {
		words = append(words, "approvers by group")
	}
	if w.emergency {
		words = append(words, "emergencies")
	}
	if w.quiet {
		words = append(words, "no reminders")
	}
	return strings.Join(append(words, fmt.Sprintf("each AWS call takes %s", w.latency)), ", ")
}

// step is one thing that happens in a story. What cannot happen when its turn comes
// does not, so that any step may be left out.
type step struct {
	do     string
	who    string
	on     int // a grant; where there are fewer, one of those
	what   string
	n      int
	long   time.Duration
	after  time.Duration // waited before it
	beside bool          // at the same moment as the step before
}

// What may happen. People's acts come first; the others happen to the world.
const (
	doAsk       = "asks"         // what: ARN; n: cell; long: duration
	doForm      = "asks by form" // the same
	doEmergency = "opens an emergency"
	doPress     = "presses"           // what: a button of the card
	doStale     = "presses, late,"    // what: an action that was once on the card
	doLess      = "approves for less" // long
	doDenyWhy   = "denies with a reason"
	doRevoke    = "revokes by command" // what: one, cell, all or bare
	doExtend    = "asks for more time" // long
	doLook      = "looks around"       // what: a command that changes nothing
	doHome      = "opens the App Home"
	doAgain     = "has the last act delivered again" // n: 1 in a new envelope

	doComes  = "SingleStore comes in" // what: ARN; n: cell
	doLeaves = "SingleStore leaves"

	doDouble   = "Slack delivers the next acts twice"          // n; what: same or new
	doMislay   = "Slack mislays an envelope"                   // what: lose, lose ack, late, late ack; long
	doSockets  = "sockets"                                     // what: drop, refresh, stall, all
	doSlack    = "Slack answers wrongly"                       // what: method/kind; n: times
	doDown     = "Slack is down"                               // long
	doAWS      = "AWS answers wrongly"                         // what: call/kind; n: times, 0: for long
	doKnob     = "AWS is odd"                                  // what; long
	doHuman    = "somebody edits the role"                     // what; n: cell
	doLogging  = "somebody changes the logging"                // n: cell
	doPeople   = "people change"                               // what: ben leaves, ben comes back
	doDelete   = "somebody deletes the card"                   // on
	doStray    = "somebody presses a button about stray trust" // what: Remove or Adopt
	doDisk     = "the disk is full"                            // long
	doStop     = "the bot is stopped"                          // long: away
	doKill     = "the power is cut"                            // what: where; n: how many from now; long: away
	doWait     = "time passes"                                 // long
	doOrphan   = "SingleStore makes its second role anew"
	doFinished = "everything is well again"
)

// String tells the step to a reader.
func (s step) String() string {
	var b strings.Builder
	switch {
	case s.beside:
		b.WriteString("at the same moment ")
	case s.after > 0:
		fmt.Fprintf(&b, "after %s ", s.after)
	}
	if s.who != "" {
		b.WriteString(nameOf[s.who] + " ")
	}
	b.WriteString(s.do)
	if s.what != "" {
		fmt.Fprintf(&b, " %q", s.what)
	}
	if s.on > 0 {
		fmt.Fprintf(&b, " on BG-%d", s.on)
	}
	if s.n > 0 {
		fmt.Fprintf(&b, " (%d)", s.n)
	}
	if s.long > 0 {
		fmt.Fprintf(&b, " for %s", grant.FormatDuration(s.long))
	}
	return b.String()
}

var nameOf = map[string]string{ana: "ana", ben: "ben", eva: "eva", rob: "rob", mia: "mia", gus: "gus"}

// The durations that people ask for. Labels of buttons are read back by them.
var (
	askedFor = []time.Duration{3 * time.Minute, 6 * time.Minute, 12 * time.Minute, 25 * time.Minute, 40 * time.Minute}
	lessFor  = []time.Duration{90 * time.Second, 2 * time.Minute, 5 * time.Minute}
	moreFor  = []time.Duration{4 * time.Minute, 9 * time.Minute}
)

// adopted is how long an adopted trust is asked for: the configured default.
const adopted = 12 * time.Minute

// oneOf chooses.
func oneOf[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// odds is true n times in a hundred.
func odds(r *rand.Rand, n int) bool { return r.IntN(100) < n }

func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)/int64(time.Second)+1))*time.Second
}

// storyOf makes the story of a seed.
func storyOf(seed uint64) (worldOf, []step) {
	r := dice(seed, 1)
	w := worldOf{
		approvals: oneOf(r, 1, 1, 2), group: odds(r, 50), emergency: odds(r, 50), quiet: odds(r, 15),
		latency: oneOf(r, 0, 0, 20*time.Millisecond, 300*time.Millisecond),
	}
	r = dice(seed, 2)
	m := &muse{r: r, w: w}
	var lanes [][]step
	for g := range oneOf(r, 1, 1, 2, 2, 3) {
		lanes = append(lanes, m.grant(g+1))
	}
	story := m.weave(lanes)
	// What goes wrong meanwhile.
	for range 2 + r.IntN(7) {
		at := r.IntN(len(story) + 1)
		for at < len(story) && story[at].beside {
			at++
		}
		story = slices.Insert(story, at, m.mishap(len(lanes))...)
	}
	return w, story
}

// muse thinks stories up.
type muse struct {
	r *rand.Rand
	w worldOf
}

// weave makes one story of several, each in its own order.
func (m *muse) weave(lanes [][]step) (story []step) {
	for {
		var left []int
		for i, l := range lanes {
			if len(l) > 0 {
				left = append(left, i)
			}
		}
		if len(left) == 0 {
			return story
		}
		i := oneOf(m.r, left...)
		// A run of acts at the same moment stays together.
		n := 1
		for n < len(lanes[i]) && lanes[i][n].beside {
			n++
		}
		story = append(story, lanes[i][:n]...)
		lanes[i] = lanes[i][n:]
	}
}

// soon is a moment between two acts.
func (m *muse) soon() time.Duration {
	switch m.r.IntN(10) {
	case 0:
		return 0
	case 1:
		return between(m.r, time.Minute, 4*time.Minute)
	default:
		return between(m.r, time.Second, 20*time.Second)
	}
}

// grant is the life of one grant, as people mean it to be.
func (m *muse) grant(g int) (lane []step) {
	r := m.r
	add := func(s step) {
		if !s.beside {
			s.after = m.soon()
		}
		lane = append(lane, s)
	}
	who, arn, cell := oneOf(r, ana, ana, mia, ben), oneOf(r, vendor, vendor, vendor2), oneOf(r, 0, 0, 0, 1)
	ask := step{do: doAsk, who: who, what: arn, n: cell, long: oneOf(r, askedFor...)}
	emergency := m.w.emergency && odds(r, 30)
	switch {
	case emergency:
		ask.do, ask.who = doEmergency, oneOf(r, ana, mia)
	case odds(r, 3):
		ask.who = gus
	case odds(r, 25):
		ask.do = doForm
	}
	who = ask.who
	add(ask)

	// Who approves: as many others as are needed, perhaps not all of them.
	others := slices.DeleteFunc([]string{ben, eva, ana}, func(u string) bool { return u == who })
	r.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	press := func(u, button string) step { return step{do: doPress, who: u, on: g, what: button} }
	wrong := func() step {
		return oneOf(r, press(who, "Approve"), press(mia, "Approve"), press(rob, "Deny"), press(gus, "Approve"), press(mia, "Revoke"), press(gus, "Withdraw"))
	}
	if odds(r, 25) {
		add(wrong())
	}
	switch n := r.IntN(100); {
	case emergency:
		if odds(r, 40) {
			add(press(oneOf(r, ben, eva, ana), "Sign review"))
		}
	case n < 7:
		add(oneOf(r, press(others[0], "Deny"), step{do: doDenyWhy, who: others[0], on: g}))
	case n < 13:
		add(press(who, "Withdraw"))
	case n < 17: // nobody decides
		return lane
	default:
		for i, u := range others[:min(m.w.approvals, len(others))] {
			yes := press(u, "Approve")
			if odds(r, 15) {
				yes = step{do: doLess, who: u, on: g, long: oneOf(r, lessFor...)}
			}
			if i == 0 && odds(r, 20) {
				add(wrong())
			}
			add(yes)
			if odds(r, 20) { // the same person once more
				add(press(u, "Approve"))
				lane[len(lane)-1].beside = odds(r, 50)
			}
			if i == 0 && m.w.approvals > 1 && odds(r, 25) {
				add(step{do: doPeople, who: u, what: "leaves"})
				add(step{do: doWait, long: between(r, 90*time.Second, 5*time.Minute)})
			}
		}
		if odds(r, 15) { // a decision against it at the same moment
			add(oneOf(r, press(eva, "Deny"), press(who, "Withdraw"), press(rob, "Revoke")))
			lane[len(lane)-1].beside = true
		}
		if odds(r, 15) { // while it is opening
			add(step{do: doRevoke, who: oneOf(r, who, rob, eva), on: g, what: "one"})
			lane[len(lane)-1].after = time.Duration(r.IntN(4)) * 300 * time.Millisecond
		}
		if odds(r, 10) {
			add(step{do: doAgain, n: r.IntN(2)})
		}
	}

	if odds(r, 80) {
		add(step{do: doComes, what: arn, n: cell})
	}
	if odds(r, 30) {
		add(press(oneOf(r, who, ben, mia), "Mark as sent"))
	}
	if odds(r, 40) {
		add(step{do: doExtend, who: oneOf(r, who, who, ana, mia), on: g, long: oneOf(r, moreFor...)})
		for _, u := range []string{ben, eva, ana}[:1+r.IntN(3)] {
			add(oneOf(r, press(u, "Approve"), press(u, "Approve"), press(u, "Approve"), press(u, "Deny more time")))
			if odds(r, 30) {
				lane[len(lane)-1].beside = true
			}
		}
	}
	if odds(r, 30) {
		add(step{do: doStale, who: oneOf(r, ana, ben, eva, mia), on: g, what: oneOf(r, "approve", "deny", "revoke", "approve_extension", "withdraw")})
	}
	if odds(r, 25) {
		add(step{do: doLook, who: oneOf(r, ana, mia, gus), what: oneOf(r, "status", "show 1", "history", "check", "revoke all", "help", "nonsense")})
	}
	if odds(r, 50) {
		end := oneOf(
			r, press(oneOf(r, who, rob, ben), "Revoke"), press(oneOf(r, who, rob), "Revoke"),
			step{do: doRevoke, who: oneOf(r, who, rob, ben), on: g, what: oneOf(r, "one", "one", "cell", "all", "bare")},
		)
		add(end)
		if odds(r, 30) {
			lane = append(lane, lane[len(lane)-1]) // twice
			lane[len(lane)-1].beside = true
		}
	} else {
		add(step{do: doWait, long: between(r, time.Minute, 15*time.Minute)})
	}
	if odds(r, 25) {
		add(step{do: doComes, what: arn, n: cell})
	}
	return lane
}

// mishap is something that goes wrong, or that others do.
func (m *muse) mishap(grants int) []step {
	r := m.r
	on, after := 1+r.IntN(grants), m.soon()
	one := func(s step) []step {
		s.after = after
		return []step{s}
	}
	switch n := r.IntN(100); {
	case n < 24:
		return one(step{do: doKill, what: oneOf(r, "before a call", "after a call", "after a call", "before a frame", "after a commit", "after a commit", "now"), n: 1 + int(r.ExpFloat64()*12), long: oneOf(r, 0, 0, 5*time.Second, time.Minute, 8*time.Minute, 30*time.Minute)})
	case n < 29:
		return one(step{do: doStop, long: oneOf(r, 0, time.Second, 40*time.Second, 6*time.Minute, 30*time.Minute)})
	case n < 38:
		return one(step{do: doDouble, n: 1 + r.IntN(3), what: oneOf(r, "same", "new")})
	case n < 45:
		return one(step{do: doMislay, what: oneOf(r, "lose", "lose ack", "late", "late ack"), n: 1 + r.IntN(2), long: oneOf(r, 500*time.Millisecond, 2*time.Second, 5*time.Second)})
	case n < 50:
		return one(step{do: doSockets, what: oneOf(r, "drop", "refresh", "stall", "all")})
	case n < 59:
		return one(step{do: doSlack, what: oneOf(
			r, "chat.postMessage/500", "chat.postMessage/lost", "chat.postMessage/lost", "chat.postMessage/limited", "chat.postMessage/hang", "chat.update/lost", "chat.update/500", "chat.update/limited",
			"users.info/500", "users.info/hang", "usergroups.users.list/500", "usergroups.users.list/silent", "conversations.history/500", "*/500", "*/hang", "*/lost", "views.open/hang",
		), n: 1 + r.IntN(4)})
	case n < 61:
		return one(step{do: doDown, long: oneOf(r, 5*time.Second, time.Minute, 12*time.Minute)})
	case n < 72:
		return one(step{do: doAWS, what: oneOf(
			r, "iam:GetRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:PutRolePolicy", "iam:GetRolePolicy", "iam:*", "ssm:DescribeSessions", "ssm:TerminateSession",
			"ssm:UpdateDocument", "ssm:GetDocument", "ec2:DescribeInstances", "sts:GetCallerIdentity", "*",
		) + "/" + oneOf(r, "throttled", "500", "before", "after", "after", "denied", "hang"), n: oneOf(r, 0, 1, 1, 2, 5), long: oneOf(r, 10*time.Second, time.Minute, 4*time.Minute, 11*time.Minute)})
	case n < 80:
		return one(step{do: doKnob, what: oneOf(r, "stale", "flapping", "slow to take effect", "slow to end sessions", "ends no sessions", "ends no sessions", "slow documents", "slow calls"), n: 1 + r.IntN(20), long: oneOf(r, time.Minute, 5*time.Minute, 15*time.Minute)})
	case n < 88:
		return one(step{do: doHuman, what: oneOf(r, "adds a statement", "adds SingleStore", "adds SingleStore by Sid", "takes ours out", "applies Terraform", "puts ours back", "deletes the hard stop", "deletes a role that it names"), n: oneOf(r, 0, 0, 1)})
	case n < 90:
		return one(step{do: doLogging, n: r.IntN(2)})
	case n < 93:
		who := oneOf(r, ben, eva)
		return one(step{do: doPeople, who: who, what: oneOf(r, "leaves", "comes back")})
	case n < 94:
		return one(step{do: doDelete, on: on})
	case n < 95:
		return one(step{do: doOrphan})
	case n < 97:
		return one(step{do: doDisk, long: between(r, 5*time.Second, time.Minute)})
	case n < 98:
		return one(step{do: doHome, who: oneOf(r, ana, ben, gus)})
	case n < 99:
		return []step{{do: doWait, after: after, long: 7 * time.Minute}, {do: doStray, who: oneOf(r, ben, rob, ana, mia), what: oneOf(r, "Remove", "Adopt")}}
	default:
		return one(step{do: doWait, long: oneOf(r, 5*time.Minute, 20*time.Minute)})
	}
}
