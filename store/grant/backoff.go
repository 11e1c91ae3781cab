package grant

import "time"

// Backoff is how long to wait before attempt n+1, n counted from 1: one
// second, doubling, to a minute at most. It is pure: the randomness that keeps
// many retries apart is the worker's.
func Backoff(attempt int) time.Duration {
	if attempt < 1 {
		attempt = 1
	}
	if attempt > 7 {
		return time.Minute
	}
	return min(time.Second<<(attempt-1), time.Minute)
}
