package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"breakglass/store"
	"breakglass/store/grant"
)

// stranger is another user of the host: nobody.
const stranger = 65534

// asStranger runs something as another user of the host. Only this thread is that
// user meanwhile, and what runs must not leave it: plain system calls.
//
// Only root can become another user; elsewhere there is nobody to play the attacker,
// and [everybodys] says so.
func asStranger(t *testing.T, does func() error) error {
	t.Helper()
	runtime.LockOSThread()
	become := func(gid, uid int) error {
		const keep = ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep); errno != 0 {
			return errno
		}
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESGID, keep, uintptr(gid), keep); errno != 0 {
			return errno
		}
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
			return errno
		}
		return nil
	}
	if err := become(stranger, stranger); err != nil {
		runtime.UnlockOSThread()
		t.Fatalf("root cannot become another user: %v", err)
	}
	err := does()
	if back := become(os.Getgid(), os.Getuid()); back != nil {
		t.Fatalf("the thread stays another user's: %v", back) // and locked: it ends with the goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// everybodys is a directory that others may enter and read; not ok where no other
// user can be played.
func everybodys(t *testing.T) (dir string, ok bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("this is not root, so no other user can be played, and nothing was tried")
		return "", false
	}
	dir = t.TempDir()
	for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := asStranger(t, func() error {
		fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
		if err == nil {
			err = syscall.Close(fd)
		}
		return err
	})
	if err != nil {
		t.Fatalf("others cannot get into %s at all: %v", dir, err)
	}
	return dir, true
}

// connects connects to a Unix socket by plain system calls.
func connects(path string) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}), syscall.Close(fd))
}

// Another user of the host has found the bot's socket, in a directory that they may
// enter, and connects to it. Over it everything can be read and ended; and they would
// do it in the operator's name.
// What stops them: the socket and the database have the mode 0600 from their first
// moment on, whatever the umask is, so that the kernel refuses; and who asks is what
// the kernel says of the other end, not what they say.
func TestAttack_stolenSocket(t *testing.T) {
	dir, ok := everybodys(t)
	if !ok {
		return
	}
	old := syscall.Umask(0) // as careless as can be
	defer syscall.Umask(old)
	database := filepath.Join(dir, "breakglass.db")
	db, err := store.Open(database)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	serve := openDesk(ctx, database, deskData{db: db, cells: []grant.CellName{"helios-prod"}, log: slog.New(slog.DiscardHandler)})
	served := make(chan struct{})
	go func() { defer close(served); serve(ctx) }()
	defer func() { end(); <-served; _ = db.Close() }()

	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may use %s (%v)", info.Mode(), err)
		}
	}
	socket := socketPath(database)
	if err := connects(socket); err != nil {
		t.Fatalf("its own user cannot connect: %v", err)
	}
	if err := asStranger(t, func() error { return connects(socket) }); !errors.Is(err, syscall.EACCES) {
		t.Errorf("another user connects: %v, want %v", err, syscall.EACCES)
	}
	for _, flag := range []int{syscall.O_RDONLY, syscall.O_WRONLY} {
		if err := asStranger(t, func() error {
			fd, err := syscall.Open(database, flag, 0)
			if err == nil {
				err = syscall.Close(fd)
			}
			return err
		}); !errors.Is(err, syscall.EACCES) {
			t.Errorf("another user opens the database: %v, want %v", err, syscall.EACCES)
		}
	}
	if d, err := dial(ctx, database); err != nil || !d.running {
		t.Errorf("the bot is not reached by its own user: %v", err)
	}
}

// Another user of the host may write to the directory of the database. While the bot is
// away they put a socket of their own in its place: `breakglass status` would be
// answered "nothing is open", and `revoke` with "done".
// What stops them: a command asks only on a socket that belongs to root, to itself, or
// to the owner of the database; and the bot, when it is back, does not take the place
// of somebody who answers.
func TestAttack_socketOfAnother(t *testing.T) {
	dir, ok := everybodys(t)
	if !ok {
		return
	}
	database := filepath.Join(dir, "breakglass.db")
	db, err := store.Open(database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	socket := socketPath(database)
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan struct{}, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked <- struct{}{}
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n" + versionHeader + ": 1\r\nContent-Length: 2\r\n\r\n{}"))
			_ = c.Close()
		}
	}()
	if err := os.Chown(socket, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t.Context(), database); err == nil || !strings.Contains(err.Error(), "belongs to another user (uid 65534) than the database, so nothing was asked") {
		t.Errorf("the command says %v", err)
	}
	if len(asked) != 0 {
		t.Error("the socket of another user was asked")
	}
	if _, err := listenDesk(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "another process answers on") {
		t.Errorf("the bot says %v", err)
	}
	if info, err := os.Lstat(socket); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("what stood there was replaced (%v)", err)
	}
}

// Another user of the host may write to the directory of the database, in which a bot
// that runs as root keeps it, and has exchanged it for one of their own, with their
// approvals in it.
//
// What stops them: a bot does not begin with the database of another user. (A command
// that only ends access may be root's, on the database of the bot's user.)
func TestAttack_databaseOfAnother(t *testing.T) {
	dir, ok := everybodys(t)
	if !ok {
		return
	}
	database := filepath.Join(dir, "breakglass.db")
	db, err := store.Open(database)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ownDatabase(database); err != nil {
		t.Errorf("our own database is refused: %v", err)
	}
	if err := os.Chown(database, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	if err := ownDatabase(database); err == nil || !strings.Contains(err.Error(), "it belongs to another user (uid 65534)") {
		t.Errorf("the database of another user is taken for ours: %v", err)
	}
}
