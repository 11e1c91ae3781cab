package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdHangup asks every program in the background to read its configuration again.
func cmdHangup(ts *testscript.TestScript, _ bool, _ []string) {
	for _, cmd := range ts.BackgroundCmds() {
		must(ts, cmd.Process.Signal(syscall.SIGHUP))
	}
}

// cmdSaid waits for a line of a log. testscript shows what a program in the background
// says only once it has ended, so that has to go into a file.
func cmdSaid(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := waiting()
	defer cancel()
	var text []byte
	for {
		text, _ = os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		for line := range strings.Lines(string(text)) {
			if strings.HasSuffix(line, "\n") && !slices.ContainsFunc(args[1:], func(w string) bool { return !strings.Contains(line, w) }) {
				fmt.Fprint(ts.Stdout(), line)
				return
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			ts.Fatalf("no line of %s has %q:\n%s", args[0], args[1:], text)
		}
	}
}
