package bot_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The simulation plays short stories that nobody wrote: the real bot, the real
// slack-go and the real AWS SDK on the two simulators, and a real database file,
// in a synctest bubble. Every choice in a story comes from its seed, is made before
// it begins, and is data: see [step]. What must hold after every step, and when all
// is over, is in simulation_watch_test.go.
//
//	go test ./bot -run TestSimulation -seeds=2000   plays seeds 1 to 2000
//	go test ./bot -run TestSimulation -seed=17      plays one
//	go test ./bot -run TestSimulation -seed=17 -steps=0,4,9
//
// The last plays only some of a seed's steps: so a story is made shorter, and so
// the shortest that was found is played again. synctest makes time repeatable, and
// not scheduling: a failure that hangs on what two goroutines do at the same moment
// may need several attempts. -replays says how many shorter stories are tried.
var (
	simSeeds   = flag.Int("seeds", 20, "TestSimulation: how many seeds to play")
	simFrom    = flag.Uint64("from", 1, "TestSimulation: the first seed")
	simSeed    = flag.Uint64("seed", 0, "TestSimulation: play this seed only")
	simSteps   = flag.String("steps", "", "TestSimulation: with -seed, play only these steps, as 0,4,9")
	simReplays = flag.Int("replays", 60, "TestSimulation: how many shorter stories are tried for a seed that fails; 0: none")
	simMost    = flag.Int("most", 3, "TestSimulation: how many seeds may fail before no more are begun")
	simTell    = flag.Bool("tell", false, "TestSimulation: print each story, and what came of it")
)

// brokenMark begins the line by which a replay says what was broken.
const brokenMark = "BROKEN "

func TestSimulation(t *testing.T) {
	if *simSeed > 0 {
		playSeed(t, *simSeed, keptSteps(t, *simSteps), *simSteps == "")
		return
	}
	var failing atomic.Int32
	var sum tally
	// The subtests are over before the outer one's cleanup.
	t.Cleanup(func() { t.Log(sum.String()) })
	// In batches: a test holds on to every parallel subtest, with all its world, until
	// the last of them is over.
	last := *simFrom + uint64(*simSeeds)
	for first := *simFrom; first < last; first += batchOfSeeds {
		beyond := min(first+batchOfSeeds, last)
		t.Run(fmt.Sprintf("seeds=%d-%d", first, beyond-1), func(t *testing.T) {
			for seed := first; seed < beyond; seed++ {
				t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
					t.Parallel()
					if int(failing.Load()) >= *simMost {
						return
					}
					t.Cleanup(func() {
						if t.Failed() {
							failing.Add(1)
						}
					})
					sum.add(playSeed(t, seed, nil, true))
				})
			}
		})
	}
}

const batchOfSeeds = 50

// keptSteps reads -steps; nil means all.
func keptSteps(t *testing.T, list string) []int {
	t.Helper()
	if list == "" {
		return nil
	}
	keep := []int{}
	for word := range strings.SplitSeq(list, ",") {
		if word == "none" {
			continue
		}
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatalf("-steps: %v", err)
		}
		keep = append(keep, n)
	}
	return keep
}

// playSeed plays a seed's story, or the steps of it that are kept.
func playSeed(t *testing.T, seed uint64, keep []int, shorten bool) *play {
	t.Helper()
	w, story := storyOf(seed)
	all := make([]int, len(story))
	for i := range all {
		all[i] = i
	}
	if keep == nil {
		keep = all
	}
	p := &play{w: w, keep: keep, story: story}
	t.Cleanup(func() {
		what, _, _ := strings.Cut(p.broken(), "\n")
		if *simTell || t.Failed() && !shorten {
			fmt.Fprintf(t.Output(), "%s\n%s", w, tell(story, keep))
		}
		if !t.Failed() {
			return
		}
		if what == "" {
			what = "(h) what every story owes, see above"
		}
		fmt.Fprintf(t.Output(), "%sseed=%d %s\n", brokenMark, seed, what)
		if shorten {
			fmt.Fprint(t.Output(), shortest(t.Name(), seed, story, what))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)))
		p.run(t)
	})
	return p
}

// tell writes a story down, one step a line.
func tell(story []step, keep []int) string {
	var b strings.Builder
	for _, i := range keep {
		if i >= 0 && i < len(story) {
			fmt.Fprintf(&b, "  %3d. %s\n", i, story[i])
		}
	}
	return b.String()
}

// shortest looks for a shorter story that breaks the same invariant: it leaves
// steps out, more and more of them, as long as that still fails (delta debugging,
// Zeller 1999). Each is played in a process of its own, so that one that panics or
// hangs is only one that fails.
func shortest(name string, seed uint64, story []step, what string) string {
	name, _, _ = strings.Cut(name, "/")
	keep := make([]int, len(story))
	for i := range keep {
		keep[i] = i
	}
	played := 0
	fails := func(keep []int) bool {
		played++
		return replay(name, seed, keep, what)
	}
	if *simReplays > 0 && fails(nil) { // fails without any step, too
		keep = nil
	}
	for chunk := (len(keep) + 1) / 2; chunk > 0 && len(keep) > 0 && played < *simReplays; {
		removed := false
		for at := 0; at < len(keep) && played < *simReplays; {
			less := slices.Delete(slices.Clone(keep), at, min(at+chunk, len(keep)))
			if fails(less) {
				keep, removed = less, true
				continue
			}
			at += chunk
		}
		if chunk > 1 {
			chunk = (chunk + 1) / 2
			if chunk*2 > len(keep) {
				chunk = (len(keep) + 1) / 2
			}
		} else if !removed {
			break
		}
	}
	list := make([]string, len(keep))
	for i, n := range keep {
		list[i] = strconv.Itoa(n)
	}
	again := "none"
	if len(list) > 0 {
		again = strings.Join(list, ",")
	}
	w, _ := storyOf(seed)
	return fmt.Sprintf("\nseed %d breaks %s\nthe shortest story found (%d of %d steps, %d tried):\n  %s\n%s\nto play it again: go test ./bot -run %s -seed=%d -steps=%s\nall of it:        go test ./bot -run %s -seed=%d\n",
		seed, what, len(keep), len(story), played, w, tell(story, keep), name, seed, again, name, seed)
}

// replay plays some of a seed's steps in another process, and answers whether that
// breaks the same invariant.
func replay(name string, seed uint64, keep []int, what string) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	list := make([]string, len(keep))
	for i, n := range keep {
		list[i] = strconv.Itoa(n)
	}
	if len(list) == 0 {
		list = []string{"none"}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, self, "-test.run", "^"+name+"$", fmt.Sprint("-seed=", seed), "-steps="+strings.Join(list, ","), "-test.timeout=100s")
	out, err := c.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		return false
	}
	return sameBreak(string(out), what)
}

// sameBreak reports whether the output of a replay breaks the invariant that what
// names by its letter.
func sameBreak(out, what string) bool {
	_, line, found := strings.Cut(out, brokenMark)
	if !found {
		return false // it died of something else
	}
	line, _, _ = strings.Cut(line, "\n")
	letter, _, _ := strings.Cut(what, ")")
	return strings.Contains(line, letter+")")
}

// tally is what many stories came to.
type tally struct {
	mu                                                         sync.Mutex
	stories, steps, asked, opened, closed, kills, commits, ins int
}

func (s *tally) add(p *play) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stories++
	s.steps += len(p.keep)
	s.asked += p.n.asked
	s.opened += p.n.opened
	s.closed += p.n.closed
	s.kills += p.n.kills
	s.ins += p.n.ins
	s.commits += p.n.entries
}

func (s *tally) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%d stories of %d steps: %d requests, %d opened, %d proven closed, %d power cuts, SingleStore came in %d times, %d audit entries",
		s.stories, s.steps, s.asked, s.opened, s.closed, s.kills, s.ins, s.commits)
}

// dice are the choices of a seed.
func dice(seed, what uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, what)) }
