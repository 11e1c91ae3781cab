package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"breakglass/store"
	"breakglass/store/grant"
)

// The desk is where the operator's commands ask: a Unix socket beside the
// database, for its owner alone, with plain HTTP and JSON. With no bot running a
// command opens the database itself and serves the same handlers to itself over
// a pipe, so that both ways give the same answers.
//
// A new question is a line in [deskMux], a handler in the file of its command,
// and a call of [desk.get], [desk.post] or [desk.stream].

// deskData is what the desk answers from.
type deskData struct {
	db    *store.Store
	cells []grant.CellName // those of the configuration
	log   *slog.Logger
}

// deskMux registers every handler. The version is in the path: within one only
// optional fields are added.
func deskMux(d deskData) http.Handler {
	mux := http.NewServeMux()
	handle(mux, "GET /v1/hello", d.hello)
	handle(mux, "GET /v1/status", d.status)
	handle(mux, "GET /v1/grants/{id}", d.show)
	handle(mux, "GET /v1/history", d.history)
	handle(mux, "GET /v1/revoke", d.revokePlan)
	handle(mux, "POST /v1/revoke", d.revokeNow)
	handle(mux, "GET /v1/audit/head", d.auditHead)
	handle(mux, "GET /v1/audit/verify", d.auditVerify)
	mux.HandleFunc("GET /v1/audit/entries", d.auditEntries)
	mux.HandleFunc("GET /v1/backup", d.backup)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, &deskProblem{
			status: http.StatusNotFound, Code: "unknown",
			Text: fmt.Sprintf("breakglass %s does not know %s %s", buildVersion(), r.Method, r.URL.Path),
		})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(versionHeader, buildVersion())
		mux.ServeHTTP(w, r)
	})
}

// versionHeader is in every answer, so that a command knows whom it talks to.
const versionHeader = "Breakglass-Version"

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// handle registers a handler that answers JSON, or an error in a plain sentence.
func handle[T any](mux *http.ServeMux, pattern string, answer func(*http.Request) (T, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v, err := answer(r)
		if err != nil {
			writeProblem(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // whoever has hung up needs no answer
	})
}

// readBody reads the JSON that a command has sent.
func readBody(r *http.Request, into any) error {
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<20))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return badAsk("the request cannot be read: %v", err)
	}
	return nil
}

// deskProblem is an answer other than what was asked for.
type deskProblem struct { //nolint:errname // it is the answer, and named for what it tells
	status int
	Code   string `json:"code"`
	Text   string `json:"error"` // a plain sentence
}

func (p *deskProblem) Error() string { return p.Text }

func badAsk(format string, args ...any) error {
	return &deskProblem{status: http.StatusBadRequest, Code: string(grant.BadRequest), Text: fmt.Sprintf(format, args...)}
}

func notThere(format string, args ...any) error {
	return &deskProblem{status: http.StatusNotFound, Code: string(grant.NotFound), Text: fmt.Sprintf(format, args...)}
}

func writeProblem(w http.ResponseWriter, err error) {
	p, ok := errors.AsType[*deskProblem](err)
	if r, refused := errors.AsType[*grant.Refusal](err); refused && !ok {
		// What is said in Slack with a slash is typed here without one.
		p = &deskProblem{status: http.StatusConflict, Code: string(r.Code), Text: strings.ReplaceAll(r.Text, "`/breakglass", "`breakglass")}
		switch r.Code {
		case grant.NotFound:
			p.status = http.StatusNotFound
		case grant.BadRequest:
			p.status = http.StatusBadRequest
		default:
		}
	} else if !ok {
		p = &deskProblem{status: http.StatusInternalServerError, Code: "failed", Text: err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(p)
}

// helloAnswer says who answers.
type helloAnswer struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
}

func (d deskData) hello(*http.Request) (helloAnswer, error) {
	return helloAnswer{Version: buildVersion(), PID: os.Getpid()}, nil
}

// patient bounds each single write of an answer that is long, not the answer: a
// reader that has stopped reading must not hold the database for ever, as a
// transaction that stays open does.
type patient struct {
	w    http.ResponseWriter
	each time.Duration
}

const writePatience = 30 * time.Second

func (p patient) Write(b []byte) (int, error) {
	if err := http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(p.each)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}

// ---- The bot's side.

// socketPath is where the desk of a database is.
func socketPath(database string) string { return database + ".sock" }

// longestSocketPath is what sockaddr_un holds, without its final zero.
func longestSocketPath() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

// listenDesk makes the socket. It is bound in a new directory that only its owner
// may enter, and moved into its place when its mode is right: there is no moment in
// which others could connect, and a socket that is left over is replaced in one
// step. Nothing but such a socket is ever replaced.
func listenDesk(ctx context.Context, path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is not a socket: move it away, and restart the bot", path)
	default:
		if err := leftOver(ctx, path); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".d*") // with mode 0700
	if err != nil {
		return nil, fmt.Errorf("make a place for the socket: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bound := filepath.Join(dir, "s")
	if n := max(len(bound), len(path)); n > longestSocketPath() {
		return nil, fmt.Errorf("its path would have %d bytes, and the system takes %d: give store.path a shorter one", n, longestSocketPath())
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", bound)
	if err != nil {
		return nil, fmt.Errorf("make the socket: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // its name changes
	err = os.Chmod(bound, 0o600)
	if err == nil {
		err = os.Rename(bound, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("put the socket in place: %w", err), l.Close())
	}
	return l, nil
}

// leftOver answers nil if nobody listens on the socket any more.
func leftOver(ctx context.Context, path string) error {
	conn, err := connect(ctx, path)
	switch {
	case err == nil:
		return errors.Join(fmt.Errorf("another process answers on %s: stop it, and restart the bot", path), conn.Close())
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return fmt.Errorf("it cannot be told whether another process still uses %s: %w", path, err)
	}
}

func connect(ctx context.Context, path string) (net.Conn, error) {
	d := net.Dialer{Timeout: deskPatience}
	return d.DialContext(ctx, "unix", path)
}

// openDesk makes the socket and answers what serves it until a context ends. Without
// a desk the bot is as good as before, so whatever goes wrong is said in the log and
// stops nothing.
func openDesk(ctx context.Context, database string, d deskData) (serve func(context.Context)) {
	path := socketPath(database)
	if text := openToOthers(filepath.Dir(path)); text != "" {
		d.log.WarnContext(ctx, "others may replace the database and its socket", "why", text)
	}
	l, err := listenDesk(ctx, path)
	if err != nil {
		d.log.WarnContext(ctx, "operator commands cannot reach this bot, which goes on without", "socket", path, "err", err)
		return func(context.Context) {}
	}
	mine, err := os.Lstat(path)
	if err != nil {
		d.log.WarnContext(ctx, "the socket for operator commands is gone", "socket", path, "err", err)
	}
	return func(ctx context.Context) {
		if err := serveDesk(ctx, l, deskMux(d)); err != nil {
			d.log.ErrorContext(ctx, "operator commands are not answered any more", "socket", path, "err", err)
		}
		if now, err := os.Lstat(path); err == nil && mine != nil && os.SameFile(mine, now) {
			_ = os.Remove(path)
		}
	}
}

// openToOthers says that others than its owner may exchange the files in a
// directory; empty: they may not.
func openToOthers(dir string) string {
	info, err := os.Stat(dir)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o022 == 0 || info.Mode()&fs.ModeSticky != 0 {
		return ""
	}
	return fmt.Sprintf("others than its owner may write to the directory %s (mode %04o): chmod go-w it, and ask who has", dir, info.Mode().Perm())
}

// ownDatabase refuses to begin with a database that another user may have put in the
// place of ours, with approvals of their own in it. Where nobody else may read such a
// file, only root can: a command that ends access may do so, a bot that opens it not.
func ownDatabase(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return nil //nolint:nilerr // a first start, or [store.Open] says it better
	}
	uid, known := ownerOf(info)
	if !known || uid == 0 || uid == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("open the database %s: it belongs to another user (uid %d) than the bot runs as (uid %d), who may have put it there. Run the bot as that user, or make sure that it is yours and chown it", path, uid, os.Geteuid())
}

// serveDesk answers on a listener until the context ends, and returns when no
// handler runs any more: then the database may be closed.
func serveDesk(ctx context.Context, l net.Listener, handler http.Handler) error {
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: deskPatience, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		ConnContext: withPeer,
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // a command that was interrupted is no news
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(bye) != nil {
			_ = srv.Close() // a long answer is cut off, and the command says so
		}
	})
	err := srv.Serve(l)
	if !stop() {
		<-stopped
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, srv.Close())
	}
	return nil
}

// ---- The command's side.

// deskPatience is how long a command waits for the running bot to say hello.
const deskPatience = 5 * time.Second

// desk answers the questions of one command.
type desk struct {
	client *http.Client
	// running says that the bot answers; otherwise it is the database itself.
	running bool
	close   func() error
}

// errNoBot: no bot runs on this database, as far as the socket tells.
var errNoBot = errors.New("no bot is running")

// dial reaches the running bot of a database; errNoBot if none runs.
func dial(ctx context.Context, database string) (*desk, error) {
	path := socketPath(database)
	if err := trustSocket(path, database); err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx, path) },
	}
	d := &desk{client: &http.Client{Transport: transport}, running: true, close: func() error { return nil }}
	hello, cancel := context.WithTimeoutCause(ctx, deskPatience, errors.New("no answer within "+grant.FormatDuration(deskPatience)))
	defer cancel()
	err := d.get(hello, "/v1/hello", nil, &helloAnswer{})
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errNoBot
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the bot runs as another user, and only that user or root may use %s: run this command as that user", path)
	case hello.Err() != nil && ctx.Err() == nil:
		return nil, fmt.Errorf("a bot holds %s but has not answered within %s: look at its log; if it hangs, restart it (access ends in AWS meanwhile). %s", path, grant.FormatDuration(deskPatience), fromAWS)
	default:
		return nil, fmt.Errorf("ask the running bot on %s: %w", path, err)
	}
}

// trustSocket refuses what somebody else may have put in the socket's place.
func trustSocket(path, database string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNoBot
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not look into %s: run this command as the bot's user", filepath.Dir(path))
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return errNoBot // whatever it is, no bot has made it
	}
	uid, known := ownerOf(info)
	if !known || uid == 0 || uid == os.Geteuid() {
		return nil
	}
	if db, err := os.Lstat(database); err == nil {
		if owner, _ := ownerOf(db); owner == uid {
			return nil
		}
	}
	return fmt.Errorf("%s belongs to another user (uid %d) than the database, so nothing was asked: find out who put it there, and remove it", path, uid)
}

// reach answers a command's questions: through the running bot, and with no bot
// running from the database itself, which is only read. Call close when done.
func reach(env *environment) (*desk, error) {
	cfg, err := loadConfig(env.config)
	if err != nil {
		return nil, err
	}
	path := cfg.Store.Path
	d, err := dial(env.ctx, path)
	if !errors.Is(err, errNoBot) {
		return d, err
	}
	db, err := store.OpenReadOnly(path)
	if errors.Is(err, store.ErrHeld) {
		// A bot that has just started holds the file a moment before it answers.
		if d, err := dial(env.ctx, path); !errors.Is(err, errNoBot) {
			return d, err
		}
		return nil, fmt.Errorf("another process has %s open, but no bot answers on %s. If the bot has just started, try again; if it runs without that socket, its log says why. %s", path, socketPath(path), fromAWS)
	}
	if err != nil {
		return nil, databaseTrouble(err)
	}
	return readDirectly(env.ctx, db, deskData{db: db, cells: cfg.cellNames(), log: slog.New(slog.DiscardHandler)}), nil
}

func (c Config) cellNames() []grant.CellName {
	names := make([]grant.CellName, len(c.Cells))
	for i, cell := range c.Cells {
		names[i] = cell.Name
	}
	return names
}

// readDirectly has the handlers answer this very process.
func readDirectly(ctx context.Context, db *store.Store, data deskData) *desk {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until close
	l := newPipes()
	served := make(chan error, 1)
	go func() { served <- serveDesk(ctx, l, deskMux(data)) }()
	return &desk{
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: l.dial}},
		close: func() error {
			cancel()
			return errors.Join(<-served, db.Close())
		},
	}
}

// pipes is a listener within the process.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Accept waits for the next call of dial.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends dial and Accept.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is no place that anybody else could find.
func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "(this process)", Net: "unix"} }

// get asks, and reads the answer into into.
func (d *desk) get(ctx context.Context, path string, query url.Values, into any) error {
	body, err := d.ask(ctx, http.MethodGet, path, query, nil)
	return readAnswer(body, into, err)
}

// post sends JSON, and reads the answer into into.
func (d *desk) post(ctx context.Context, path string, send, into any) error {
	data, err := json.Marshal(send)
	if err != nil {
		return err
	}
	body, err := d.ask(ctx, http.MethodPost, path, nil, strings.NewReader(string(data)))
	return readAnswer(body, into, err)
}

// stream asks for a long answer. Its end is io.EOF only if it is whole.
func (d *desk) stream(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	return d.ask(ctx, http.MethodGet, path, query, nil)
}

func readAnswer(body io.ReadCloser, into any, err error) error {
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("the answer cannot be read, so it is perhaps of another version of breakglass: %w", err)
	}
	return nil
}

func (d *desk) ask(ctx context.Context, method, path string, query url.Values, send io.Reader) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "desk", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), send)
	if err != nil {
		return nil, err
	}
	if send != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := d.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the address says nothing to anybody
		}
		return nil, err
	}
	version := resp.Header.Get(versionHeader)
	switch {
	case version == "":
		return nil, errors.Join(errors.New("what answers there is not breakglass: find out what it is"), resp.Body.Close())
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	p := &deskProblem{status: resp.StatusCode}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(p); err != nil || p.Text == "" || p.Code == "unknown" {
		return nil, fmt.Errorf("the bot that runs is breakglass %s and does not understand this one, %s: use the same program for both, or restart the bot with this one", version, buildVersion())
	}
	return nil, p
}

// fromAWS is the way that is left when the database cannot be used.
const fromAWS = "To end access now, without the database: `breakglass revoke --from-aws --all`"

// databaseTrouble says what is left to do when the database cannot be opened.
func databaseTrouble(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrHeld):
		return fmt.Errorf("%w; `breakglass status` asks it how things stand.\nIf it cannot be stopped: %s", err, fromAWS)
	}
	remedy := diskRemedy(err)
	if remedy != "" {
		remedy = " " + remedy
	}
	return fmt.Errorf("%w.%s\n%s", err, remedy, withoutDatabase)
}

const withoutDatabase = "What is open in AWS ends there at its own time. " + fromAWS

// diskRemedy is what to do about a file that the system does not give us; empty: it is
// not the system.
func diskRemedy(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "Its disk takes no writes: mount it for writing."
	case errors.Is(err, syscall.ENOSPC):
		return "Its disk is full: make room."
	case errors.Is(err, fs.ErrPermission):
		return "This user may not: run it as the bot's user."
	default:
		return ""
	}
}
