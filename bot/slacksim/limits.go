package slacksim

import (
	"math"
	"time"
)

// RateLimits say how strictly the Web API counts. The zero value is realistic in its rates and generous
// in its bursts.
type RateLimits struct {
	// Off switches all rate limits off.
	Off bool
	// ChannelBurst is how many messages a channel takes at once before chat.postMessage is held to
	// about one per second (docs.slack.dev, "Rate limits": "short bursts >1 allowed"). Default 20.
	ChannelBurst int
	// Scale multiplies the allowance per minute of every method. Default 1: exactly the tier's
	// documented floor (tier 1: 1, 2: 20, 3: 50, 4: 100 per minute).
	Scale float64
}

func (r RateLimits) channelBurst() float64 {
	if r.ChannelBurst == 0 {
		return 20
	}
	return float64(r.ChannelBurst)
}

func (r RateLimits) scale() float64 {
	if r.Scale == 0 {
		return 1
	}
	return r.Scale
}

// SetRateLimits changes the strictness and forgets what was counted.
func (s *Slack) SetRateLimits(r RateLimits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opt.Limits = r
	s.buckets = map[string]*bucket{}
}

// tier is a rate-limit tier of docs.slack.dev, "Rate limits".
type tier int

const (
	special tier = iota // "several hundred messages per minute"
	tier1
	tier2
	tier3
	tier4
)

func (t tier) perMinute() float64 {
	switch t {
	case tier1:
		return 1
	case tier2:
		return 20
	case tier3:
		return 50
	case tier4:
		return 100
	default:
		return 600
	}
}

// bucket is a token bucket on package time's clock.
type bucket struct {
	left float64
	at   time.Time
}

// take takes one, or says how long to wait for one.
func (b *bucket) take(now time.Time, perSecond, burst float64) time.Duration {
	b.left = min(burst, b.left+now.Sub(b.at).Seconds()*perSecond)
	b.at = now
	if b.left >= 1 {
		b.left--
		return 0
	}
	return time.Duration((1 - b.left) / perSecond * float64(time.Second))
}

// throttle counts one call and returns the whole seconds of a Retry-After header, 0 if the call may
// pass. The caller holds mu.
func (s *Slack) throttle(method string, t tier, channel string) int {
	if s.opt.Limits.Off {
		return 0
	}
	minute := t.perMinute() * s.opt.Limits.scale()
	wait := s.bucket(method, minute).take(time.Now(), minute/60, max(1, minute))
	if wait == 0 && method == "chat.postMessage" && channel != "" {
		burst := s.opt.Limits.channelBurst()
		wait = s.bucket("channel "+channel, burst).take(time.Now(), 1, burst)
	}
	if wait == 0 {
		return 0
	}
	return max(1, int(math.Ceil(wait.Seconds())))
}

func (s *Slack) bucket(key string, full float64) *bucket {
	b := s.buckets[key]
	if b == nil {
		b = &bucket{left: full, at: time.Now()}
		s.buckets[key] = b
	}
	return b
}
