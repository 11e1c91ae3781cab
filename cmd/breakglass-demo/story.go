package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"breakglass/actions/awssim"
	"breakglass/bot/slacksim"
)

// story is the story of one grant, told as it happens.
func (s *stage) story(ctx context.Context) error {
	fmt.Fprint(s.out, `breakglass: the whole story, on this machine alone.
The bot, its database, slack-go and the AWS SDK are the real ones. Slack and AWS are local ones that refuse what the
real ones refuse. Only here, the bot watches for 4 s after the trust is gone (in production 60 s) and reminds early.
`)
	for i, scene := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"Before: who may assume the role today", s.before},
		{"Ana, on call, asks", s.ask},
		{"Ben, platform, approves", s.approve},
		{"Open: what stands in AWS now", s.opened},
		{"SingleStore's engineer comes in", s.comeIn},
		{"The reminder", s.reminder},
		{"Ana revokes, while the shell is still open", s.revoke},
		{"After: proven closed", s.after},
	} {
		s.scene(i+1, scene.title)
		if err := scene.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", scene.title, err)
		}
	}
	fmt.Fprintf(s.out, "\nAll %d claims were seen to be so.\n", s.proofs)
	return nil
}

// card waits until the grant's card says what is wanted.
func (s *stage) card(ctx context.Context, words ...string) (slacksim.Message, error) {
	return s.slack.WaitMessage(ctx, channel, func(m slacksim.Message) bool {
		if m.ThreadTS != "" {
			return false
		}
		text := s.slack.Render(m)
		for _, w := range words {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	})
}

// reply waits for a message in the card's thread.
func (s *stage) reply(ctx context.Context, words string) (slacksim.Message, error) {
	return s.slack.WaitMessage(ctx, channel, func(m slacksim.Message) bool {
		return m.ThreadTS != "" && strings.Contains(s.slack.Render(m), words)
	})
}

// answer prints what one person alone saw in answer.
func (s *stage) answer(ctx context.Context, who string, i slacksim.Interaction) error {
	if err := s.slack.Wait(ctx, func() bool { return len(i.Ephemerals()) > 0 }); err != nil {
		return fmt.Errorf("waiting for the answer to %s: %w", who, err)
	}
	for _, m := range i.Ephemerals() {
		s.line("→ "+who, "%s", s.slack.Render(m))
	}
	return nil
}

func (s *stage) before(context.Context) error {
	s.line("AWS", "trust policy of %s:", s.cell.Role.Name())
	s.show(s.cell.Role.TrustDocument())
	return nil
}

func (s *stage) ask(ctx context.Context) error {
	text := "grant cell=" + cell + " arn=" + vendor + " ticket=48213 for=30m reason=leaf node in CrashLoopBackOff"
	s.line("Ana", "/breakglass %s", text)
	i, err := s.ana.Slash(ctx, channel, "/breakglass", text)
	if err != nil {
		return err
	}
	if err := s.answer(ctx, "Ana", i); err != nil {
		return err
	}
	m, err := s.card(ctx, "Requested", "What approving does")
	if err != nil {
		return err
	}
	s.line("Slack", "in #singlestore-access:")
	s.show(s.slack.Render(m))

	s.line("Ana", "presses Approve herself")
	if i, err = s.ana.Click(ctx, m, "Approve"); err != nil {
		return err
	}
	if err := s.answer(ctx, "Ana", i); err != nil {
		return err
	}
	return s.proof(s.cell.Role.TrustDocument() == trustBefore, "a request alone changes nothing in AWS", s.cell.Role.TrustDocument())
}

func (s *stage) approve(ctx context.Context) error {
	m, err := s.card(ctx, "Requested")
	if err != nil {
		return err
	}
	from := len(s.slack.Changes(0))
	s.line("Ben", "presses Approve 30 min")
	if _, err := s.ben.Click(ctx, m, "Approve"); err != nil {
		return err
	}
	opened, err := s.progress(ctx, from, "Open until", "Check", "Logging", "Hard stop", "Trust")
	if err != nil {
		return err
	}
	s.line("Slack", "the card is now:")
	s.show(s.slack.Render(opened))
	return nil
}

// progress prints each state of the card's steps as it comes, until the card says
// how it ended, and answers that card.
func (s *stage) progress(ctx context.Context, from int, end string, steps ...string) (slacksim.Message, error) {
	seen := map[string]bool{}
	for {
		var news []slacksim.Change
		err := s.slack.Wait(ctx, func() bool {
			news = s.slack.Changes(from)
			return len(news) > 0
		})
		if err != nil {
			return slacksim.Message{}, fmt.Errorf("waiting for the card to say %q: %w", end, err)
		}
		from += len(news)
		for _, c := range news {
			if c.Message.ThreadTS != "" || c.Message.Ephemeral {
				continue
			}
			text := s.slack.Render(c.Message)
			if strings.Contains(text, end) {
				return c.Message, nil
			}
			for l := range strings.SplitSeq(text, "\n") {
				l = strings.TrimSpace(l)
				if !seen[l] && isStep(l, steps) {
					seen[l] = true
					s.line("card", "%s", l)
				}
			}
		}
	}
}

// isStep reports whether a line of the card tells of a step that has begun.
func isStep(line string, steps []string) bool {
	for _, step := range steps {
		if mark, state, ok := strings.Cut(line, step+": "); ok && len([]rune(mark)) == 2 && state != "waiting" {
			return true
		}
	}
	return false
}

func (s *stage) opened(context.Context) error {
	during := s.cell.Role.TrustDocument()
	s.line("AWS", "trust policy of %s:", s.cell.Role.Name())
	s.show(pretty(during))
	stop, _ := s.cell.Role.InlinePolicy("BreakglassHardStop")
	s.line("AWS", "inline policy BreakglassHardStop, which works even if the bot is dead:")
	s.show(stop)
	prefs := s.cell.Region.DocumentVersions("SSM-SessionManagerRunShell")
	s.line("AWS", "Session Manager preferences, version %d:", len(prefs))
	s.show(prefs[len(prefs)-1].Content)

	for _, claim := range []struct {
		text  string
		holds bool
	}{
		{"the statement has our Sid and an end that AWS enforces", strings.Contains(during, "BreakglassBG1") && strings.Contains(during, "DateLessThan")},
		{"the other people's statements stand as they were, byte for byte", strings.HasPrefix(during, strings.TrimSuffix(trustBefore, "\n  ]\n}"))},
		{"logging goes to the cell's group, and the other settings are untouched", strings.Contains(prefs[len(prefs)-1].Content, `"cloudWatchLogGroupName":"/aws/ssm/helios-prod/cluster"`) &&
			strings.Contains(prefs[len(prefs)-1].Content, `"idleSessionTimeout":"15","maxSessionDuration":"600","kmsKeyId":"","runAsEnabled":true,"runAsDefaultUser":"operator","shellProfile":{"linux":"export TMOUT=900"}}}`)},
	} {
		if err := s.proof(claim.holds, claim.text, during+"\n"+prefs[len(prefs)-1].Content); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) comeIn(ctx context.Context) error {
	s.line("SingleStore", "sts assume-role %s", s.cell.Role.ARN())
	eng, err := comeIn(ctx, s.aws.URL(), s.cell)
	if err != nil {
		return err
	}
	s.engineer = eng
	s.line("SingleStore", "ssm start-session %s → %s", s.cell.Instance.ID(), eng.sessionID)
	if s.shell, err = s.cell.Region.Shell(eng.sessionID); err != nil {
		return err
	}
	s.line("SingleStore", "$ kubectl get pods -n helios")
	out, err := s.shell.Type("kubectl get pods -n helios")
	if err != nil {
		return err
	}
	s.show(out)
	logged := strings.Join(s.cell.LogGroup.Events(eng.sessionID), "\n")
	return s.proof(strings.Contains(logged, "kubectl get pods"), "what is typed is in the log stream "+eng.sessionID, logged)
}

func (s *stage) reminder(ctx context.Context) error {
	m, err := s.reply(ctx, "ends in")
	if err != nil {
		return err
	}
	s.line("Slack", "in the card's thread:")
	s.show(s.slack.Render(m))
	return nil
}

func (s *stage) revoke(ctx context.Context) error {
	from := len(s.slack.Changes(0))
	s.line("Ana", "/breakglass revoke BG-1")
	i, err := s.ana.Slash(ctx, channel, "/breakglass", "revoke BG-1")
	if err != nil {
		return err
	}
	if err := s.answer(ctx, "Ana", i); err != nil {
		return err
	}
	m, err := s.progress(ctx, from, "Closed", "Trust", "Credentials", "Sessions", "Proof")
	if err != nil {
		return err
	}
	s.line("Slack", "the card is now:")
	s.show(s.slack.Render(m))
	proof, err := s.reply(ctx, "Closed")
	if err != nil {
		return err
	}
	s.line("Slack", "in its thread, for the auditor:")
	s.show(s.slack.Render(proof))
	return nil
}

func (s *stage) after(ctx context.Context) error {
	_, err := s.shell.Type("kubectl delete pod sdb-leaf-3")
	s.line("SingleStore", "$ kubectl delete pod sdb-leaf-3 → %v", err)
	if err := s.proof(errors.Is(err, awssim.ErrSessionEnded), "the open shell is dead", err); err != nil {
		return err
	}
	err = s.engineer.startAgain(ctx)
	s.line("SingleStore", "ssm start-session, with the credentials from before → %s", reason(err))
	if err := s.proof(denied(err), "credentials issued before are refused", err); err != nil {
		return err
	}
	err = s.engineer.assumeAgain(ctx)
	s.line("SingleStore", "sts assume-role, once more → %s", reason(err))
	if err := s.proof(denied(err), "the role can no longer be assumed", err); err != nil {
		return err
	}
	after := s.cell.Role.TrustDocument()
	s.line("AWS", "trust policy of %s:", s.cell.Role.Name())
	s.show(after)
	return s.proof(after == trustBefore, "the trust policy is what it was before, byte for byte", after)
}
