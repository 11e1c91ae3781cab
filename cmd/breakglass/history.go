package main

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakglass/store/grant"
)

type historyCommand struct {
	Args struct {
		Words []string `positional-arg-name:"WHAT" description:"[CELL] [N]: of this cell only; how many (10)."`
	} `positional-args:"yes"`
	JSON bool `long:"json" description:"Print JSON (docs/commands.md has the keys)."`
}

// How many ended grants are listed.
const (
	usualHistory = 10
	mostHistory  = 1000
)

// historyAnswer is what ended last, the newest first.
type historyAnswer struct {
	At         time.Time      `json:"at"`
	BotRunning bool           `json:"bot_running"`
	Cell       grant.CellName `json:"cell,omitempty"` // empty: all
	Grants     []grantAnswer  `json:"grants"`
}

func (d deskData) history(r *http.Request) (historyAnswer, error) {
	n, err := strconv.Atoi(r.FormValue("n"))
	if err != nil || n < 1 || n > mostHistory {
		return historyAnswer{}, badAsk("n is a number from 1 to %d", mostHistory)
	}
	return d.historyAt(time.Now().UTC(), grant.CellName(r.FormValue("cell")), n)
}

func (d deskData) historyAt(now time.Time, cell grant.CellName, n int) (historyAnswer, error) {
	ended, err := d.db.Ended(cell, n)
	if err != nil {
		return historyAnswer{}, err
	}
	// A cell that was taken out of the configuration has its history still.
	if cell != "" && len(ended) == 0 && !slices.Contains(d.cells, cell) {
		names := make([]string, len(d.cells))
		for i, c := range d.cells {
			names[i] = string(c)
		}
		return historyAnswer{}, notThere("there is no cell %q here; the cells are %s", said(string(cell)), strings.Join(names, ", "))
	}
	a := historyAnswer{At: now.Truncate(time.Second), Cell: cell, Grants: []grantAnswer{}}
	for _, g := range ended {
		a.Grants = append(a.Grants, brief(g, now))
	}
	return a, nil
}

// read takes the words in either order: a number is never a cell's name.
func (h historyCommand) read() (cell string, n int, err error) {
	n = usualHistory
	seenNumber := false
	for _, w := range h.Args.Words {
		k, notNumber := strconv.Atoi(w)
		switch {
		case notNumber != nil && cell == "":
			cell = w
		case notNumber == nil && !seenNumber && k >= 1 && k <= mostHistory:
			n, seenNumber = k, true
		case notNumber == nil && !seenNumber:
			return "", 0, usage("history: %d is not a number from 1 to %d", k, mostHistory)
		default:
			return "", 0, usage("history takes at most a cell and a number, for example `breakglass history helios-prod 20`")
		}
	}
	return cell, n, nil
}

// Run is `breakglass history`.
func (h historyCommand) Run(env *environment) error {
	name, n, err := h.read()
	if err != nil {
		return err
	}
	d, err := reach(env)
	if err != nil {
		return err
	}
	defer d.close() //nolint:errcheck // nothing was written
	var a historyAnswer
	if err := d.get(env.ctx, "/v1/history", url.Values{"cell": {name}, "n": {strconv.Itoa(n)}}, &a); err != nil {
		return err
	}
	a.BotRunning = d.running
	if h.JSON {
		return printJSON(env, a)
	}
	out := newScreen(env)
	out.history(a)
	return out.show(env)
}

func (s *screen) history(a historyAnswer) {
	on := ""
	if a.Cell != "" {
		on = " on " + said(string(a.Cell))
	}
	if len(a.Grants) == 0 {
		s.line("Nothing has ended%s yet.\n\nWhat there is now: breakglass status", on)
		return
	}
	rows := [][]cell{header("ID", "PHASE", "CELL", "ENDED", "OPEN FOR", "SHELLS", "WHO", "TICKET", "HOW IT ENDED")}
	for _, g := range a.Grants {
		open, shells := "-", "-"
		if g.OpenSeconds > 0 {
			open, shells = about(time.Duration(g.OpenSeconds)*time.Second), strconv.Itoa(g.SessionsEnded)
		}
		how := g.how()
		if g.ReviewOwed {
			how = "(review owed) " + how
		}
		if g.Emergency {
			how = "(emergency) " + how
		}
		rows = append(rows, []cell{
			{text: g.ID, style: bold},
			{text: title(g.Phase), style: phaseStyle(g.Phase)},
			col(string(g.Cell)), col(when(g.EndedAt)),
			col(open), col(shells), col(string(g.Requester)), col(g.Ticket), col(how),
		})
	}
	s.table("", rows)
	s.line("\nThe whole story of one: breakglass show %s", a.Grants[0].ID)
}
