// Package observedtest reads the recorded conversations with a Kubernetes API
// server and compares answers with them. The recordings sit in test/observed;
// their format is told in replay.py there.
package observedtest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strings"
)

// Case is one recorded conversation.
type Case struct {
	ID        string     `json:"id"`
	About     string     `json:"about"`
	Namespace *bool      `json:"namespace"`
	Steps     []Step     `json:"steps"`
	Observed  []Observed `json:"observed"`
}

// Step is one request.
type Step struct {
	Do      string            `json:"do"`
	Path    string            `json:"path"`
	Type    string            `json:"type"`
	Accept  string            `json:"accept"`
	Agent   *string           `json:"agent"`
	User    string            `json:"user"`
	Groups  []string          `json:"groups"`
	Headers map[string]string `json:"headers"`
	Body    any               `json:"body"`
	HasBody bool              `json:"-"`
	// RawBody is the body's text: the order of its fields shows in answers.
	RawBody json.RawMessage `json:"-"`
	Keep    string          `json:"keep"`
	Wait    float64         `json:"wait"`
	Events  int             `json:"events"`
	Seconds float64         `json:"seconds"`
	Managed bool            `json:"managed"`
	Ignore  []string        `json:"ignore"`
}

// UnmarshalJSON notes whether a body was given: null is one.
func (s *Step) UnmarshalJSON(b []byte) error {
	type plain Step
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	var has map[string]json.RawMessage
	if err := json.Unmarshal(b, &has); err != nil {
		return err
	}
	s.RawBody, s.HasBody = has["body"]
	return nil
}

// Observed is what was answered.
type Observed struct {
	Code    int      `json:"code"`
	Body    any      `json:"body"`
	Warning []string `json:"warning"`
	Type    string   `json:"type"`
	Events  []any    `json:"events"`
}

// Dir is test/observed in this source tree.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "test", "observed")
}

// Load reads one file of conversations, "core-pod.jsonl".
func Load(name string) ([]Case, error) {
	f, err := os.Open(filepath.Join(Dir(), name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var cases []Case
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		if len(strings.TrimSpace(lines.Text())) == 0 {
			continue
		}
		var c Case
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		cases = append(cases, c)
	}
	return cases, lines.Err()
}

var (
	timeText = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	uidText  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	ageText  = regexp.MustCompile(`\b([0-2]?\ds|\d+y(\d+d)?)\b`)
	volatile = map[string]bool{"uid": true, "resourceVersion": true, "creationTimestamp": true, "deletionTimestamp": true, "selfLink": true, "time": true}
	address  = map[string]bool{"clusterIP": true, "clusterIPs": true, "nodePort": true, "healthCheckNodePort": true}
)

// Known is text to replace in strings: a uid or a generated name.
type Known struct{ From, To string }

// Normal takes out of x what differs between runs: times, uids, versions,
// allocated addresses, generated suffixes.
func Normal(x any, namespace string, step *Step, known []Known) any {
	n := normalizer{namespace: namespace, step: step, known: known, ignore: map[string]bool{}}
	for _, p := range step.Ignore {
		n.ignore[p] = true
	}
	return n.value(x, "")
}

type normalizer struct {
	namespace string
	step      *Step
	known     []Known
	ignore    map[string]bool
}

func (n *normalizer) value(x any, path string) any {
	switch x := x.(type) {
	case map[string]any:
		return n.object(x, path)
	case []any:
		out := make([]any, len(x))
		for i, v := range x {
			out[i] = n.value(v, path)
		}
		return out
	case string:
		s := x
		if n.namespace != "" {
			s = strings.ReplaceAll(s, n.namespace, "$NS")
		}
		for _, k := range n.known {
			s = strings.ReplaceAll(s, k.From, k.To)
		}
		return uidText.ReplaceAllString(timeText.ReplaceAllString(s, "<time>"), "<uid>")
	}
	return x
}

func (n *normalizer) object(x map[string]any, path string) any {
	out := make(map[string]any, len(x))
	for k, v := range x {
		p := k
		if path != "" {
			p = path + "." + k
		}
		if n.ignore[p] || k == "managedFields" && !n.step.Managed {
			continue
		}
		if _, isString := v.(string); k != "managedFields" && volatile[k] && (v == nil || isString) {
			continue
		}
		if address[k] && isAllocated(v) {
			out[k] = "<allocated>"
			continue
		}
		if s, ok := v.(string); ok && k == "continue" && s != "" {
			out[k] = "<continue>"
			continue
		}
		out[k] = n.value(v, p)
	}
	dropGeneration(x, out)
	generate, ok1 := out["generateName"].(string)
	name, ok2 := out["name"].(string)
	if ok1 && ok2 && strings.HasPrefix(name, generate) {
		out["name"] = generate + "<rand>"
	}
	return out
}

// dropGeneration takes the generation from what is left of a horizontal pod
// autoscaler, which has had one since v1.37: the recordings are older.
func dropGeneration(o, left map[string]any) {
	spec, _ := o["spec"].(map[string]any)
	meta, _ := left["metadata"].(map[string]any)
	if _, scales := spec["scaleTargetRef"]; scales && meta != nil {
		delete(meta, "generation")
	}
}

func isAllocated(v any) bool {
	switch v := v.(type) {
	case string:
		return v != "None" && v != ""
	case float64:
		return v != 0
	case []any:
		return !(len(v) == 1 && v[0] == "None")
	}
	return true
}

// Differences lists where got departs from want; empty when they are equal.
func Differences(want, got any, path string) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			break
		}
		return objectDifferences(w, g, path)
	case []any:
		g, ok := got.([]any)
		if !ok {
			break
		}
		var diff []string
		if len(w) != len(g) {
			diff = append(diff, fmt.Sprintf("%s: %d items, want %d: %s / %s", path, len(g), len(w), brief(g), brief(w)))
		}
		for i := range min(len(w), len(g)) {
			diff = append(diff, Differences(w[i], g[i], fmt.Sprintf("%s[%d]", path, i))...)
		}
		return diff
	}
	if equalScalar(want, got) {
		return nil
	}
	if w, ok := want.(string); ok && strings.Contains(path, ".cells[") {
		if g, ok := got.(string); ok && ageText.ReplaceAllString(w, "<age>") == ageText.ReplaceAllString(g, "<age>") {
			return nil
		}
	}
	return []string{fmt.Sprintf("%s: %s, want %s", path, brief(got), brief(want))}
}

func objectDifferences(w, g map[string]any, path string) []string {
	keys := map[string]bool{}
	for k := range w {
		keys[k] = true
	}
	for k := range g {
		keys[k] = true
	}
	sorted := make([]string, 0, len(keys))
	for k := range keys {
		sorted = append(sorted, k)
	}
	sort.Strings(sorted)
	var diff []string
	for _, k := range sorted {
		wv, inW := w[k]
		gv, inG := g[k]
		switch {
		case !inG:
			diff = append(diff, fmt.Sprintf("%s.%s: missing, want %s", path, k, brief(wv)))
		case !inW:
			diff = append(diff, fmt.Sprintf("%s.%s: unexpected %s", path, k, brief(gv)))
		default:
			diff = append(diff, Differences(wv, gv, path+"."+k)...)
		}
	}
	return diff
}

func equalScalar(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

func brief(x any) string {
	b, _ := json.Marshal(x)
	if len(b) > 300 {
		return string(b[:300]) + "…"
	}
	return string(b)
}
