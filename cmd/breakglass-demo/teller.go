package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// teller prints the story, each line as it happens, and keeps count of what was
// claimed and seen to be so.
type teller struct {
	out    io.Writer
	start  time.Time
	proofs int
}

func newTeller(out io.Writer) *teller { return &teller{out: out, start: time.Now()} }

func (t *teller) clock() string {
	d := time.Since(t.start)
	return fmt.Sprintf("%5.1fs", d.Seconds())
}

// scene begins a part of the story.
func (t *teller) scene(n int, title string) {
	fmt.Fprintf(t.out, "\n%s\n%s\n", fmt.Sprintf("%d. %s", n, title), strings.Repeat("─", len([]rune(title))+3))
}

// line says what somebody did.
func (t *teller) line(who, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	first, rest, more := strings.Cut(text, "\n")
	fmt.Fprintf(t.out, "%s  %-11s %s\n", t.clock(), who, first)
	if more {
		fmt.Fprintln(t.out, indent(rest, strings.Repeat(" ", 20)))
	}
}

// show prints something as it stands, set off from the story.
func (t *teller) show(text string) {
	fmt.Fprintln(t.out, indent(text, "        │ "))
}

// proof prints a claim that holds, or ends the story with what is so instead.
func (t *teller) proof(holds bool, claim string, instead any) error {
	if !holds {
		return fmt.Errorf("not so: %s; instead: %v", claim, instead)
	}
	t.proofs++
	fmt.Fprintf(t.out, "%s  %-11s ✓ %s\n", t.clock(), "proof", claim)
	return nil
}
