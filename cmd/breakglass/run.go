package main

import (
	"context"

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
	shown := newMetrics(cfg.cellNames())
	db, err := store.OpenObserved(cfg.Store.Path, shown.ofStore())
	if err != nil {
		return databaseTrouble(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			env.log.Error("the database did not close cleanly", "err", err)
		}
	}()
	aws, err := actions.New(env.ctx, actions.Options{Cells: cfg.awsCells(), Vendor: cfg.Policy().Vendor, Log: env.log, Observe: shown.ofAWS})
	if err != nil {
		return err
	}
	b, err := bot.New(bot.Options{
		Channel: cfg.Slack.Channel, Team: cfg.Slack.Team, APIURL: cfg.Slack.APIURL,
		BotToken: string(secrets.BotToken), AppToken: string(secrets.AppToken),
		People: cfg.circles(),
		Policy: cfg.Policy(), Store: db, AWS: aws, Log: env.log, Observe: shown.ofBot(),
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
		shown.show(db, b, env.log)
		group.Go(func() error { return serve(ctx, cfg.Listen, b, shown, env.log) })
	}
	err = group.Wait()
	if env.ctx.Err() != nil {
		env.log.Info("breakglass stops", "why", context.Cause(env.ctx).Error())
	}
	return err
}

// circles are the people as package bot wants them.
func (c Config) circles() bot.People {
	return bot.People{
		Approvers:  bot.Circle(c.People.Approvers),
		Requesters: bot.Circle(c.People.Requesters),
		Revokers:   bot.Circle(c.People.Revokers),
		Emergency:  bot.Circle(c.People.Emergency),
	}
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
