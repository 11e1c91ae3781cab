package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"breakglass/store/grant"
)

// usageError is wrong usage that only the command itself can see.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// isTerminal reports whether what is written there is seen by a person.
func isTerminal(w io.Writer) bool {
	if m, ok := w.(*masked); ok {
		w = m.w
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// screen is text for people: aligned, and in colour where that is wanted.
type screen struct {
	strings.Builder

	person bool // somebody sees it on a terminal
	colour bool
}

func newScreen(env *environment) *screen {
	person := isTerminal(env.stdout)
	return &screen{person: person, colour: person && env.getenv("NO_COLOR") == "" && env.getenv("TERM") != "dumb"}
}

// style is how a word looks on a terminal; without colour it changes nothing.
type style string

const (
	plainly style = ""
	bold    style = "1"
	faint   style = "2"
	green   style = "32"
	yellow  style = "33"
	red     style = "31"
)

func (s *screen) styled(text string, st style) string {
	if !s.colour || st == plainly || text == "" {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

func (s *screen) line(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

// heading begins a section, with an empty line before it.
func (s *screen) heading(text string) { s.line("\n%s", s.styled(text, bold)) }

// said is a value that somebody typed or that AWS said: on one line and without
// anything that a terminal would obey.
func said(text string) string { return grant.Clean(text, 1000) }

// capital begins a sentence.
func capital(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[n:]
}

// cell is one field of a table.
type cell struct {
	text  string
	style style
}

func col(text string) cell { return cell{text: said(text)} }

// table writes rows with their columns aligned. The last column is not padded,
// columns that are empty throughout are left out.
func (s *screen) table(indent string, rows [][]cell) {
	var width []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, r := range rows {
		var b strings.Builder
		pad := 0
		for i, c := range r {
			if width[i] == 0 {
				continue
			}
			if c.text != "" {
				b.WriteString(strings.Repeat(" ", pad))
				b.WriteString(s.styled(c.text, c.style))
				pad = 0
			}
			pad += width[i] - utf8.RuneCountInString(c.text) + 2
		}
		s.line("%s%s", indent, b.String())
	}
}

// show writes the screen out.
func (s *screen) show(env *environment) error {
	_, err := io.WriteString(env.stdout, s.String())
	return err
}

// printJSON writes an answer for programs.
func printJSON(env *environment, v any) error {
	enc := json.NewEncoder(env.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// when is a time for people, to the minute.
func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// exactly is a time for people, to the second.
func exactly(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// about is a duration for people, no finer than they care to read.
func about(d time.Duration) string {
	unit := time.Second
	if d >= 10*time.Minute {
		unit = time.Minute
	}
	return grant.FormatDuration(d.Truncate(unit))
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// bytesText is a size for people.
func bytesText(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d kB", n/1000)
	default:
		return fmt.Sprintf("%d MB", n/1_000_000)
	}
}

// count is a number with its noun.
func count(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// progress tells a person at a terminal, on standard error, that long work goes on.
type progress struct {
	w    io.Writer // nil: nobody is there to see
	now  func() string
	done chan struct{}
	wg   sync.WaitGroup
}

// progressAfter is how long work may take before it is spoken of, and how often
// then.
const progressAfter = 300 * time.Millisecond

// showProgress writes what now says until stop is called, and then wipes it.
func showProgress(env *environment, now func() string) (stop func()) {
	if !isTerminal(env.stderr) || env.getenv("TERM") == "dumb" {
		return func() {}
	}
	p := &progress{w: env.stderr, now: now, done: make(chan struct{})}
	p.wg.Go(p.run)
	return func() { close(p.done); p.wg.Wait() }
}

func (p *progress) run() {
	tick := time.NewTicker(progressAfter)
	defer tick.Stop()
	spoken := false
	for {
		select {
		case <-tick.C:
			fmt.Fprintf(p.w, "\r\x1b[K%s", p.now())
			spoken = true
		case <-p.done:
			if spoken {
				fmt.Fprint(p.w, "\r\x1b[K")
			}
			return
		}
	}
}
