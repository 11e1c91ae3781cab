package awssim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// HTTPClient returns a client whose every request is answered by the World in
// the caller's goroutine, without a socket, whatever the URL. It works inside a
// testing/synctest bubble and returns as soon as the request's context ends.
func (w *World) HTTPClient() *http.Client {
	return &http.Client{Transport: transport{w}}
}

type transport struct{ w *World }

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	answer, err := t.w.serve(r.Context(), r)
	if err != nil {
		if errors.Is(err, errDropped) {
			// What a client sees of a connection that is cut while it waits.
			return nil, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
		}
		return nil, err
	}
	header := make(http.Header)
	for name, value := range answer.header {
		header.Set(name, value)
	}
	header.Set("Content-Type", answer.contentType)
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	return &http.Response{
		Status: fmt.Sprintf("%d %s", answer.status, http.StatusText(answer.status)), StatusCode: answer.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(answer.body)), ContentLength: int64(len(answer.body)),
		Request: r,
	}, nil
}

// A Server is a World on a loopback TCP port.
type Server struct {
	server *http.Server
	url    string
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start listens on a free port of the loopback interface. Clients find it
// through AWS_ENDPOINT_URL or aws.Config.BaseEndpoint.
func (w *World) Start() (*Server, error) {
	ctx, cancel := context.WithCancel(context.Background())
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		return nil, fmt.Errorf("listen for AWS calls: %w", err)
	}
	s := &Server{url: "http://" + listener.Addr().String(), cancel: cancel}
	s.server = &http.Server{
		Handler:           w,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	s.done.Go(func() {
		// Serve ends with ErrServerClosed, or earlier if the listener breaks,
		// which clients notice by themselves.
		_ = s.server.Serve(listener)
	})
	return s, nil
}

// URL returns the base URL, without a slash at the end.
func (s *Server) URL() string { return s.url }

// Close stops listening, ends what is being answered and cuts all connections.
func (s *Server) Close() error {
	s.cancel()
	err := s.server.Close()
	s.done.Wait()
	return err
}
