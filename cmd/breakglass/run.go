package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"breakglass/actions"
	"breakglass/bot"
	"breakglass/store"
)

type runCommand struct{}

// Run is `breakglass run`.
func (runCommand) Run(env *environment) error {
	hup, deaf := hangups() // before anything else: a signal too early must not end us
	defer deaf()
	cfg, err := loadConfig(env.config)
	if err != nil {
		return err
	}
	secrets, err := loadSecrets(env.getenv)
	if err != nil {
		return err
	}
	if err := ownDatabase(cfg.Store.Path); err != nil {
		return databaseTrouble(err)
	}
	db, err := store.Open(cfg.Store.Path)
	if err != nil {
		return databaseTrouble(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			env.log.Error("the database did not close cleanly", "err", err)
		}
	}()
	aws, err := actions.New(env.ctx, actions.Options{Cells: cfg.awsCells(), Vendor: cfg.Policy().Vendor, Log: env.log})
	if err != nil {
		return err
	}
	b, err := bot.New(bot.Options{
		Channel: cfg.Slack.Channel, Team: cfg.Slack.Team, APIURL: cfg.Slack.APIURL,
		BotToken: string(secrets.BotToken), AppToken: string(secrets.AppToken),
		People: cfg.botPeople(), Policy: cfg.Policy(), Store: db, AWS: aws, Log: env.log,
	})
	if err != nil {
		return err
	}
	env.log.Info("breakglass starts", "config", env.config, "digest", cfg.Digest, "database", cfg.Store.Path, "cells", len(cfg.Cells))
	serveOperators := openDesk(env.ctx, cfg.Store.Path, deskData{db: db, cells: cfg.cellNames(), log: env.log})
	group, ctx := errgroup.WithContext(env.ctx)
	group.Go(func() error { return b.Run(ctx) })
	group.Go(func() error { serveOperators(ctx); return nil })
	again := &reloader{path: env.config, inForce: cfg, bot: b, log: env.log}
	group.Go(func() error { again.run(ctx, hup); return nil })
	if cfg.Store.HeadFile != "" {
		heads := &headKeeper{db: db, path: cfg.Store.HeadFile, log: env.log}
		group.Go(func() error { heads.run(ctx); return nil })
		defer heads.note() // when nothing is written any more, and before the database is closed
	}
	if cfg.Listen != "" {
		group.Go(func() error { return serveHealth(ctx, cfg.Listen, b, env.log) })
	}
	err = group.Wait()
	if env.ctx.Err() != nil {
		env.log.Info("breakglass stops", "why", context.Cause(env.ctx).Error())
	}
	return err
}

// awsCells are the cells as package actions wants them.
func (c Config) awsCells() []actions.Cell {
	cells := make([]actions.Cell, len(c.Cells))
	for i, cell := range c.Cells {
		cells[i] = actions.Cell{
			Name: cell.Name, Account: cell.Account, Region: cell.Region, EKSCluster: cell.EKSCluster,
			Role: cell.Role, LogGroup: cell.LogGroup, Instance: cell.Instance,
			AssumeRole: string(cell.AssumeRole), ExternalID: cell.ExternalID, TrailRegions: cell.TrailRegions,
		}
	}
	return cells
}

// serveHealth answers /healthz as long as the process works, and /readyz with 200
// only while Slack is connected.
func serveHealth(ctx context.Context, addr string, b *bot.Bot, log *slog.Logger) error {
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
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening on %s (the configuration's listen): %w", addr, err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
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
