package grant_test

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"breakglass/store/grant"
)

func TestParseID(t *testing.T) {
	for in, want := range map[string]grant.ID{
		"BG-7": 7, "bg-7": 7, "Bg7": 7, "bG-7": 7, "7": 7, " BG-12 ": 12, "999999999999999999": 999999999999999999,
		"": 0, "0": 0, "BG-0": 0, "BG-07": 0, "-7": 0, "+7": 0, "BG--7": 0, "BG 7": 0, "B-7": 0, "7x": 0, "x7": 0, "7\n8": 0,
		"1000000000000000000": 0, "99999999999999999999": 0, "٧": 0, "BG-7.0": 0, "BreakglassBG7": 0,
	} {
		got, ok := grant.ParseID(in)
		if got != want || ok != (want != 0) {
			t.Errorf("ParseID(%q) = %v, %v, want %d", in, got, ok, want)
		}
	}
}

func TestParseSid(t *testing.T) {
	for in, want := range map[string]grant.ID{
		"BreakglassBG7": 7, "BreakglassBG120": 120,
		"": 0, "breakglassBG7": 0, "BreakglassBG": 0, "BreakglassBG0": 0, "BreakglassBG07": 0, "BreakglassBG7x": 0, "xBreakglassBG7": 0,
		"BreakglassBG-7": 0, "BreakglassBG7\n": 0, "Breakglass7": 0, "BG7": 0, " BreakglassBG7": 0,
	} {
		got, ok := grant.ParseSid(in)
		if got != want || ok != (want != 0) {
			t.Errorf("ParseSid(%q) = %v, %v, want %d", in, got, ok, want)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"BG-7", "bg12", "0", "BreakglassBG3", "999999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, parse := range map[string]func(string) (grant.ID, bool){"ParseID": grant.ParseID, "ParseSid": grant.ParseSid} {
			id, ok := parse(s)
			if ok == (id == 0) {
				t.Fatalf("%s(%q) = %d, %v", name, s, id, ok)
			}
			if !ok {
				continue
			}
			if back, ok := grant.ParseID(id.String()); !ok || back != id {
				t.Errorf("ParseID(%q) = %d, %v", id.String(), back, ok)
			}
			if back, ok := grant.ParseSid(id.Sid()); !ok || back != id {
				t.Errorf("ParseSid(%q) = %d, %v", id.Sid(), back, ok)
			}
			if name == "ParseSid" && s != id.Sid() {
				t.Errorf("ParseSid accepts %q, which is not %q: another statement could be taken for ours", s, id.Sid())
			}
			for _, r := range id.Sid() {
				if r > unicode.MaxASCII || (!unicode.IsLetter(r) && !unicode.IsDigit(r)) {
					t.Errorf("the Sid %q has characters that IAM refuses", id.Sid())
				}
			}
		}
	})
}

func TestParseRoleARN(t *testing.T) {
	const account = "111122223333"
	for _, tt := range []struct{ in, partition, name string }{
		{"arn:aws:iam::" + account + ":role/support", "aws", "support"},
		{"arn:aws:iam::" + account + ":role/a/b-c/Support_1+=,.@-x", "aws", "Support_1+=,.@-x"},
		{"arn:aws-us-gov:iam::" + account + ":role/support", "aws-us-gov", "support"},
		{"arn:aws-cn:iam::" + account + ":role/support", "aws-cn", "support"},
		{"arn:aws:iam::" + account + ":role/" + strings.Repeat("r", 64), "aws", strings.Repeat("r", 64)},
		{"arn:aws:iam::" + account + ":role/user/role", "aws", "role"},
	} {
		got, err := grant.ParseRoleARN(tt.in)
		if err != nil || string(got) != tt.in || got.Partition() != tt.partition || got.Account() != account || got.Name() != tt.name {
			t.Errorf("ParseRoleARN(%q) = %q, %q, %q, %q, %v", tt.in, got, got.Partition(), got.Account(), got.Name(), err)
		}
	}
	// What a ticket may hold instead (and what a careless reader may paste).
	for in, words := range badARNs {
		got, err := grant.ParseRoleARN(in)
		if err == nil || got != "" {
			t.Errorf("ParseRoleARN(%q) = %q, want an error", in, got)
		} else if !strings.Contains(err.Error(), words) {
			t.Errorf("ParseRoleARN(%q) says %q, want %q in it", in, err, words)
		}
	}
	if r := grant.RoleARN("nonsense"); r.Name() != "" || r.Account() != "" || r.Partition() != "" {
		t.Error("nonsense has parts")
	}
}

// badARNs are forms that must never be trusted, with what is said about each.
var badARNs = map[string]string{
	"":                                       "no role ARN",
	"*":                                      "wildcard",
	"arn:aws:iam::*:role/support":            "wildcard",
	"arn:aws:iam::111122223333:role/*":       "wildcard",
	"arn:aws:iam::111122223333:role/supp?rt": "wildcard",
	"arn:aws:iam::111122223333:root":         "whole AWS account",
	"111122223333":                           "whole AWS account",
	"arn:aws:sts::111122223333:assumed-role/support/jane": "one session",
	"arn:aws:iam::111122223333:user/jane":                 "a user",
	"arn:aws:iam::111122223333:instance-profile/support":  "instance profile",
	"arn:aws:iam::111122223333:group/support":             "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:federated-user/jane":       "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:policy/support":            "not the ARN of an IAM role",
	"arn:aws:iam::aws:role/support":                       "not the ARN of an IAM role",
	"arn:aws:iam:us-east-1:111122223333:role/support":     "not the ARN of an IAM role",
	"arn:aws:sts::111122223333:role/support":              "not the ARN of an IAM role",
	"arn:aws-iso:iam::111122223333:role/support":          "not the ARN of an IAM role",
	"arn:gcp:iam::111122223333:role/support":              "not the ARN of an IAM role",
	"ARN:AWS:IAM::111122223333:ROLE/support":              "not the ARN of an IAM role",
	"arn:aws:iam::11112222333:role/support":               "not the ARN of an IAM role",
	"arn:aws:iam::1111222233334:role/support":             "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:role/":                     "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:role//support":             "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:role/a//support":           "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:role":                      "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:role/supp$rt":              "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:role/${aws:username}":      "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:role/support\",\"AWS":      "not the ARN of an IAM role",
	"xarn:aws:iam::111122223333:role/support":             "not the ARN of an IAM role",
	"https://example.com/111122223333:role/support":       "not the ARN of an IAM role",
	"support":               "not the ARN of an IAM role",
	"AROAEXAMPLEEXAMPLE123": "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:role/" + strings.Repeat("r", 65):         "not the ARN of an IAM role",
	"arn:aws:iam::111122223333:role/" + strings.Repeat("p/", 300) + "r": "longer than any",
	"arn:aws:iam::111122223333:role/support ":                           "characters that no role ARN has",
	"arn:aws:iam::111122223333:role/support\n":                          "characters that no role ARN has",
	"arn:aws:iam::111122223333:role/support\narn:aws:iam::1":            "characters that no role ARN has",
	"arn:aws:iam::111122223333:role/sup\u200bport":                      "characters that no role ARN has",
	"arn:aws:iam::111122223333:role/sup\u202eport":                      "characters that no role ARN has",
	"\u201carn:aws:iam::111122223333:role/support\u201d":                "characters that no role ARN has",
	"arn:aws:iam::111122223333:role/supp\u043ert":                       "characters that no role ARN has", // a Cyrillic o
	"arn:aws:iam::111122223333:role/support\u2013east":                  "characters that no role ARN has",
	"arn:aws:iam::１１１１22223333:role/support":                            "characters that no role ARN has",
	"arn:aws:iam::111122223333:role/\xff":                               "characters that no role ARN has",
	"<arn:aws:iam::111122223333:role/support>":                          "not the ARN of an IAM role",
	"'arn:aws:iam::111122223333:role/support'":                          "not the ARN of an IAM role",
	"`arn:aws:iam::111122223333:role/support`":                          "not the ARN of an IAM role",
}

func FuzzParseRoleARN(f *testing.F) {
	for s := range badARNs {
		f.Add(s)
	}
	f.Add("arn:aws:iam::111122223333:role/a/support")
	f.Fuzz(func(t *testing.T, s string) {
		arn, err := grant.ParseRoleARN(s)
		if (err == nil) != (arn != "") || (err == nil && string(arn) != s) {
			t.Fatalf("ParseRoleARN(%q) = %q, %v", s, arn, err)
		}
		if err != nil {
			return
		}
		if !arn.Account().Valid() || arn.Name() == "" || strings.ContainsAny(s, "*?$\"'\\ \n<>{}") || !strings.Contains(s, ":role/") {
			t.Errorf("ParseRoleARN accepts %q", s)
		}
	})
}

func TestAccountID(t *testing.T) {
	for in, want := range map[grant.AccountID]bool{
		"444455556666": true, "000000000000": true, "": false, "44445555666": false, "4444555566667": false,
		"44445555666x": false, "444455556666\n": false, "４44455556666": false, "4444-5555-666": false,
	} {
		if in.Valid() != want {
			t.Errorf("AccountID(%q).Valid() = %v", in, in.Valid())
		}
	}
}

func TestPartitionOf(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1": "aws", "eu-central-2": "aws", "us-gov-west-1": "aws-us-gov", "cn-north-1": "aws-cn", "": "aws",
	} {
		if got := grant.PartitionOf(region); got != want {
			t.Errorf("PartitionOf(%q) = %q, want %q", region, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "4h": 4 * time.Hour, "1h30m": 90 * time.Minute, "45s": 45 * time.Second, "2d": 48 * time.Hour,
		"2d12h": 60 * time.Hour, " 4h ": 4 * time.Hour, "1h 30m": 90 * time.Minute, "2D": 48 * time.Hour, "4H": 4 * time.Hour,
		"1.5h": 90 * time.Minute, "0d5m": 5 * time.Minute, "500ms": 500 * time.Millisecond,
		"": 0, "4": 0, "h": 0, "0": 0, "0s": 0, "0d": 0, "-4h": 0, "+4h": 0, "2d-1h": 0, "2d+1h": 0, "1d1d": 0, "h4": 0, "4 hours": 0, "4w": 0,
		"d": 0, "99999d": 0, "9999d2562047h": 0, "2562048h": 0, "1e3h": 0, "٤h": 0, "4h\x00": 0, "NaN": 0, "Inf": 0,
	} {
		got, err := grant.ParseDuration(in)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"90m", "2d12h", "9999d2562047h", "1.5h", "-1h", "1d1d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := grant.ParseDuration(s)
		if (err == nil) != (d > 0) {
			t.Fatalf("ParseDuration(%q) = %v, %v", s, d, err)
		}
		if err == nil {
			if again, err := grant.ParseDuration(d.String()); err != nil || again != d {
				t.Errorf("ParseDuration(%q) = %v, %v", d.String(), again, err)
			}
			if text := grant.FormatDuration(d); text == "" {
				t.Errorf("FormatDuration(%v) is empty", d)
			}
		}
	})
}

func TestFormatDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		4 * time.Hour: "4 h", 90 * time.Minute: "1 h 30 min", 45 * time.Second: "45 s", 48 * time.Hour: "2 d",
		50*time.Hour + 3*time.Second: "2 d 2 h 3 s", 0: "0 s", -time.Hour: "0 s", 350 * time.Millisecond: "350 ms",
		59*time.Second + 600*time.Millisecond: "1 min", 1400 * time.Millisecond: "1 s", time.Second: "1 s",
	} {
		if got := grant.FormatDuration(in); got != want {
			t.Errorf("FormatDuration(%v) = %q, want %q", in, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	for attempt, seconds := range map[int]int{
		-5: 1, 0: 1, 1: 1, 2: 2, 3: 4, 6: 32, 7: 60, 8: 60, 64: 60, 1 << 40: 60,
	} {
		want := time.Duration(seconds) * time.Second
		if got := grant.Backoff(attempt); got != want {
			t.Errorf("Backoff(%d) = %v, want %v", attempt, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"stuck node pool", 100, "stuck node pool"},
		{"  two\t\nlines\r\n here  ", 100, "two lines here"},
		{"a\u0085b\u2028c\u2029d\u00a0e", 100, "a b c d e"},
		{"pay\u202eload\u2066x\u2069", 100, "payloadx"},
		{"zero\u200bwidth\u200d\ufeff\u00ad", 100, "zerowidth"},
		{"a\x00\x1b[31mb\x7f", 100, "a[31mb"},
		{"bad\xff\xfeutf\ufffd", 100, "badutf"},
		{"private\ue000use", 100, "privateuse"},
		{"tag\U000e0041s", 100, "tags"},
		{"\u3164\u115f\u2800\ufe0f\u034f", 100, ""},
		{"näh, 日本語 🙂", 100, "näh, 日本語 🙂"},
		{"日本語", 2, "日本"},
		{"abcdef", 3, "abc"},
		{"ab cd", 3, "ab"},
		{"ab cd", 4, "ab c"},
		{"ab   ", 3, "ab"},
		{"abc", 0, ""},
		{"", 5, ""},
		{"\n\t", 5, ""},
	} {
		if got := grant.Clean(tt.in, tt.limit); got != tt.want {
			t.Errorf("Clean(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("  two\t\nlines ", 5)
	f.Add("pay\u202eload", 100)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := grant.Clean(s, limit)
		if utf8.RuneCountInString(got) > max(limit, 0) || !utf8.ValidString(got) || strings.TrimSpace(got) != got {
			t.Errorf("Clean(%q, %d) = %q", s, limit, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || (unicode.IsSpace(r) && r != ' ') {
				t.Errorf("Clean(%q) left %s in", s, strconv.QuoteRune(r))
			}
		}
		if again := grant.Clean(got, limit); again != got {
			t.Errorf("Clean of %q is %q", got, again)
		}
	})
}
