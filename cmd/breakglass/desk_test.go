package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"breakglass/store"
	"breakglass/store/grant"
)

func TestListenDesk(t *testing.T) {
	dir := t.TempDir()
	path := socketPath(filepath.Join(dir, "b.db"))
	for range 2 { // the second finds what the first has left
		l, err := listenDesk(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Type() != os.ModeSocket || info.Mode().Perm() != 0o600 {
			t.Errorf("the socket is %v (%v), want a socket with mode 0600", info.Mode(), err)
		}
		if _, err := listenDesk(t.Context(), path); err == nil || !strings.Contains(err.Error(), "another process answers") {
			t.Errorf("a live socket: %v", err)
		}
		if _, err := net.Dial("unix", path); err != nil {
			t.Errorf("the live socket was replaced: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
		t.Errorf("left over: %v (%v)", list, err)
	}
}

func TestListenDesk_replacesNothingElse(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"a file":          func(path string) error { return os.WriteFile(path, []byte("notes"), 0o600) },
		"a directory":     func(path string) error { return os.Mkdir(path, 0o700) },
		"a link":          func(path string) error { return os.Symlink("nowhere", path) },
		"another's queue": datagrams,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if l, err := listenDesk(t.Context(), path); err == nil {
				_ = l.Close()
				t.Error("it was replaced")
			}
			if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
				t.Errorf("it is not there any more (%v)", err)
			}
		})
	}
}

// datagrams leaves a socket of another kind, with its owner alive.
func datagrams(path string) error {
	_, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	return err
}

// A directory in which others may exchange files is worth a word in the log.
func TestOpenToOthers(t *testing.T) {
	dir := t.TempDir()
	for mode, warns := range map[os.FileMode]bool{0o700: false, 0o755: false, 0o775: true, 0o777: true, 0o777 | os.ModeSticky: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if text := openToOthers(dir); (text != "") != warns {
			t.Errorf("mode %v: %q", mode, text)
		}
	}
}

// Somebody else's socket in the bot's place must not be told anything, nor
// believed: whoever revokes must not hear from an impostor that it is done.
func TestTrustSocket(t *testing.T) {
	dir := t.TempDir()
	database := filepath.Join(dir, "b.db")
	path := socketPath(database)
	if err := os.WriteFile(database, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := trustSocket(path, database); !errors.Is(err, errNoBot) {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := trustSocket(path, database); err != nil {
		t.Errorf("my own: %v", err)
	}
	if os.Geteuid() != 0 {
		return // only root can play two users
	}
	if err := os.Lchown(path, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if err := trustSocket(path, database); err == nil || !strings.Contains(err.Error(), "belongs to another user (uid 12345)") {
		t.Errorf("another user's: %v", err)
	}
	if err := os.Lchown(database, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if err := trustSocket(path, database); err != nil {
		t.Errorf("of the user that has the database: %v", err)
	}
}

// deskOf is a desk that this handler answers, as the running bot's.
func deskOf(t *testing.T, handler http.Handler) *desk {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := newPipes()
	served := make(chan error, 1)
	go func() { served <- serveDesk(ctx, l, handler) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &desk{client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: l.dial}}, running: true}
}

// TestDesk_another: what answers is another version, or no breakglass at all.
func TestDesk_another(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"no breakglass": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "{}") }, "not breakglass"},
		"a newer one, in its own words": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(versionHeader, "v9.1.0")
			http.Error(w, "gone", http.StatusGone)
		}, "the bot that runs is breakglass v9.1.0 and does not understand this one"},
		"one that does not know the question": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(versionHeader, "v0.1.0")
			writeProblem(w, &deskProblem{status: http.StatusNotFound, Code: "unknown", Text: "what?"})
		}, "use the same program for both"},
		"one that answers something else": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(versionHeader, "v9.1.0")
			fmt.Fprintln(w, `[1, 2`)
		}, "perhaps of another version"},
		"a failure": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(versionHeader, "v1")
			writeProblem(w, errors.New("read what is open: the disk is gone"))
		}, "read what is open: the disk is gone"},
		"a refusal": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(versionHeader, "v1")
			writeProblem(w, grant.Refuse(grant.NotFound, "There is none. `/breakglass status` lists them."))
		}, "There is none. `breakglass status` lists them."},
	} {
		t.Run(name, func(t *testing.T) {
			err := deskOf(t, tt.answer).get(t.Context(), "/v1/status", nil, &statusAnswer{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("get = %v, want %q", err, tt.want)
			}
		})
	}
}

// TestDesk_unknown: this program as the bot, asked something that only a newer one
// knows.
func TestDesk_unknown(t *testing.T) {
	d := deskOf(t, deskMux(deskData{db: told(t), log: slog.New(slog.DiscardHandler)}))
	err := d.get(t.Context(), "/v2/status", nil, &statusAnswer{})
	if err == nil || !strings.Contains(err.Error(), "does not understand this one") {
		t.Errorf("get = %v", err)
	}
	for _, path := range []string{"/v1/grants/latest", "/v1/history"} {
		err := d.get(t.Context(), path, nil, &statusAnswer{})
		if p, ok := errors.AsType[*deskProblem](err); !ok || p.status != http.StatusBadRequest {
			t.Errorf("%s: %v, want a bad request", path, err)
		}
	}
}

// TestServeDesk_stops: a reader who has stopped reading does not hold up the end.
func TestServeDesk_stops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newPipes()
		ended := make(chan error, 1)
		go func() {
			ended <- serveDesk(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			}))
		}()
		conn, err := l.dial(ctx, "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /v1/backup HTTP/1.1\r\nHost: desk\r\n\r\n")
		synctest.Wait()
		begun := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if d := time.Since(begun); d > 3*time.Second {
			t.Errorf("it took %v to stop", d)
		}
	})
}

// TestPatient: nor does such a reader hold the database for ever.
func TestPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := newPipes()
		gaveUp, served := make(chan error, 1), make(chan error, 1)
		go func() {
			served <- serveDesk(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, err := io.Copy(patient{w: w, each: writePatience}, endless{})
				gaveUp <- err
			}))
		}()
		conn, err := l.dial(ctx, "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET /v1/backup HTTP/1.1\r\nHost: desk\r\n\r\n")
		begun := time.Now()
		for range 100 { // slow, but reading
			time.Sleep(time.Second)
			if _, err := io.ReadFull(conn, make([]byte, 32<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-gaveUp; err == nil {
			t.Error("it went on writing")
		}
		if d := time.Since(begun); d > 100*time.Second+2*writePatience {
			t.Errorf("it gave up after %v", d)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// whole is the copy of a database.
func whole(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := told(t).Backup(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestBackup_brokenOff: the bot is stopped in the middle of a copy, or the disk that
// it is read from fails. What was there before stays, and nothing else is there.
func TestBackup_brokenOff(t *testing.T) {
	data := whole(t)
	for name, answer := range map[string]http.HandlerFunc{
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(data[:len(data)/2])
			panic(http.ErrAbortHandler)
		},
		// As if the connection had ended well: then the copy itself shows it.
		"half of it":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data[:len(data)/2]) },
		"nothing":         func(http.ResponseWriter, *http.Request) {},
		"something else":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("page"), 10_000)) },
		"a changed entry": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(changed(data)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "copy.db")
			if err := os.WriteFile(file, []byte("the one from before"), 0o600); err != nil {
				t.Fatal(err)
			}
			d := deskOf(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(versionHeader, "v1")
				answer(w, r)
			}))
			env := &environment{ctx: t.Context(), getenv: os.Getenv, stdout: io.Discard, stderr: io.Discard}
			backup := backupCommand{Force: true}
			backup.Args.File = file
			if a, err := backup.write(env, d); err == nil {
				t.Errorf("it was taken for a backup: %+v", a)
			}
			if got, err := os.ReadFile(file); err != nil || string(got) != "the one from before" {
				t.Errorf("the older backup is %q (%v)", got, err)
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
				t.Errorf("left over: %v (%v)", list, err)
			}
		})
	}
}

func changed(data []byte) []byte {
	return bytes.ReplaceAll(data, []byte(`"kind":"approve"`), []byte(`"kind":"approvd"`))
}

// TestBackup_appears: a file that comes into the place of the backup while it is
// being made is not replaced without --force.
func TestBackup_appears(t *testing.T) {
	data := whole(t)
	file := filepath.Join(t.TempDir(), "copy.db")
	d := deskOf(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := os.WriteFile(file, []byte("somebody else's"), 0o600); err != nil {
			t.Error(err)
		}
		w.Header().Set(versionHeader, "v1")
		_, _ = w.Write(data)
	}))
	env := &environment{ctx: t.Context(), getenv: os.Getenv, stdout: io.Discard, stderr: io.Discard}
	var backup backupCommand
	backup.Args.File = file
	if _, err := backup.write(env, d); err == nil || !strings.Contains(err.Error(), "was not a moment ago") {
		t.Errorf("write = %v", err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "somebody else's" {
		t.Errorf("the file is %q (%v)", got, err)
	}
}

// TestExport_brokenOff: half an export is not taken for a whole one.
func TestExport_brokenOff(t *testing.T) {
	d := deskOf(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(versionHeader, "v1")
		fmt.Fprintln(w, `{"seq":1,"kind":"request","prev":"","hash":"aa"}`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	env := &environment{ctx: t.Context(), getenv: os.Getenv, stdout: io.Discard, stderr: io.Discard}
	n, err := d.export(env, 1, io.Discard, true)
	if n != 1 || err == nil || !strings.Contains(err.Error(), "entry 1 was the last that could") {
		t.Errorf("export = %d, %v", n, err)
	}
}

// TestHeadKeeper notes the head at the start, once in a minute in which it has
// changed, and no other time.
func TestHeadKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "heads.jsonl")
		db, err := store.Open(filepath.Join(dir, "b.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.Patrol([]grant.CellName{"helios-prod"}, time.Now()); err != nil {
			t.Fatal(err)
		}
		lines := func() int {
			list, _, err := noted0(path)
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		n := 0
		ask := func() {
			n++
			_, err := db.Commit(store.Change{Now: time.Now(), Event: grant.Request{
				By: grant.Actor{Kind: grant.Person, User: "U0ANA", Requester: true}, Token: fmt.Sprint("t", n), Cell: "helios-prod",
				Principal: "arn:aws:iam::111122223333:role/support", Duration: time.Hour, Terms: grant.Terms{Approvals: 1},
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		k := &headKeeper{db: db, path: path, log: slog.New(slog.NewTextHandler(&log, nil))}
		var wg sync.WaitGroup
		wg.Go(func() { k.run(ctx) })
		synctest.Wait()
		if _, err := os.Lstat(path); err == nil {
			t.Error("the head of an empty log was noted")
		}
		ask()
		ask()
		time.Sleep(headEvery)
		synctest.Wait()
		if got := lines(); got != 1 {
			t.Errorf("%d lines after two requests in a minute, want 1", got)
		}
		time.Sleep(10 * headEvery)
		synctest.Wait()
		if got := lines(); got != 1 {
			t.Errorf("%d lines after ten minutes of nothing, want 1", got)
		}
		// The file cannot be written for a while: nothing is lost, as the next line says
		// more than the one that is missing.
		if err := errors.Join(os.Rename(path, path+".1"), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
		ask()
		time.Sleep(2 * headEvery)
		synctest.Wait()
		if !strings.Contains(log.String(), "could not be noted") {
			t.Errorf("the log says nothing: %s", &log)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(headEvery)
		synctest.Wait()
		if got := lines(); got != 1 {
			t.Errorf("%d lines in the new file, want 1", got)
		}
		cancel()
		wg.Wait()
		ask()
		k.note()
		if got := lines(); got != 2 {
			t.Errorf("%d lines at the end, want 2", got)
		}
	})
}

func noted0(path string) ([]noted, []string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return readHeads(f, path)
}

// TestShowProgress speaks of long work only, and wipes what it said.
func TestShowProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(d time.Duration) string {
			var b bytes.Buffer
			p := &progress{w: &b, now: func() string { return "12 entries…" }, done: make(chan struct{})}
			p.wg.Go(p.run)
			time.Sleep(d)
			close(p.done)
			p.wg.Wait()
			return b.String()
		}
		if got := run(progressAfter / 2); got != "" {
			t.Errorf("short work: %q", got)
		}
		if got, want := run(2*progressAfter+progressAfter/2), "\r\x1b[K12 entries…\r\x1b[K12 entries…\r\x1b[K"; got != want {
			t.Errorf("long work: %q, want %q", got, want)
		}
	})
}
