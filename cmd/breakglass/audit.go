package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"breakglass/store"
)

type auditVerifyCommand struct {
	Head  string `long:"head" value-name:"SEQ:HASH" description:"An entry that was noted elsewhere and must be there."`
	Heads string `long:"heads" value-name:"FILE" description:"A file of such entries, as store.head_file makes one: all must be there."`
	JSON  bool   `long:"json" description:"Print JSON (docs/commands.md has the keys)."`
}

type auditExportCommand struct {
	From uint64 `long:"from" value-name:"SEQ" default:"1" description:"The first entry"`
	Out  string `long:"out" value-name:"FILE" description:"Write to a new file that only its owner may read, instead of standard output."`
}

// verifyAnswer is what checking the audit log has found.
type verifyAnswer struct {
	BotRunning bool        `json:"bot_running"`
	Whole      bool        `json:"whole"`
	Entries    uint64      `json:"entries"`
	Head       *store.Head `json:"head,omitempty"` // nil: it has no entries, or is broken
	// BrokenAt is the first entry that is not as it was written.
	BrokenAt uint64 `json:"broken_at,omitempty"`
	Problem  string `json:"problem,omitempty"`
	// HeadsChecked counts the entries noted elsewhere that were found.
	HeadsChecked int `json:"heads_checked"`
	// HeadsUnread counts the lines of --heads that could not be read.
	HeadsUnread int `json:"heads_unread"`
}

func (d deskData) auditHead(*http.Request) (store.Head, error) { return d.db.Head() }

func (d deskData) auditVerify(*http.Request) (verifyAnswer, error) { return verifyLog(d.db) }

// verifyLog checks the whole log of an open database.
func verifyLog(db *store.Store) (verifyAnswer, error) {
	// What is written meanwhile is checked with the rest, but not counted.
	head, err := db.Head()
	if err != nil {
		return verifyAnswer{}, err
	}
	err = db.Verify()
	if broken, ok := errors.AsType[*store.ChainError](err); ok {
		return verifyAnswer{Entries: head.Seq, BrokenAt: broken.Seq, Problem: broken.Problem}, nil
	}
	if err != nil {
		return verifyAnswer{}, err
	}
	a := verifyAnswer{Whole: true, Entries: head.Seq}
	if head.Seq > 0 {
		a.Head = &head
	}
	return a, nil
}

// auditEntries streams the log, a line an entry. What goes wrong in the middle cuts
// the answer off, which its reader sees.
func (d deskData) auditEntries(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.ParseUint(r.FormValue("from"), 10, 64)
	if err != nil {
		writeProblem(w, badAsk("from is the number of an entry"))
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	out := bufio.NewWriterSize(patient{w: w, each: writePatience}, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for e, err := range d.db.Entries(from) { //nolint:contextcheck // the store takes none; a reader that has gone ends the writing
		if err == nil {
			err = enc.Encode(e)
		}
		if err != nil {
			d.cutOff(r.Context(), "export of the audit log", err)
		}
	}
	if err := out.Flush(); err != nil {
		d.cutOff(r.Context(), "export of the audit log", err)
	}
}

// cutOff ends an answer that cannot be finished, so that its reader does not take
// it for whole.
func (d deskData) cutOff(ctx context.Context, what string, err error) {
	if ctx.Err() == nil { // otherwise the reader has gone
		d.log.Error("an answer to an operator was cut off", "what", what, "err", err)
	}
	panic(http.ErrAbortHandler)
}

var headPattern = regexp.MustCompile(`^([1-9][0-9]{0,18}):([0-9a-f]{64})$`)

// noted is the head of the log as it was noted elsewhere, and where.
type noted struct {
	store.Head
	where string
}

// heads reads what was noted elsewhere.
func (v auditVerifyCommand) heads() (list []noted, unread []string, err error) {
	if v.Head != "" {
		m := headPattern.FindStringSubmatch(strings.ToLower(strings.TrimSpace(v.Head)))
		if m == nil {
			return nil, nil, usage("--head takes the number of an entry and its hash, as `breakglass audit verify` prints them: 1234:9f86d081…")
		}
		seq, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			return nil, nil, usage("--head: %s is no number of an entry", m[1])
		}
		list = append(list, noted{store.Head{Seq: seq, Hash: m[2]}, "--head"})
	}
	if v.Heads != "" {
		f, err := os.Open(v.Heads)
		if err != nil {
			return nil, nil, fmt.Errorf("read the heads that were noted: %w", err)
		}
		defer f.Close()
		more, bad, err := readHeads(f, v.Heads)
		switch {
		case err != nil:
			return nil, nil, err
		case len(more) == 0:
			return nil, nil, fmt.Errorf("%s has no line that breakglass has written, so there is nothing to compare with: is it the file of store.head_file?", v.Heads)
		}
		list, unread = append(list, more...), bad
	}
	return list, unread, nil
}

// readHeads reads lines as [keepHeads] writes them. Half a line is what a machine
// leaves that lost its power; such places are answered apart.
func readHeads(r io.Reader, name string) (list []noted, unread []string, err error) {
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		var h headLine
		where := fmt.Sprintf("%s:%d", name, n)
		switch text := bytes.TrimSpace(in.Bytes()); {
		case len(text) == 0:
		case json.Unmarshal(text, &h) != nil || h.Seq == 0 || len(h.Hash) != 64:
			unread = append(unread, where)
		default:
			list = append(list, noted{store.Head{Seq: h.Seq, Hash: strings.ToLower(h.Hash)}, where})
		}
	}
	if err := in.Err(); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, err)
	}
	return list, unread, nil
}

// Run is `breakglass audit verify`.
func (v auditVerifyCommand) Run(env *environment) error {
	list, unread, err := v.heads()
	if err != nil {
		return err
	}
	d, err := reach(env)
	if err != nil {
		return err
	}
	defer d.close() //nolint:errcheck // nothing was written
	a, err := d.verify(env, list)
	if err != nil {
		return err
	}
	a.BotRunning, a.HeadsUnread = d.running, len(unread)
	for _, where := range unread {
		fmt.Fprintf(env.stderr, "breakglass: %s cannot be read and was passed over. Half a line is left where a machine lost its power; anything else somebody has changed\n", where)
	}
	if v.JSON {
		if err := printJSON(env, a); err != nil {
			return err
		}
	} else if a.Whole {
		out := newScreen(env)
		out.verified(a)
		if err := out.show(env); err != nil {
			return err
		}
	}
	if !a.Whole {
		return fmt.Errorf("the audit log is broken at entry %d of %d: %s\nKeep the file as it is, and find out who could write to it. A backup from before shows what the entry was: compare its `breakglass audit export`", a.BrokenAt, a.Entries, a.Problem)
	}
	return nil
}

// verify checks the log, and that what was noted elsewhere is in it.
func (d *desk) verify(env *environment, list []noted) (verifyAnswer, error) {
	var a verifyAnswer
	var head store.Head
	if err := d.get(env.ctx, "/v1/audit/head", nil, &head); err != nil {
		return a, err
	}
	begun := time.Now()
	stop := showProgress(env, func() string {
		return fmt.Sprintf("checking %s, for %s now…", count(head.Seq, "entry", "entries"), about(time.Since(begun)))
	})
	defer stop()
	if err := d.get(env.ctx, "/v1/audit/verify", nil, &a); err != nil || !a.Whole || len(list) == 0 {
		return a, err
	}
	first := list[0].Seq
	for _, n := range list {
		first = min(first, n.Seq)
	}
	hashes := map[uint64]string{}
	for _, n := range list {
		hashes[n.Seq] = ""
	}
	err := d.entries(env.ctx, first, func(_ []byte, e store.Entry) error {
		if _, asked := hashes[e.Seq]; asked {
			hashes[e.Seq] = e.Hash
		}
		return nil
	})
	if err != nil {
		return a, err
	}
	for _, n := range list {
		switch is := hashes[n.Seq]; {
		case is == "":
			a.Whole, a.BrokenAt, a.Head = false, a.Entries+1, nil
			a.Problem = fmt.Sprintf("entry %d was noted elsewhere (%s), but the log ends before it: its end was cut off, or this is another database, or an older backup", n.Seq, n.where)
			return a, nil
		case is != n.Hash:
			a.Whole, a.BrokenAt, a.Head = false, n.Seq, nil
			a.Problem = fmt.Sprintf("the entry has another hash than was noted elsewhere (%s): the log was written anew, or this is another database", n.where)
			return a, nil
		}
		a.HeadsChecked++
	}
	return a, nil
}

func (s *screen) verified(a verifyAnswer) {
	if a.Head == nil {
		s.line("The audit log has no entries yet.")
		return
	}
	s.line("%s: %s, none changed, removed, added or moved.", s.styled("The audit log is whole", green), count(a.Entries, "entry", "entries"))
	if a.HeadsChecked > 0 {
		s.line("What was noted elsewhere is in it: %s.", count(uint64(a.HeadsChecked), "entry", "entries"))
	}
	s.line("Head: %d:%s", a.Head.Seq, a.Head.Hash)
	s.line("\nNote the head where nobody who can write the database can write; later: breakglass audit verify --head SEQ:HASH")
}

// entries reads the log from an entry on. The line is valid until the next.
func (d *desk) entries(ctx context.Context, from uint64, each func(line []byte, e store.Entry) error) error {
	body, err := d.stream(ctx, "/v1/audit/entries", url.Values{"from": {strconv.FormatUint(from, 10)}})
	if err != nil {
		return err
	}
	defer body.Close()
	in := bufio.NewReaderSize(body, 64<<10)
	last := uint64(0)
	for {
		line, err := in.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil
		case err != nil:
			return fmt.Errorf("the audit log could not be read to its end; entry %d was the last that could: %w", last, err)
		}
		var e store.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("an entry after %d cannot be read: %w", last, err)
		}
		last = e.Seq
		if err := each(line, e); err != nil {
			return err
		}
	}
}

// Run is `breakglass audit export`.
func (x auditExportCommand) Run(env *environment) (err error) {
	d, err := reach(env)
	if err != nil {
		return err
	}
	defer d.close() //nolint:errcheck // nothing was written
	to := env.stdout
	if x.Out != "" {
		f, err := os.OpenFile(x.Out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already, and nothing was written: name a new file", x.Out)
		}
		if err != nil {
			return fmt.Errorf("write the export: %w", err)
		}
		defer func() {
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				_ = os.Remove(x.Out) // half an export is not to be taken for a whole one
			}
		}()
		to = f
	}
	// On a terminal the lines themselves show that it goes on.
	quiet := x.Out == "" && isTerminal(env.stdout)
	out := bufio.NewWriterSize(to, 64<<10)
	n, err := d.export(env, x.From, out, quiet)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return err
	}
	if x.Out != "" {
		fmt.Fprintf(env.stderr, "%s: %s\n", x.Out, count(n, "entry", "entries"))
	}
	return nil
}

func (d *desk) export(env *environment, from uint64, to io.Writer, quiet bool) (uint64, error) {
	var done atomic.Uint64
	if !quiet {
		defer showProgress(env, func() string { return count(done.Load(), "entry", "entries") + " exported…" })()
	}
	err := d.entries(env.ctx, from, func(line []byte, _ store.Entry) error {
		done.Add(1)
		_, err := to.Write(line)
		return err
	})
	return done.Load(), err
}
