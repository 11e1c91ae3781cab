package main

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// Commands of the scripts that do to files what accidents and intruders do.

// cmdPatch replaces some bytes of a file by as many others: patch FILE OLD NEW. A byte
// that is no letter may be written \x00.
func cmdPatch(ts *testscript.TestScript, _ bool, args []string) {
	raw := func(s string) []byte {
		var b []byte
		for s != "" {
			r, _, rest, err := strconv.UnquoteChar(s, 0)
			must(ts, err)
			b, s = append(b, byte(r)), rest
		}
		return b
	}
	old, repl, path := raw(args[1]), raw(args[2]), ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	must(ts, err)
	if len(old) != len(repl) || !bytes.Contains(data, old) {
		ts.Fatalf("%s does not have %q, or %q is not as long", args[0], old, repl)
	}
	must(ts, os.WriteFile(path, bytes.ReplaceAll(data, old, repl), 0o600))
}

// cmdCut leaves the first bytes of a file: cut FILE BYTES.
func cmdCut(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[1], 10, 64)
	must(ts, err)
	must(ts, os.Truncate(ts.MkAbs(args[0]), n))
}

// cmdMode wants a file to have a mode, as ls shows it: mode FILE -rw-------.
func cmdMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[0]))
	must(ts, err)
	got := info.Mode().Perm().String()[1:]
	if want := args[1][1:]; got != want {
		ts.Fatalf("%s has the mode %s, want %s", args[0], got, want)
	}
	if socket := info.Mode()&os.ModeSocket != 0; socket != (args[1][0] == 's') {
		ts.Fatalf("%s is a %v", args[0], info.Mode())
	}
}

// cmdStale leaves a socket behind that nobody listens on any more: stale FILE.
func cmdStale(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("unix", ts.MkAbs(args[0]))
	must(ts, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	must(ts, l.Close())
}

// cmdImpostor listens on a socket until the script ends, and answers whoever comes as
// some other web server would: impostor FILE.
func cmdImpostor(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("unix", ts.MkAbs(args[0]))
	must(ts, err)
	ts.Defer(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n"))
			}
			_ = c.Close()
		}
	}()
}
