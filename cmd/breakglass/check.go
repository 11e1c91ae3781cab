package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"breakglass/actions"
	"breakglass/bot"
	"breakglass/store/grant"
)

type checkCommand struct {
	Args struct {
		Cell string `positional-arg-name:"CELL" description:"Of the cells, look at this one only."`
	} `positional-args:"yes"`
	JSON bool `long:"json" description:"Print JSON (docs/commands.md has the keys)."`
}

// checkAnswer is what was found, in the order in which it is best mended.
type checkAnswer struct {
	At       time.Time       `json:"at"`
	Ready    bool            `json:"ready"` // nothing blocks
	OK       int             `json:"ok"`
	Warnings int             `json:"warnings"`
	Unknown  int             `json:"unknown"`
	Blocks   int             `json:"blocks"`
	Sections []sectionAnswer `json:"sections"`
}

// The sections of a check.
const (
	ofConfiguration = "configuration"
	ofSecrets       = "secrets"
	ofDatabase      = "database"
	ofSlack         = "slack"
	ofCell          = "cell"
	ofTheRest       = "rest" // all that cannot be looked at before the configuration can be read
)

// sectionAnswer is what was found of one thing.
type sectionAnswer struct {
	Section  string          `json:"section"`
	Cell     grant.CellName  `json:"cell,omitempty"`
	Findings []placedFinding `json:"findings"`
	Trusted  []string        `json:"trusted,omitempty"` // who may assume the cell's role now
	Logging  []string        `json:"logging,omitempty"` // what opening will change in the preferences

	title string
}

// placedFinding is a finding that may have a place in a file.
type placedFinding struct {
	findingAnswer

	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// errBlocks: something blocks, and the answer has said what.
var errBlocks = errors.New("something blocks")

const (
	// cellPatience is how long one cell may take.
	cellPatience = time.Minute
	// cellsAtOnce is how many cells are looked at side by side.
	cellsAtOnce = 4
)

// Run is `breakglass check`.
func (c checkCommand) Run(env *environment) error {
	cfg, err := loadConfig(env.config)
	broken, isBroken := errors.AsType[*ConfigError](err)
	if err != nil && !isBroken {
		return err
	}
	cells := cfg.awsCells()
	if c.Args.Cell != "" && !isBroken {
		one, ok := cellNamed(cells, c.Args.Cell)
		if !ok {
			return usage("check: there is no cell %q in the configuration; the cells are %s", said(c.Args.Cell), joined(cfg.cellNames()))
		}
		cells = []actions.Cell{one}
	}
	bot, botErr := loadToken(env.getenv, botTokenPlace)
	app, appErr := loadToken(env.getenv, appTokenPlace)

	// What takes time begins now, and all of it goes on side by side.
	ctx, cancel := context.WithCancel(env.ctx)
	defer cancel()
	now := func(s sectionAnswer) look { return look{s.Section, func() sectionAnswer { return s }} }
	looks := []look{now(checkedConfiguration(env.config, cfg, broken)), now(checkedSecrets(env.getenv, botErr, appErr))}
	if isBroken {
		looks = append(looks, now(theRest()))
	} else {
		looks = append(looks,
			begin("the database", func() sectionAnswer { return checkDatabase(ctx, cfg.Store) }),
			begin("Slack", func() sectionAnswer { return checkSlack(ctx, cfg, Secrets{BotToken: bot, AppToken: app}) }))
		looks = append(looks, checkCells(ctx, env.log, cfg, cells)...)
	}

	a := checkAnswer{At: time.Now().UTC().Truncate(time.Second)}
	for i, l := range looks {
		stop := showProgress(env, func() string { return "looking at " + said(l.at) + " …" })
		section := l.wait()
		stop()
		if err := env.ctx.Err(); err != nil {
			return fmt.Errorf("interrupted: %w", context.Cause(env.ctx))
		}
		a.add(section)
		if !c.JSON {
			out := newScreen(env)
			out.section(a.Sections[i], i == 0)
			if err := out.show(env); err != nil {
				return err
			}
		}
	}
	a.Ready = a.Blocks == 0
	if c.JSON {
		err = printJSON(env, a)
	} else {
		out := newScreen(env)
		out.verdict(&a, env.config)
		err = out.show(env)
	}
	if err == nil && !a.Ready {
		return errBlocks
	}
	return err
}

// look is a look at one thing that is under way, or over.
type look struct {
	at   string
	wait func() sectionAnswer
}

// begin looks from now on.
func begin(at string, do func() sectionAnswer) look {
	done := make(chan sectionAnswer, 1)
	go func() { done <- do() }()
	return look{at, func() sectionAnswer { return <-done }}
}

// add takes a section in, and makes sure that no token is shown that somebody has put
// in the place of a file's name.
func (a *checkAnswer) add(s sectionAnswer) {
	if s.Findings == nil {
		s.Findings = []placedFinding{}
	}
	for i := range s.Findings {
		f := &s.Findings[i]
		for _, text := range []*string{&f.Check, &f.Text, &f.Remedy, &f.File} {
			*text = tokenPattern.ReplaceAllString(*text, "(a token)")
		}
		switch f.Level {
		case grant.OK:
			a.OK++
		case grant.Warning:
			a.Warnings++
		case grant.Unread:
			a.Unknown++
		default:
			a.Blocks++
		}
	}
	s.title = tokenPattern.ReplaceAllString(s.title, "(a token)")
	a.Sections = append(a.Sections, s)
}

func (s *sectionAnswer) say(check string, level grant.Level, remedy, format string, args ...any) {
	s.Findings = append(s.Findings, placedFinding{findingAnswer: findingAnswer{Check: check, Level: level, Text: fmt.Sprintf(format, args...), Remedy: remedy}})
}

func (s *sectionAnswer) take(list []grant.Finding) {
	for _, f := range list {
		s.Findings = append(s.Findings, placedFinding{findingAnswer: findingAnswer(f)})
	}
}

func checkedConfiguration(path string, cfg Config, broken *ConfigError) sectionAnswer {
	s := sectionAnswer{Section: ofConfiguration, title: "Configuration, " + path}
	if broken == nil {
		s.say("file", grant.OK, "", "The file says all that is needed, and nothing that is wrong. Cells: %s.", joined(cfg.cellNames()))
		return s
	}
	for i, p := range broken.Problems {
		if i == mostProblems {
			s.say("file", grant.Blocks, "Mend these first.", "There are %d more problems.", len(broken.Problems)-i)
			break
		}
		key := p.Key
		if key == "" {
			key = "file"
		}
		s.Findings = append(s.Findings, placedFinding{
			findingAnswer: findingAnswer{Check: key, Level: grant.Blocks, Text: p.Text, Remedy: capital(p.Remedy)},
			File:          p.File, Line: p.Line,
		})
	}
	return s
}

func checkedSecrets(getenv func(string) string, botErr, appErr error) sectionAnswer {
	s := sectionAnswer{Section: ofSecrets, title: "Secrets, from the environment"}
	for _, t := range []struct {
		check string
		place tokenPlace
		err   error
	}{{"bot token", botTokenPlace, botErr}, {"app token", appTokenPlace, appErr}} {
		bad, ok := errors.AsType[*tokenError](t.err)
		switch {
		case ok:
			s.say(t.check, grant.Blocks, capital(bad.remedy)+".", "%s.", bad.text)
		case t.err != nil:
			s.say(t.check, grant.Blocks, "Look at where it comes from.", "%v", t.err)
		case getenv(t.place.name) == "":
			s.say(t.check, grant.OK, "", "%s_FILE names %s, which holds one of the right kind.", t.place.name, getenv(t.place.name+"_FILE"))
		default:
			s.say(t.check, grant.OK, "", "%s holds one of the right kind.", t.place.name)
		}
	}
	return s
}

// theRest says what cannot be looked at while the configuration cannot be read.
func theRest() sectionAnswer {
	s := sectionAnswer{Section: ofTheRest, title: "Database, Slack, cells"}
	s.say("not looked at", grant.Unread, "Mend the configuration first, then run breakglass check again.", "They are described in the configuration, so they can be looked at once it can be read.")
	return s
}

func checkSlack(ctx context.Context, cfg Config, secrets Secrets) sectionAnswer {
	s := sectionAnswer{Section: ofSlack, title: "Slack, " + cfg.Slack.APIURL}
	s.take(bot.CheckSlack(ctx, bot.Options{
		Channel: cfg.Slack.Channel, Team: cfg.Slack.Team, APIURL: cfg.Slack.APIURL,
		BotToken: string(secrets.BotToken), AppToken: string(secrets.AppToken),
		People: cfg.circles(), Policy: cfg.Policy(),
	}))
	const first = "Mend it first, under Secrets."
	if secrets.BotToken == "" {
		s.say("bot token", grant.Unread, first, "Without the bot token the team, the scopes, the channel and the people cannot be looked at.")
	}
	if secrets.AppToken == "" {
		s.say("app token", grant.Unread, first, "Without the app-level token it cannot be seen whether connections open.")
	}
	return s
}

// checkCells begins to look at cells, through what the bot works with.
func checkCells(ctx context.Context, log *slog.Logger, cfg Config, cells []actions.Cell) []look {
	var aws bot.AWS
	sdk, err := actions.New(ctx, actions.Options{Cells: cfg.awsCells(), Vendor: cfg.Policy().Vendor, Log: log})
	if err == nil {
		aws = sdk
	}
	slots := make(chan struct{}, cellsAtOnce)
	looks := make([]look, len(cells))
	for i, c := range cells {
		looks[i] = begin("the cell "+string(c.Name), func() sectionAnswer {
			s := sectionAnswer{Section: ofCell, Cell: c.Name, title: fmt.Sprintf("Cell %s, account %s, %s", c.Name, c.Account, c.Region)}
			if err != nil {
				s.say("account", grant.Blocks, "Correct what names it (AWS_PROFILE, AWS_ENDPOINT_URL, the AWS configuration file).", "AWS cannot be asked: %v.", err)
				return s
			}
			slots <- struct{}{}
			defer func() { <-slots }()
			s.report(checkCell(ctx, log, aws, c))
			return s
		})
	}
	return looks
}

func checkCell(ctx context.Context, log *slog.Logger, aws bot.AWS, c actions.Cell) (r grant.Report) {
	ctx, cancel := context.WithTimeout(ctx, cellPatience)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "a cell could not be checked", "cell", string(c.Name), "cause", fmt.Sprint(p))
			r = grant.Report{} // which is not called ready
		}
	}()
	return aws.Check(ctx, grant.Grant{Cell: c.Name, Account: c.Account, Region: c.Region})
}

// report takes a cell's report in. Where AWS has not even said which account this is,
// nothing could be opened either, whatever the reason.
func (s *sectionAnswer) report(r grant.Report) {
	s.take(once(r.Findings))
	s.Trusted, s.Logging = r.Trusted, r.Logging
	known := slices.ContainsFunc(r.Findings, func(f grant.Finding) bool { return f.Check == "account" && f.Level != grant.Unread })
	if !known {
		s.say("access", grant.Blocks, "Look at what is unknown here. Then run breakglass check again.", "Whether access can be opened here could not be found out.")
	}
}

// once says once what is wrong with the account itself, the credentials for example:
// whatever else could not be read for the same reason, and has the same remedy, is named
// there.
func once(list []grant.Finding) []grant.Finding {
	i := slices.IndexFunc(list, func(f grant.Finding) bool { return f.Check == "account" && f.Level != grant.OK && f.Remedy != "" })
	if i < 0 {
		return list
	}
	account := list[i]
	var out []grant.Finding
	var also []string
	for j, f := range list {
		switch {
		case j == i:
			out = append(out, f)
		case f.Level == account.Level && f.Remedy == account.Remedy:
			also = append(also, f.Check)
		default:
			out = append(out, f)
		}
	}
	if len(also) > 0 {
		at := slices.Index(out, account)
		out[at].Text += " For the same reason nothing is known of: " + strings.Join(also, ", ") + "."
	}
	return out
}

// ---- For people.

// levelWords are the levels as people see them.
var levelWords = map[grant.Level]cell{
	grant.OK:      {text: "ok", style: green},
	grant.Warning: {text: "warning", style: yellow},
	grant.Unread:  {text: "unknown", style: yellow},
	grant.Blocks:  {text: "BLOCKS", style: red},
}

// section writes what was found of one thing. Elsewhere than on a terminal each
// finding is one line, with its remedy.
func (s *screen) section(a sectionAnswer, first bool) {
	title := s.styled(said(a.title), bold)
	if first {
		s.line("%s", title)
	} else {
		s.line("\n%s", title)
	}
	var rows [][]cell
	for _, f := range a.Findings {
		word, ok := levelWords[f.Level]
		if !ok {
			word = levelWords[grant.Blocks]
		}
		// As wide in every section, so that the eye can run down the page.
		word.text = fmt.Sprintf("%-7s", word.text)
		name, text := fmt.Sprintf("%-15s", said(f.Check)), said(f.Text)
		if f.File != "" {
			name, text = "", said(Problem{File: f.File, Line: f.Line, Key: keyOf(f.Check), Text: f.Text}.String())
		}
		switch remedy := said(f.Remedy); {
		case remedy == "":
			rows = append(rows, []cell{word, {text: name}, {text: text}})
		case s.person:
			rows = append(rows, []cell{word, {text: name}, {text: text}}, []cell{{}, {}, {text: "→ " + remedy, style: bold}})
		default:
			rows = append(rows, []cell{word, {text: name}, {text: text + " → " + remedy}})
		}
	}
	for _, t := range a.Trusted {
		rows = append(rows, []cell{{}, {text: "trusted now", style: faint}, col(t)})
	}
	for _, l := range a.Logging {
		rows = append(rows, []cell{{}, {text: "opening changes", style: faint}, col(l)})
	}
	s.table("  ", rows)
}

func keyOf(check string) string {
	if check == "file" {
		return ""
	}
	return check
}

// blocking names the sections in which something blocks, so that nobody has to look
// for it among a hundred cells.
func (a *checkAnswer) blocking() []string {
	const most = 8
	var out []string
	for _, x := range a.Sections {
		if !slices.ContainsFunc(x.Findings, func(f placedFinding) bool { return !slices.Contains(harmlessLevels, f.Level) }) {
			continue
		}
		if len(out) == most {
			return append(out, "…")
		}
		name := x.Section
		switch {
		case x.Cell != "":
			name = string(x.Cell)
		case name == ofSlack:
			name = "Slack"
		}
		out = append(out, name)
	}
	return out
}

// harmlessLevels are those that block nothing; one that nobody knows does.
var harmlessLevels = []grant.Level{grant.OK, grant.Warning, grant.Unread}

// verdict is the last line: how it stands, and what to do.
func (s *screen) verdict(a *checkAnswer, config string) {
	var sum []string
	if a.OK > 0 {
		sum = append(sum, fmt.Sprintf("%d ok", a.OK))
	}
	if a.Warnings > 0 {
		sum = append(sum, count(uint64(a.Warnings), "warning", "warnings"))
	}
	if a.Unknown > 0 {
		sum = append(sum, fmt.Sprintf("%d unknown", a.Unknown))
	}
	with := ""
	if config != "breakglass.yaml" {
		with = " -c " + said(config)
	}
	counts := strings.Join(sum, ", ")
	switch {
	case a.Blocks > 0:
		blocks := s.styled(count(uint64(a.Blocks), "problem blocks", "problems block"), red)
		if where := a.blocking(); len(where) > 0 {
			blocks += " (" + said(strings.Join(where, ", ")) + ")"
		}
		if counts != "" {
			blocks += "; " + counts
		}
		s.line("\n%s. What to do stands after each →. Then run breakglass check%s again.", blocks, with)
		if _, err := readConfig(config); err != nil {
			s.line("To begin: docs/install.md makes the Slack app and its two tokens, deploy/breakglass.example.yaml becomes the configuration, docs/permissions.md is what the bot may do in AWS.")
		}
	case a.Unknown > 0:
		s.line("\n%s %s. Look at what is unknown, then start the bot: breakglass run%s", s.styled("Nothing blocks, as far as could be seen:", yellow), counts, with)
	default:
		s.line("\n%s %s. If it does not run yet, start the bot: breakglass run%s", s.styled("Nothing blocks:", green), counts, with)
	}
}
