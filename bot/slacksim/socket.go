package slacksim

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// maxConnections is how many connections an app may have (docs.slack.dev, "Using Socket Mode").
	maxConnections = 10
	// debugLife is how long a connection lives that asked for debug_reconnects=true (same page).
	debugLife = 360 * time.Second
	// outbox is how many frames may wait for one connection.
	outbox = 4096
)

// SocketSettings are the timings of Socket Mode. The zero value of each means the default beside it.
type SocketSettings struct {
	// PingEvery is the time between two WebSocket PINGs; negative for none at all. Default 5 s. The real
	// period is not documented; slack-go reconnects when it hears none for 30 s
	// (socket_mode_managed_conn.go).
	PingEvery time.Duration
	// Life is how long a connection lives: approximate_connection_time. Default 18060 s, as in the
	// documentation's example.
	Life time.Duration
	// Warning is how long before its end a connection gets the disconnect frame with reason "warning".
	// Default 10 s.
	Warning time.Duration
	// TicketLife is how long the URL of apps.connections.open is good for. Default 30 s.
	TicketLife time.Duration
	// PongWithin is how long a connection may leave PINGs unanswered before it is closed. Default one
	// minute. That Slack does so is likely and not documented.
	PongWithin time.Duration
	// OwnAcksOnly ignores an ack that comes over another connection than its envelope went. What Slack
	// does is not documented; slack-go sends such acks after a reconnect.
	OwnAcksOnly bool
	// NewEnvelopeOnRetry gives the retries of an event a new envelope_id. They have been seen with the
	// same one (github.com/slackapi/bolt-js/issues/2487), which is the default.
	NewEnvelopeOnRetry bool
}

func (o SocketSettings) withDefaults() SocketSettings {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&o.PingEvery, 5*time.Second)
	set(&o.Life, 18060*time.Second)
	set(&o.Warning, 10*time.Second)
	set(&o.TicketLife, 30*time.Second)
	set(&o.PongWithin, time.Minute)
	return o
}

// Reasons of a disconnect frame.
const (
	ReasonWarning          = "warning"              // this connection ends soon
	ReasonRefreshRequested = "refresh_requested"    // this connection ends now
	ReasonLinkDisabled     = "link_disabled"        // Socket Mode was switched off
	ReasonTooMany          = "too_many_websockets"  // this was the eleventh
	hostName               = "applink-simulated-01" // debug_info.host
)

// connectionsOpen hands out the URL of a connection. Its ticket is good once and for a short while.
func (s *Slack) connectionsOpen(args) (object, *apiError) {
	s.opens = append(s.opens, time.Now())
	ticket := secret(16)
	s.tickets[ticket] = time.Now().Add(s.opt.Socket.TicketLife)
	return object{"url": s.socketURL(ticket)}, nil
}

// Opens returns when apps.connections.open succeeded, so that a test can hold an app to a budget of
// reconnects.
func (s *Slack) Opens() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.opens)
}

// Connection is one WebSocket of the app.
type Connection struct {
	slack *Slack
	id    int
	ws    *websocket.Conn
	out   chan frame
	gone  chan struct{}
	life  time.Duration
	dead  chan struct{} // closed by Stall

	// Guarded by slack.mu.
	leaving bool // was sent a disconnect frame
	extra   bool // refused, and so not counted
	quiet   bool // sends no PINGs
	stalled bool
	closed  bool
	pongs   int
	ponged  time.Time
}

// frame is one text frame; end closes the connection after it.
type frame struct {
	data []byte
	end  bool
}

// upgrader accepts any Origin: slack-go sends https://api.slack.com (socket_mode_managed_conn.go).
var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// serveSocket turns a request into a connection and reads from it until it ends.
func (s *Slack) serveSocket(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	s.mu.Lock()
	expires, ok := s.tickets[ticket]
	delete(s.tickets, ticket)
	s.mu.Unlock()
	if !ok || time.Now().After(expires) {
		http.Error(w, "invalid ticket", http.StatusUnauthorized) // The real status is not documented.
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered.
	}
	c := &Connection{
		slack: s, ws: ws, out: make(chan frame, outbox), gone: make(chan struct{}), dead: make(chan struct{}),
		life: s.opt.Socket.Life, ponged: time.Now(),
	}
	if r.URL.Query().Get("debug_reconnects") == "true" {
		c.life = debugLife
	}
	if !s.join(c) {
		_ = ws.Close()
		return
	}
	c.read()
}

// join puts a new connection on the list and greets it.
func (s *Slack) join(c *Connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.down {
		return false
	}
	s.connCount++
	c.id = s.connCount
	n := 0
	for _, o := range s.conns {
		if !o.extra {
			n++
		}
	}
	s.conns = append(s.conns, c)
	c.push(object{
		"type": "hello", "num_connections": n + 1, "connection_info": object{"app_id": s.opt.AppID},
		"debug_info": object{
			"host": hostName, "started": time.Now().UTC().Format("2006-01-02 15:04:05.000"), "build_number": 10,
			"approximate_connection_time": int(c.life.Seconds()),
		},
	})
	switch {
	case s.socketOff:
		c.extra = true
		c.leave(ReasonLinkDisabled, 0)
	case n >= maxConnections:
		c.extra = true
		c.leave(ReasonTooMany, 0)
	}
	s.start(c.write)
	s.tell()
	return true
}

// push queues a frame. The caller holds slack.mu.
func (c *Connection) push(v any) bool {
	select {
	case c.out <- frame{data: mustJSON(v)}:
		return true
	default:
		return false
	}
}

// leave sends a disconnect frame and closes the connection after lead. The caller holds slack.mu.
func (c *Connection) leave(reason string, lead time.Duration) {
	c.leaving = true
	data := mustJSON(object{"type": "disconnect", "reason": reason, "debug_info": object{"host": hostName}})
	select {
	case c.out <- frame{data: data, end: lead == 0}:
	default:
	}
	if lead > 0 {
		c.slack.later(lead, func() {
			select {
			case c.out <- frame{end: true}:
			case <-c.gone:
			}
		})
	}
}

// write sends frames and PINGs and minds the connection's life.
func (c *Connection) write() {
	ping := make(<-chan time.Time)
	if every := c.slack.opt.Socket.PingEvery; every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		ping = ticker.C
	}
	warn := time.NewTimer(max(0, c.life-c.slack.opt.Socket.Warning))
	defer warn.Stop()
	end := time.NewTimer(c.life)
	defer end.Stop()
	for {
		select {
		case f := <-c.out:
			if !c.send(f) {
				return
			}
		case <-ping:
			if !c.ping() {
				c.cut(false)
				return
			}
		case <-warn.C:
			c.Disconnect(ReasonWarning, -1)
		case <-end.C:
			c.Disconnect(ReasonRefreshRequested, 0)
		case <-c.gone:
			return
		}
	}
}

// send writes one frame and says whether there may be more.
func (c *Connection) send(f frame) bool {
	c.slack.mu.Lock()
	stalled := c.stalled
	c.slack.mu.Unlock()
	if f.data != nil && !stalled { // What is sent to a host that is gone goes into the void.
		_ = c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if c.ws.WriteMessage(websocket.TextMessage, f.data) != nil {
			c.cut(false)
			return false
		}
	}
	if f.end {
		c.cut(!stalled)
		return false
	}
	return true
}

// ping sends a PING and says whether the connection may live on.
func (c *Connection) ping() bool {
	c.slack.mu.Lock()
	quiet, stalled := c.quiet, c.stalled
	late := time.Since(c.ponged) > c.slack.opt.Socket.PongWithin
	c.slack.mu.Unlock()
	switch {
	case quiet:
		return true
	case late:
		return false
	case stalled:
		return true
	}
	return c.ws.WriteControl(websocket.PingMessage, []byte("Ping from "+hostName), time.Now().Add(10*time.Second)) == nil
}

// read takes frames until the connection ends. The client's PINGs are answered by gorilla's own handler.
func (c *Connection) read() {
	defer c.ws.Close()
	defer c.cut(false)
	c.ws.SetPongHandler(func(string) error {
		c.slack.mu.Lock()
		defer c.slack.mu.Unlock()
		c.pongs++
		c.ponged = time.Now()
		return nil
	})
	for {
		typ, data, err := c.ws.ReadMessage()
		select {
		case <-c.dead:
			<-c.gone // Half-open: Slack hears nothing any more, not even that the other end has closed.
			return
		default:
		}
		if err != nil {
			return
		}
		if typ == websocket.TextMessage {
			c.slack.receive(c, data)
		}
	}
}

// cut closes the connection, with a close frame or without.
func (c *Connection) cut(politely bool) {
	s := c.slack
	s.mu.Lock()
	first := !c.closed
	if first {
		c.closed = true
		s.conns = slices.DeleteFunc(s.conns, func(o *Connection) bool { return o == c })
		close(c.gone)
		s.tell()
	}
	s.mu.Unlock()
	if !first {
		return
	}
	if politely {
		// As RFC 6455, 7.1.1 has it: read on until the other end has closed too, or else what it has not
		// read yet is lost to it. read closes the connection.
		_ = c.ws.WriteControl(websocket.CloseMessage,
			websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
		_ = c.ws.NetConn().SetReadDeadline(time.Now().Add(time.Second))
		return
	}
	_ = c.ws.Close()
}

// Connections returns the open connections, oldest first.
func (s *Slack) Connections() []*Connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.conns)
}

// WaitConnections waits until exactly n connections are open that were not told to leave.
func (s *Slack) WaitConnections(ctx context.Context, n int) error {
	have := 0
	err := s.Wait(ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		have = 0
		for _, c := range s.conns {
			if !c.leaving {
				have++
			}
		}
		return have == n
	})
	if err != nil {
		return fmt.Errorf("%d connections, want %d: %w", have, n, err)
	}
	return nil
}

// ID numbers the connections of a Slack from 1.
func (c *Connection) ID() int { return c.id }

// Open says whether the connection is still open at Slack's end.
func (c *Connection) Open() bool {
	c.slack.mu.Lock()
	defer c.slack.mu.Unlock()
	return !c.closed
}

// Pongs counts the PONGs that came back.
func (c *Connection) Pongs() int {
	c.slack.mu.Lock()
	defer c.slack.mu.Unlock()
	return c.pongs
}

// Disconnect sends a disconnect frame and closes the connection after lead, unless the app does first; a
// negative lead leaves the closing to the end of the connection's life. In between, the connection takes
// envelopes only if there is no other.
func (c *Connection) Disconnect(reason string, lead time.Duration) {
	c.slack.mu.Lock()
	defer c.slack.mu.Unlock()
	if !c.closed {
		c.leave(reason, lead)
		c.slack.tell()
	}
}

// Drop breaks the connection off with no close frame; what was on its way is lost.
func (c *Connection) Drop() {
	switch n := c.ws.NetConn().(type) {
	case *pipe:
		n.reset()
	case *net.TCPConn:
		_ = n.SetLinger(0)
	}
	c.cut(false)
}

// Stall makes the connection half-open: Slack believes in it and sends envelopes to it, but nothing goes
// through any more in either direction, until it gives up (SocketSettings.PongWithin).
func (c *Connection) Stall() {
	c.slack.mu.Lock()
	defer c.slack.mu.Unlock()
	if !c.stalled {
		c.stalled = true
		close(c.dead)
	}
}

// StopPings ends the PINGs.
func (c *Connection) StopPings() {
	c.slack.mu.Lock()
	defer c.slack.mu.Unlock()
	c.quiet = true
}

// SendText sends a text frame as it is: something that is not JSON, a type that nobody knows.
func (c *Connection) SendText(text string) {
	c.slack.mu.Lock()
	defer c.slack.mu.Unlock()
	select {
	case c.out <- frame{data: []byte(text)}:
	default:
	}
}

// DisconnectAll is Disconnect for every connection.
func (s *Slack) DisconnectAll(reason string, lead time.Duration) {
	for _, c := range s.Connections() {
		c.Disconnect(reason, lead)
	}
}

// SetSocketMode switches Socket Mode off for the app, or on again. While it is off, every connection is
// told link_disabled, the new ones right after their hello.
func (s *Slack) SetSocketMode(on bool) {
	s.mu.Lock()
	s.socketOff = !on
	s.mu.Unlock()
	if !on {
		s.DisconnectAll(ReasonLinkDisabled, 0)
	}
}

// SetChooser decides which connection gets an envelope; nil goes back to taking turns. choose gets at
// least one connection and must not call the Slack.
func (s *Slack) SetChooser(choose func([]*Connection) *Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.choose = choose
}

// pickConnection takes the connections in turn, those that were not told to leave first. The caller
// holds mu.
func (s *Slack) pickConnection() *Connection {
	var fresh, leaving []*Connection
	for _, c := range s.conns {
		switch {
		case c.extra:
		case c.leaving:
			leaving = append(leaving, c)
		default:
			fresh = append(fresh, c)
		}
	}
	if s.choose != nil && len(fresh)+len(leaving) > 0 {
		return s.choose(append(fresh, leaving...))
	}
	if len(fresh) == 0 {
		fresh = leaving
	}
	if len(fresh) == 0 {
		return nil
	}
	s.nextConn++
	return fresh[s.nextConn%len(fresh)]
}

// Ack is a frame that the app sent: usually the ack of an envelope.
type Ack struct {
	EnvelopeID string
	Connection int // over which it came
	At         time.Time
	Payload    json.RawMessage
	Size       int
	Verdict    Verdict
}

// Verdict says what became of an ack.
type Verdict string

// The verdicts.
const (
	AckTaken     Verdict = "taken"
	AckLate      Verdict = "late"       // after the three seconds
	AckDuplicate Verdict = "duplicate"  // acked before
	AckUnknown   Verdict = "unknown"    // no such envelope
	AckTooLarge  Verdict = "too large"  // 20 KB or more: dropped without a word
	AckElsewhere Verdict = "elsewhere"  // over another connection, with OwnAcksOnly
	AckLost      Verdict = "lost"       // on its way: DeliveryFault.LoseAck
	AckMalformed Verdict = "not an ack" // no JSON object with an envelope_id
)

// Acks returns every frame that the app sent, oldest first.
func (s *Slack) Acks() []Ack {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.acks)
}
