// Package replay holds recorded conversations with Kubernetes against a
// server and tells what differs; test/observed/replay.py is the same in
// Python, and tells the format.
package replay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/google/uuid"

	"xebec.dev/api/observedtest"
)

// Runner replays cases.
type Runner struct {
	URL    string
	Client *http.Client
}

// Run replays one case and returns what differs.
func (r *Runner) Run(ctx context.Context, c *observedtest.Case) []string {
	x := &conversation{Runner: r, namespace: "r" + strings.ReplaceAll(uuid.NewString(), "-", "")[:10], kept: map[string]any{}}
	if c.Namespace == nil || *c.Namespace {
		x.do(ctx, &observedtest.Step{Do: "POST", Path: "/api/v1/namespaces", HasBody: true,
			Body: map[string]any{"metadata": map[string]any{"name": x.namespace}}})
		defer x.do(ctx, &observedtest.Step{Do: "DELETE", Path: "/api/v1/namespaces/" + x.namespace})
	}
	got, err := x.steps(ctx, c)
	var diff []string
	for i := range min(len(got), len(c.Observed)) {
		for _, d := range compare(&c.Observed[i], got[i]) {
			diff = append(diff, fmt.Sprintf("step %d%s", i, d))
		}
	}
	if err != nil {
		diff = append(diff, "stopped: "+err.Error())
	}
	return diff
}

type conversation struct {
	*Runner
	namespace string
	kept      map[string]any
	known     []observedtest.Known
}

type answer struct {
	code     int
	body     any
	warnings []string
	media    string
	events   []any
}

func (x *conversation) steps(ctx context.Context, c *observedtest.Case) ([]*observedtest.Observed, error) {
	got := make([]*observedtest.Observed, len(c.Steps))
	var watches sync.WaitGroup
	defer watches.Wait()
	type watched struct {
		i    int
		step *observedtest.Step
		box  *answer
	}
	var all []watched
	for i := range c.Steps {
		step, err := x.fill(&c.Steps[i])
		if err != nil {
			return got[:i], err
		}
		time.Sleep(time.Duration(step.Wait * float64(time.Second)))
		if step.Do == "WATCH" {
			box := &answer{}
			all = append(all, watched{i, step, box})
			watches.Go(func() { x.watch(ctx, step, box) })
			time.Sleep(200 * time.Millisecond)
			continue
		}
		a, err := x.do(ctx, step)
		if err != nil {
			return got[:i], err
		}
		got[i] = x.observe(step, a)
	}
	watches.Wait()
	for _, w := range all {
		n := len(w.box.events)
		if w.step.Events > 0 {
			n = min(n, w.step.Events)
		}
		events, _ := observedtest.Normal(append([]any{}, w.box.events[:n]...), x.namespace, w.step, x.known).([]any)
		got[w.i] = &observedtest.Observed{Code: w.box.code, Events: events}
	}
	return got, nil
}

func (x *conversation) observe(step *observedtest.Step, a *answer) *observedtest.Observed {
	if object, ok := a.body.(map[string]any); ok {
		if step.Keep != "" {
			x.kept[step.Keep] = object
		}
		x.remember(object)
	}
	o := &observedtest.Observed{Code: a.code, Body: observedtest.Normal(a.body, x.namespace, step, x.known)}
	for _, w := range a.warnings {
		o.Warning = append(o.Warning, observedtest.Normal(w, x.namespace, step, nil).(string))
	}
	slices.Sort(o.Warning)
	if !strings.HasPrefix(a.media, "application/json") {
		o.Type, _, _ = strings.Cut(a.media, ";")
	}
	return o
}

// remember notes uids and generated names, which later answers repeat.
func (x *conversation) remember(object map[string]any) {
	meta, _ := object["metadata"].(map[string]any)
	uid, _ := meta["uid"].(string)
	if uid == "" {
		return
	}
	x.known = append(x.known, observedtest.Known{From: uid, To: "<uid>"})
	if prefix, _ := meta["generateName"].(string); prefix != "" {
		name, _ := meta["name"].(string)
		x.known = append(x.known, observedtest.Known{From: name, To: prefix + "<rand>"})
	}
}

func compare(want, got *observedtest.Observed) []string {
	if got == nil {
		return []string{": no answer"}
	}
	whole := func(o *observedtest.Observed) map[string]any {
		m := map[string]any{"code": o.Code}
		if o.Events != nil {
			m["events"] = o.Events
		} else {
			m["body"] = o.Body
		}
		if len(o.Warning) > 0 {
			m["warning"] = toAny(o.Warning)
		}
		if o.Type != "" {
			m["type"] = o.Type
		}
		return m
	}
	w, g := whole(want), whole(got)
	if want.Events != nil && got.Events == nil {
		g = map[string]any{"code": got.Code, "events": []any{}}
	}
	if want.Events == nil && want.Body == nil && got.Body == nil {
		delete(w, "body")
		delete(g, "body")
	}
	return observedtest.Differences(w, g, "")
}

func toAny(s []string) []any {
	out := make([]any, len(s))
	for i := range s {
		out[i] = s[i]
	}
	return out
}

var reference = regexp.MustCompile(`\$\{([^}]+)\}`)

// fill puts the namespace and kept answers into a step.
func (x *conversation) fill(s *observedtest.Step) (*observedtest.Step, error) {
	out := *s
	var failed error
	text := func(in string) string {
		in = strings.ReplaceAll(in, "$NS", x.namespace)
		return reference.ReplaceAllStringFunc(in, func(m string) string {
			v, err := x.lookup(m[2 : len(m)-1])
			if err != nil && failed == nil {
				failed = err
			}
			return v
		})
	}
	out.Path = text(s.Path)
	out.User = text(s.User)
	out.Body = fillValue(s.Body, text)
	if s.RawBody != nil {
		out.RawBody = []byte(text(string(s.RawBody)))
	}
	out.Groups = make([]string, len(s.Groups))
	for i, g := range s.Groups {
		out.Groups[i] = text(g)
	}
	out.Headers = map[string]string{}
	for k, v := range s.Headers {
		out.Headers[k] = text(v)
	}
	return &out, failed
}

func fillValue(v any, text func(string) string) any {
	switch v := v.(type) {
	case string:
		return text(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = fillValue(v[i], text)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[text(k)] = fillValue(e, text)
		}
		return out
	}
	return v
}

func (x *conversation) lookup(path string) (string, error) {
	parts := strings.Split(path, ".")
	var v any = x.kept
	for _, p := range parts {
		switch at := v.(type) {
		case map[string]any:
			v = at[p]
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i >= len(at) {
				return "", fmt.Errorf("no %s in a kept answer", path)
			}
			v = at[i]
		default:
			return "", fmt.Errorf("no %s in a kept answer", path)
		}
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	return fmt.Sprint(v), nil
}

func (x *conversation) request(ctx context.Context, s *observedtest.Step, method string) (*http.Request, error) {
	var body io.Reader
	if s.HasBody {
		text, err := bodyText(s)
		if err != nil {
			return nil, err
		}
		body = strings.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, x.URL, body)
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(s.Path, "?")
	req.URL.Opaque = strings.TrimPrefix(x.URL, "https:") + escape(path)
	req.URL.RawQuery = escape(query)
	set := func(name, value, fallback string) {
		if value == "" {
			value = fallback
		}
		req.Header.Set(name, value)
	}
	set("Accept", s.Accept, "application/json")
	req.Header.Set("User-Agent", "replay")
	if s.Agent != nil {
		req.Header.Set("User-Agent", *s.Agent)
	}
	if s.HasBody {
		set("Content-Type", s.Type, "application/json")
	}
	if s.User != "" {
		req.Header.Set("Impersonate-User", s.User)
	}
	for _, g := range s.Groups {
		req.Header.Add("Impersonate-Group", g)
	}
	for k, v := range s.Headers {
		req.Header.Set(k, v)
	}
	return req, nil
}

// bodyText is the body as the recorder sent it: fields in their order, with
// the spaces that Python puts.
func bodyText(s *observedtest.Step) (string, error) {
	if text, ok := s.Body.(string); ok {
		return text, nil
	}
	if s.RawBody == nil {
		b, err := json.Marshal(s.Body)
		return string(b), err
	}
	var out strings.Builder
	inString, escaped := false, false
	for _, c := range string(s.RawBody) {
		switch {
		case c > 0x7e:
			for _, u := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&out, "\\u%04x", u)
			}
			escaped = false
			continue
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		}
		if inString || c != ' ' {
			out.WriteRune(c)
		}
		if !inString && (c == ',' || c == ':') {
			out.WriteByte(' ')
		}
	}
	return out.String(), nil
}

// escape does what the recorder did: percent-encode all but these.
func escape(s string) string {
	const safe = "/?&=%,:!()'*+~.-_@$;[]"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(safe, c) >= 0 {
			b.WriteByte(c)
		} else {
			b.WriteString(url.PathEscape(string([]byte{c})))
		}
	}
	return b.String()
}

func (x *conversation) do(ctx context.Context, s *observedtest.Step) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := x.request(ctx, s, s.Do)
	if err != nil {
		return nil, err
	}
	resp, err := x.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &answer{code: resp.StatusCode, media: resp.Header.Get("Content-Type"), warnings: resp.Header.Values("Warning")}
	if json.Unmarshal(raw, &a.body) != nil {
		a.body = string(bytes.ToValidUTF8(raw, []byte("\uFFFD")))
	}
	return a, nil
}

func (x *conversation) watch(ctx context.Context, s *observedtest.Step, box *answer) {
	seconds := s.Seconds
	if seconds == 0 {
		seconds = 3
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second)))
	defer cancel()
	req, err := x.request(ctx, s, http.MethodGet)
	if err != nil {
		return
	}
	resp, err := x.Client.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	box.code = resp.StatusCode
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e any
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			box.events = append(box.events, e)
		}
		if s.Events > 0 && len(box.events) >= s.Events {
			return
		}
	}
}
