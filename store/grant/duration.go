package grant

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var daysPattern = regexp.MustCompile(`^([0-9]{1,4})d(.*)$`)

// ParseDuration reads a duration as Go writes it, with d for days of 24 hours
// in front: 90m, 4h, 1h30m, 2d, 2d12h, 45s. It must be positive.
func ParseDuration(s string) (time.Duration, error) {
	text := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), " ", ""))
	var d time.Duration
	if m := daysPattern.FindStringSubmatch(text); m != nil {
		days, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration such as 90m, 4h, 1h30m or 2d", s)
		}
		d = time.Duration(days) * 24 * time.Hour
		text = m[2]
	}
	if text != "" {
		rest, err := time.ParseDuration(text)
		if err != nil || strings.ContainsAny(text, "+-") {
			return 0, fmt.Errorf("%q is not a duration such as 90m, 4h, 1h30m or 2d", s)
		}
		d += rest
	}
	if d <= 0 {
		return 0, fmt.Errorf("%q is not a positive duration such as 90m, 4h, 1h30m or 2d", s)
	}
	return d, nil
}

// FormatDuration writes a duration for people, to the second: 4 h, 1 h 30 min,
// 45 s, 2 d.
func FormatDuration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d > 0 && d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	d = d.Round(time.Second)
	var parts []string
	for _, u := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if n := d / u.size; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, u.name))
			d %= u.size
		}
	}
	if len(parts) == 0 {
		return "0 s"
	}
	return strings.Join(parts, " ")
}
