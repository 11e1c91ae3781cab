package bot

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// An ear notes when something was last heard over a socket's connection. Slack's
// pings are answered inside slack-go and shown to nobody, so it listens below: what
// arrives on a connection to Slack comes from Slack, and in between envelopes that
// is a ping every few seconds.
type ear struct{ heard atomic.Int64 } // Unix time in nanoseconds; zero: nothing yet

func (e *ear) at() time.Time {
	if n := e.heard.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// dialer is the dialer with the ear on its connections. Without one it is made as
// slack-go would make its own (socketmode.go of v0.35.0).
func (e *ear) dialer(like *websocket.Dialer) *websocket.Dialer {
	d := &websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: 45 * time.Second, WriteBufferSize: 32 << 10}
	if like != nil {
		c := *like
		d = &c
	}
	type dial = func(ctx context.Context, network, addr string) (net.Conn, error)
	on := func(dial dial) dial {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &heardConn{Conn: c, ear: e}, nil
		}
	}
	plain := d.NetDialContext
	if plain == nil && d.NetDial != nil {
		old := d.NetDial
		plain = func(_ context.Context, network, addr string) (net.Conn, error) { return old(network, addr) }
	}
	if plain == nil {
		plain = (&net.Dialer{}).DialContext
	}
	d.NetDial, d.NetDialContext = nil, on(plain)
	if d.NetDialTLSContext != nil {
		d.NetDialTLSContext = on(d.NetDialTLSContext)
	}
	return d
}

type heardConn struct {
	net.Conn
	ear *ear
}

func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.ear.heard.Store(time.Now().UnixNano())
	}
	return n, err
}
