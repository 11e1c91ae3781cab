package slacksim

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipeBuffer is how many bytes one direction of an in-memory connection holds before a writer has to
// wait. It plays the part of the kernel's socket buffers: without it (net.Pipe has none) two ends that
// write at the same time wait for each other for ever.
const pipeBuffer = 256 << 10

// listener is a net.Listener with no socket under it. Everything in it waits on channels and timers of
// package time alone, which is what testing/synctest needs to see that a goroutine is idle.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return memoryAddr{} }

// dial makes a connection and hands its other end to Accept.
func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	client, server := newPipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memoryAddr{}, Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "memory", Addr: memoryAddr{}, Err: context.Cause(ctx)}
	}
}

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "slack.sim:80" }

// pipe is one end of an in-memory connection.
type pipe struct {
	in, out *flow
	read    *deadline
	write   *deadline
}

func newPipe() (client, server *pipe) {
	up, down := newFlow(), newFlow()
	client = &pipe{in: down, out: up, read: newDeadline(), write: newDeadline()}
	server = &pipe{in: up, out: down, read: newDeadline(), write: newDeadline()}
	return client, server
}

func (p *pipe) Read(b []byte) (int, error)  { return p.in.read(b, p.read) }
func (p *pipe) Write(b []byte) (int, error) { return p.out.write(b, p.write) }

// Close ends both directions: the other end reads what is still on its way and then EOF.
func (p *pipe) Close() error {
	p.in.shut(net.ErrClosed, syscall.EPIPE)
	p.out.shut(io.EOF, net.ErrClosed)
	return nil
}

// reset is Close as a lost host does it: what is on its way is lost too.
func (p *pipe) reset() {
	p.out.drop()
	p.in.shut(net.ErrClosed, syscall.ECONNRESET)
	p.out.shut(syscall.ECONNRESET, net.ErrClosed)
}

func (p *pipe) LocalAddr() net.Addr  { return memoryAddr{} }
func (p *pipe) RemoteAddr() net.Addr { return memoryAddr{} }

func (p *pipe) SetDeadline(t time.Time) error {
	p.read.set(t)
	p.write.set(t)
	return nil
}

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.read.set(t)
	return nil
}

func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.write.set(t)
	return nil
}

// flow is one direction of a pipe: bytes in order, and at most pipeBuffer of them.
type flow struct {
	mu       sync.Mutex
	buf      []byte
	readErr  error // what a reader gets once buf is empty
	writeErr error // what a writer gets
	moved    chan struct{}
}

func newFlow() *flow { return &flow{moved: make(chan struct{})} }

// wake tells everyone who waits that the flow changed. The caller holds mu.
func (f *flow) wake() {
	close(f.moved)
	f.moved = make(chan struct{})
}

func (f *flow) shut(readErr, writeErr error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// The side that closes first decides what the other one sees; its own reads and writes say "closed".
	if f.readErr == nil || errors.Is(readErr, net.ErrClosed) {
		f.readErr = readErr
	}
	if errors.Is(readErr, net.ErrClosed) {
		f.buf = nil
	}
	if f.writeErr == nil || errors.Is(writeErr, net.ErrClosed) {
		f.writeErr = writeErr
	}
	f.wake()
}

func (f *flow) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buf = nil
}

func (f *flow) read(b []byte, d *deadline) (int, error) {
	for {
		f.mu.Lock()
		switch {
		case errors.Is(f.readErr, net.ErrClosed):
			f.mu.Unlock()
			return 0, net.ErrClosed
		case d.passed():
			f.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			f.mu.Unlock()
			return 0, nil
		case len(f.buf) > 0:
			n := copy(b, f.buf)
			f.buf = f.buf[n:]
			f.wake()
			f.mu.Unlock()
			return n, nil
		case f.readErr != nil:
			err := f.readErr
			f.mu.Unlock()
			return 0, err
		}
		moved := f.moved
		f.mu.Unlock()
		d.wait(moved)
	}
}

func (f *flow) write(b []byte, d *deadline) (int, error) {
	sent := 0
	for {
		f.mu.Lock()
		if f.writeErr != nil {
			err := f.writeErr
			f.mu.Unlock()
			return sent, err
		}
		if d.passed() {
			f.mu.Unlock()
			return sent, os.ErrDeadlineExceeded
		}
		if n := min(len(b), pipeBuffer-len(f.buf)); n > 0 {
			f.buf = append(f.buf, b[:n]...)
			b, sent = b[n:], sent+n
			f.wake()
		}
		moved := f.moved
		f.mu.Unlock()
		if len(b) == 0 {
			return sent, nil
		}
		d.wait(moved)
	}
}

// deadline is the read or the write deadline of one end. Setting it wakes whoever waits under it, as
// net.Conn promises: net/http interrupts a read by setting a deadline in the past.
type deadline struct {
	mu      sync.Mutex
	at      time.Time
	timer   *time.Timer
	changed chan struct{}
}

func newDeadline() *deadline { return &deadline{changed: make(chan struct{})} }

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	if !t.IsZero() {
		if left := time.Until(t); left > 0 {
			d.timer = time.AfterFunc(left, d.wake)
		}
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *deadline) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *deadline) passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.at.IsZero() && !time.Now().Before(d.at)
}

// wait returns when moved is closed or the deadline passes or is moved. A deadline that passed between
// the caller's check and this call has closed the channel that the caller saw, so it is looked at again.
func (d *deadline) wait(moved <-chan struct{}) {
	d.mu.Lock()
	if !d.at.IsZero() && !time.Now().Before(d.at) {
		d.mu.Unlock()
		return
	}
	changed := d.changed
	d.mu.Unlock()
	select {
	case <-moved:
	case <-changed:
	}
}
