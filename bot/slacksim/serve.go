package slacksim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

var errClosed = errors.New("slacksim: closed")

// memoryBase is where a Slack without a TCP port lives. The name is never looked up: HTTPClient and
// Dialer go to memory whatever the host is called.
const memoryBase = "http://localhost"

// listen makes the in-memory way in. It is called once, from New.
func (s *Slack) listen() {
	s.net = newListener()
	s.base = memoryBase
	s.server = s.httpServer()
	s.work.Go(func() { _ = s.server.Serve(s.net) }) // Serve always returns an error; Close is the reason.
}

func (s *Slack) httpServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/", s.serveAPI)
	mux.HandleFunc("/link/", s.serveSocket)
	mux.HandleFunc("/actions/", s.serveResponseURL)
	mux.HandleFunc("/commands/", s.serveResponseURL)
	mux.HandleFunc("/app/", s.serveResponseURL)
	return &http.Server{
		Handler:           s.counted(mux),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
}

// counted lets Close wait for every request, and plays dead while the Slack is down.
func (s *Slack) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		gone := s.closed || s.down
		if !gone {
			s.work.Add(1)
		}
		s.mu.Unlock()
		if gone {
			panic(http.ErrAbortHandler) // net/http closes the connection without an answer and without a log line.
		}
		defer s.work.Done()
		next.ServeHTTP(w, r)
	})
}

// Start also serves on a TCP address, "127.0.0.1:0" if addr is empty. From then on every URL that this
// Slack hands out points there.
func (s *Slack) Start(addr string) error {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for the simulated Slack: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.tcp != nil {
		_ = ln.Close()
		return errors.New("slacksim: closed, or started before")
	}
	s.tcp = s.httpServer()
	s.base = "http://" + ln.Addr().String()
	server := s.tcp
	s.start(func() { _ = server.Serve(ln) })
	return nil
}

// APIURL is what an app sets as the address of the Web API. It ends in /api/.
func (s *Slack) APIURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base + "/api/"
}

// Dial connects in memory, whatever the network and the address are.
func (s *Slack) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memoryAddr{}, Err: syscall.ECONNREFUSED}
	}
	return s.net.dial(ctx)
}

// Transport is an HTTP transport that connects in memory. Close ends its connections.
func (s *Slack) Transport() *http.Transport {
	t := &http.Transport{DialContext: s.Dial, DisableCompression: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, t)
	return t
}

// HTTPClient is an HTTP client that connects in memory. Like http.DefaultClient it has no timeout.
func (s *Slack) HTTPClient() *http.Client { return &http.Client{Transport: s.Transport()} }

// Dialer is a WebSocket dialer that connects in memory.
func (s *Slack) Dialer() *websocket.Dialer {
	return &websocket.Dialer{NetDialContext: s.Dial, HandshakeTimeout: 45 * time.Second}
}

// SetDown takes the whole Slack off the network, or puts it back: while it is down nothing connects and
// every connection is cut. What is stored stays.
func (s *Slack) SetDown(down bool) {
	s.mu.Lock()
	s.down = down
	conns := append([]*Connection(nil), s.conns...)
	s.mu.Unlock()
	if down {
		for _, c := range conns {
			c.Drop()
		}
		s.mu.Lock()
		for _, t := range s.clients {
			t.CloseIdleConnections()
		}
		s.mu.Unlock()
	}
}

// Close ends everything: connections, timers, goroutines. It waits until they are gone.
func (s *Slack) Close() {
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		close(s.done)
		s.tell()
		conns := append([]*Connection(nil), s.conns...)
		clients := append([]*http.Transport(nil), s.clients...)
		tcp := s.tcp
		s.mu.Unlock()
		for _, c := range conns {
			c.cut(false)
		}
		_ = s.server.Close()
		_ = s.net.Close()
		if tcp != nil {
			_ = tcp.Close()
		}
		for _, t := range clients {
			t.CloseIdleConnections()
		}
	})
	s.work.Wait()
}

// socketURL turns the base into the address of the WebSocket endpoint. The caller holds mu.
func (s *Slack) socketURL(ticket string) string {
	return "ws" + strings.TrimPrefix(s.base, "http") + "/link/?ticket=" + ticket + "&app_id=" + s.opt.AppID
}
