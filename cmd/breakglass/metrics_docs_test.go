package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

const (
	metricsDoc    = "../../docs/metrics.md"
	alertsFile    = "../../deploy/prometheus-alerts.yaml"
	dashboardFile = "../../deploy/grafana-dashboard.json"
)

var metricName = regexp.MustCompile(`\bbreakglass_[a-z_]+`)

// Every metric that the documentation, the alerts and the dashboard name is in a
// scrape of a bot that runs, has help there, and the documentation has each.
func TestMetricsDocs_namesAreReal(t *testing.T) {
	inMetricsBubble(t, func(w *watched) {
		answer := httptest.NewRecorder()
		w.metrics.serve(slog.New(slog.DiscardHandler))(answer, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
		text := answer.Body.String()
		real := map[string]bool{}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "# HELP breakglass_"); ok {
				name, help, _ := strings.Cut(rest, " ")
				real["breakglass_"+name] = strings.TrimSpace(help) != ""
			}
		}
		for _, file := range []string{metricsDoc, alertsFile, dashboardFile} {
			data, err := os.ReadFile(file)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, name := range metricName.FindAllString(string(data), -1) {
				base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
				if !real[name] && !real[base] {
					w.t.Errorf("%s names %s, which a scrape does not show, or shows without help", file, name)
				}
			}
		}
		var table strings.Builder
		for _, d := range w.metrics.book {
			if !real[d.name] {
				w.t.Errorf("%s is not in a scrape", d.name)
			}
			labels := "–"
			if len(d.labels) > 0 {
				labels = "`" + strings.Join(d.labels, "`, `") + "`"
			}
			fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", d.name, d.kind, labels, d.help)
		}
		data, err := os.ReadFile(metricsDoc)
		if err != nil {
			w.t.Fatal(err)
		}
		const begin, end = "|---|---|---|---|\n", "\n## "
		head, rest, _ := bytes.Cut(data, []byte(begin))
		old, tail, found := bytes.Cut(rest, []byte(end))
		if !found {
			w.t.Fatalf("%s has no table, or nothing after it", metricsDoc)
		}
		if *update {
			if err := os.WriteFile(metricsDoc, []byte(string(head)+begin+table.String()+end+string(tail)), 0o600); err != nil {
				w.t.Fatal(err)
			}
		} else if string(old) != table.String() {
			w.t.Errorf("%s: the table is not what the program has; run with -update. It should be:\n%s", metricsDoc, &table)
		}
	})
}

// Every alert says what is wrong and what to do, how grave it is, and names a heading
// that exists.
func TestMetricsDocs_alerts(t *testing.T) {
	data, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Load(data, &rules, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if seen[r.Alert] || !metricName.MatchString(r.Expr) || strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") {
				t.Errorf("%s: twice, or %q is no expression", r.Alert, r.Expr)
			}
			seen[r.Alert] = true
			if s := r.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s: severity %q", r.Alert, s)
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || strings.Contains(r.Annotations["runbook"], "://") {
				t.Errorf("%s: annotations %v", r.Alert, r.Annotations)
			}
			file, heading, _ := strings.Cut(r.Annotations["runbook"], ", ")
			page, err := os.ReadFile("../../" + file)
			if err != nil || !strings.Contains(string(page), "\n### "+heading+"\n") {
				t.Errorf("%s: there is no heading %q in %s (%v)", r.Alert, heading, file, err)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d alerts", len(seen))
	}
}

// The dashboard can be imported: its data source is a variable, and nothing stands twice.
func TestMetricsDocs_dashboard(t *testing.T) {
	data, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title      string
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
		Panels []struct {
			ID      int
			Title   string
			Targets []struct {
				Expr       string
				Datasource struct{ UID string }
			}
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	if l := board.Templating.List; len(l) != 1 || l[0].Name != "datasource" || l[0].Type != "datasource" || l[0].Query != "prometheus" {
		t.Errorf("the variables are %v", l)
	}
	seen := map[int]bool{}
	for _, p := range board.Panels {
		if seen[p.ID] || len(p.Targets) != 1 || p.Targets[0].Datasource.UID != "${datasource}" || !metricName.MatchString(p.Targets[0].Expr) {
			t.Errorf("panel %d, %q: %v", p.ID, p.Title, p.Targets)
		}
		seen[p.ID] = true
	}
}
