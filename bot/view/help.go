package view

import (
	"slices"
	"strings"
)

// Command is one row of the table of commands.
type Command struct {
	Name    string
	Usage   string // what follows /breakglass
	Does    string
	Who     string
	Example string
	Notes   []string // more, for help on this command alone
}

// Commands are the commands that work.
var Commands = []Command{
	{
		Name:  "grant",
		Usage: "grant [cell=NAME arn=ARN ticket=NUMBER for=4h reason=WHY]",
		Does:  "asks for access for SingleStore Support; the approvers get a card",
		Who:   "requesters",
		Example: "grant cell=helios-prod arn=arn:aws:iam::111122223333:role/support " +
			"ticket=48213 for=4h reason=stuck node pool",
		Notes: []string{
			"Alone: opens a form.",
			"cell: may be left out where there is only one.",
			"arn: the SingleStore role, as the ticket names it.",
			"for: 45s, 90m, 4h, 1h30m, 2d. May be left out where there is a default.",
			"reason: comes last and takes the rest of the line.",
			"Nothing opens before the approvers have pressed Approve on the card.",
		},
	},
	{
		Name:    "revoke",
		Usage:   "revoke [ID|CELL|all]",
		Does:    "ends access now: trust, credentials and open shells",
		Who:     "the requester, approvers, revokers",
		Example: "revoke BG-7",
		Notes: []string{
			"Alone: the one open grant, or a list to choose from.",
			"With a cell: everything that is open on it.",
			"With all: everything that is open; it asks once.",
			"The proof that access has ended follows in the card's thread.",
		},
	},
	{
		Name:    "extend",
		Usage:   "extend ID DURATION",
		Does:    "asks for more time on an open grant; it needs approval like a request",
		Who:     "requesters",
		Example: "extend BG-7 2h",
		Notes: []string{
			"The duration is added to the end: 45s, 90m, 2h, 1h30m.",
			"Approvers decide on the card. Until then the end stays as it is.",
			"To take it back: Deny more time on the card. To end access sooner: revoke.",
		},
	},
	{
		Name:  "emergency",
		Usage: "emergency [cell=NAME arn=ARN ticket=NUMBER for=1h reason=WHY]",
		Does:  "opens access at once, without approval; everybody is told, and it owes a review",
		Who:   "emergency people, where configured",
		Example: "emergency cell=helios-prod arn=arn:aws:iam::111122223333:role/support " +
			"ticket=48213 for=1h reason=database down, no approver awake",
		Notes: []string{
			"Alone: opens a form. The words are those of grant.",
			"Checks, logging and the end are as for any grant; only the approval is left out.",
			"Every approver and the channel are told at once.",
			"An approver other than you has to sign its review; it is asked for until then.",
		},
	},
	{
		Name:    "status",
		Usage:   "status",
		Does:    "lists everything open, opening, closing or waiting, with the time left",
		Who:     "everyone",
		Example: "status",
		Notes:   []string{"The same as /breakglass alone."},
	},
	{
		Name:    "show",
		Usage:   "show ID",
		Does:    "tells one grant's whole story",
		Who:     "everyone",
		Example: "show BG-7",
		Notes:   []string{"BG-7, bg-7 and 7 are the same."},
	},
	{
		Name:    "history",
		Usage:   "history [CELL] [N]",
		Does:    "lists the last that ended, 10 or N of them",
		Who:     "everyone",
		Example: "history helios-prod 5",
		Notes:   []string{"Alone: of all cells. The story of one: show."},
	},
	{
		Name:    "check",
		Usage:   "check [CELL]",
		Does:    "looks whether access could be opened, and says what to do where not; changes nothing",
		Who:     "everyone",
		Example: "check helios-prod",
		Notes:   []string{"Alone: every cell. The answer takes some seconds."},
	},
	{
		Name:    "help",
		Usage:   "help [COMMAND]",
		Does:    "explains the commands, or one of them",
		Who:     "everyone",
		Example: "help grant",
	},
}

func find(name string) (Command, bool) {
	i := slices.IndexFunc(Commands, func(c Command) bool { return c.Name == name })
	if i < 0 {
		return Command{}, false
	}
	return Commands[i], true
}

func example(name string) string {
	c, _ := find(name)
	return "/breakglass " + c.Example
}

// Help explains all commands, or the one that is named. It answers false, and
// says so, when there is no such command.
func Help(command string) (Message, bool) {
	name := strings.ToLower(strings.TrimSpace(command))
	name = strings.TrimSpace(strings.TrimPrefix(name, "/breakglass"))
	p := &page{}
	if name == "" {
		p.lead(
			ln(bold("breakglass"), " lets SingleStore Support into a cell for a limited time, and proves that they are out again."),
			ln("Type ", code("/breakglass"), " and one of these:"),
		)
		for _, c := range Commands {
			p.para(
				ln(code(c.Usage)),
				ln(upper(c.Does)+". For "+c.Who+"."),
				ln("Example: ", code("/breakglass "+c.Example)),
			)
		}
		p.para(ln("More about one: ", code(example("help"))))
		return p.message(), true
	}
	c, ok := find(name)
	if !ok {
		p.lead(ln(bold("There is no such command.")))
		try := "help"
		if near, ok := Nearest(name); ok {
			try = near
		}
		p.para(ln("Try: ", code(example(try))))
		return p.message(), false
	}
	p.lead(ln(code("/breakglass "+c.Usage)), ln(upper(c.Does)+". For "+c.Who+"."))
	var notes []line
	for _, n := range c.Notes {
		notes = append(notes, ln("• "+n))
	}
	p.para(notes...)
	p.para(ln("Example: ", code("/breakglass "+c.Example)))
	return p.message(), true
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// meant are words that people use for a command.
var meant = map[string]string{
	"access": "grant", "ask": "grant", "new": "grant", "open": "grant", "request": "grant",
	"cancel": "revoke", "close": "revoke", "end": "revoke", "kill": "revoke", "remove": "revoke", "stop": "revoke", "withdraw": "revoke",
	"more": "extend", "longer": "extend", "prolong": "extend", "renew": "extend", "time": "extend",
	"panic": "emergency", "sos": "emergency", "urgent": "emergency", "911": "emergency", "112": "emergency",
	"list": "status", "ls": "status", "what": "status",
	"describe": "show", "get": "show", "info": "show", "story": "show", "view": "show",
	"audit": "history", "ended": "history", "last": "history", "log": "history", "logs": "history", "old": "history", "past": "history",
	"diagnose": "check", "doctor": "check", "test": "check", "verify": "check",
	"?": "help", "-h": "help", "--help": "help", "usage": "help",
}

// Nearest is the command that was probably meant.
func Nearest(word string) (command string, ok bool) {
	word = strings.ToLower(strings.TrimSpace(word))
	if len(word) > 40 {
		return "", false
	}
	if c, ok := meant[word]; ok {
		return c, true
	}
	best := 3 // more than two slips is another word
	for _, c := range Commands {
		if len(word) >= 2 && strings.HasPrefix(c.Name, word) {
			return c.Name, true
		}
		if d := slips(word, c.Name); d < best && d*2 < max(len(word), len(c.Name)) {
			best, command = d, c.Name
		}
	}
	return command, command != ""
}

// slips counts the letters that were left out, added, mistaken or swapped with
// their neighbour.
func slips(a, b string) int {
	x, y := []rune(a), []rune(b)
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range y {
		d[0][j+1] = j + 1
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}
