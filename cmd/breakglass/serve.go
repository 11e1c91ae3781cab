package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"breakglass/bot"
)

// serve answers /healthz as long as the process works, /readyz with 200 only while
// the bot can take in what people want and do it, and /metrics.
func serve(ctx context.Context, addr string, b *bot.Bot, m *metrics, log *slog.Logger) error {
	mux := http.NewServeMux()
	answer := func(is func() error, yes string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if err := is(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			_, _ = fmt.Fprintln(w, yes)
		}
	}
	mux.HandleFunc("GET /healthz", answer(b.Working, "ok"))
	mux.HandleFunc("GET /readyz", answer(b.Ready, "ready"))
	mux.HandleFunc("GET /metrics", m.serve(log))
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening on %s (the configuration's listen): %w", addr, err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(bye)
	})
	defer stop()
	log.Info("health is served", "address", l.Addr().String())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving health: %w", err)
	}
	return nil
}
