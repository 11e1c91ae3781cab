package slacksim

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// page cuts one page out of a list. The cursor names the first entry of the next one (docs.slack.dev,
// "Pagination"); one that names nothing is refused. usual and most are the method's own limits.
func page[E any](list []E, a args, usual, most int, key func(E) string) (cut []E, next string, err *apiError) {
	if c := a["cursor"]; c != "" {
		name, bad := base64.StdEncoding.DecodeString(c)
		i := slices.IndexFunc(list, func(e E) bool { return key(e) == string(name) })
		if bad != nil || i < 0 {
			return nil, "", refuse("invalid_cursor")
		}
		list = list[i:]
	}
	limit := usual
	if l := a["limit"]; l != "" && l != "0" {
		n, bad := strconv.Atoi(l)
		if bad != nil || n < 0 {
			return nil, "", refuse("invalid_limit")
		}
		limit = min(n, most)
	}
	if len(list) > limit {
		return list[:limit], base64.StdEncoding.EncodeToString([]byte(key(list[limit]))), nil
	}
	return list, "", nil
}

// open finds a conversation whose messages the bot may read.
func (s *Slack) open(id string) (*Channel, *apiError) {
	c, err := s.seen(id, "history")
	if err != nil {
		return nil, err
	}
	if c.Without {
		return nil, refuse("not_in_channel")
	}
	return c, nil
}

// conversationsHistory reads what stands in a conversation, newest first and without the replies in threads.
func (s *Slack) conversationsHistory(a args) (object, *apiError) {
	c, err := s.open(a["channel"])
	if err != nil {
		return nil, err
	}
	list := slices.Clone(s.messages[c.ID])
	list = slices.DeleteFunc(list, func(m *Message) bool { return m.ThreadTS != "" || !between(m.TS, a) })
	slices.Reverse(list)
	return s.messagePage(list, a)
}

// conversationsReplies reads a thread, its first message included, oldest first.
func (s *Slack) conversationsReplies(a args) (object, *apiError) {
	c, err := s.open(a["channel"])
	if err != nil {
		return nil, err
	}
	top := s.find(c.ID, a["ts"])
	if top == nil {
		return nil, refuse("thread_not_found")
	}
	list := []*Message{top}
	for _, m := range s.messages[c.ID] {
		if m.ThreadTS == top.TS && between(m.TS, a) {
			list = append(list, m)
		}
	}
	return s.messagePage(list, a)
}

// between says whether a timestamp lies in the span that is asked for, whose ends may be whole seconds.
func between(ts string, a args) bool {
	at := micros(ts)
	if oldest := a["oldest"]; oldest != "" && oldest != "0" {
		if from := micros(oldest); at < from || at == from && !a.flag("inclusive") {
			return false
		}
	}
	if latest := a["latest"]; latest != "" && latest != "now" {
		if to := micros(latest); at > to || at == to && !a.flag("inclusive") {
			return false
		}
	}
	return true
}

// micros reads a timestamp in millionths of a second; what is none is 0.
func micros(ts string) int64 {
	whole, part, _ := strings.Cut(ts, ".")
	n, err := strconv.ParseInt(whole+(part + "000000")[:6], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// messagePage answers with messages. What is in their metadata is told only with include_all_metadata.
func (s *Slack) messagePage(list []*Message, a args) (object, *apiError) {
	list, next, err := page(list, a, 100, 999, func(m *Message) string { return m.TS })
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, m := range list {
		o := s.messageJSON(m)
		if m.Metadata != nil && !a.flag("include_all_metadata") {
			var meta struct {
				EventType string `json:"event_type"`
			}
			_ = json.Unmarshal(m.Metadata, &meta) // It was validated when it was posted.
			o["metadata"] = meta
		}
		out = append(out, o)
	}
	return object{"messages": out, "has_more": next != "", "response_metadata": object{"next_cursor": next}}, nil
}
