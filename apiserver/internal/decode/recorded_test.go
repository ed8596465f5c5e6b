package decode

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
)

// conversation is one recorded case.
type conversation struct {
	ID       string
	Steps    []step
	Observed []answer
}

type step struct {
	Do, Path string
	Type     *string
	Body     json.RawMessage
}

type answer struct {
	Code    int
	Body    json.RawMessage
	Warning []string
}

// text is the body as it was sent.
func (s step) text() string {
	var text string
	if json.Unmarshal(s.Body, &text) == nil {
		return text
	}
	return spaced(s.Body)
}

// spaced writes JSON as the recorder sent it, with a space after commas and
// colons.
func spaced(compact []byte) string {
	var b strings.Builder
	quoted := false
	for i, c := range compact {
		b.WriteByte(c)
		if c == '"' && (i == 0 || compact[i-1] != '\\') {
			quoted = !quoted
		}
		if !quoted && (c == ',' || c == ':') {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func (s step) contentType() string {
	if s.Type == nil {
		return mediaJSON
	}
	return *s.Type
}

func (s step) validation() string {
	_, query, _ := strings.Cut(s.Path, "?")
	for p := range strings.SplitSeq(query, "&") {
		if v, ok := strings.CutPrefix(p, "fieldValidation="); ok {
			return v
		}
	}
	return ""
}

// target finds the resource of a create or update of a whole object.
func (s step) target(t *scheme.Scheme) (scheme.Served, bool) {
	path, _, _ := strings.Cut(s.Path, "?")
	parts := strings.Split(strings.Trim(path, "/"), "/")
	gv := schema.GroupVersion{}
	switch {
	case len(parts) > 2 && parts[0] == "api":
		gv.Version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		gv.Group, gv.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return scheme.Served{}, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
		parts = parts[2:]
	}
	if len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" || s.Do == "POST" && len(parts) != 1 || s.Do == "PUT" && len(parts) < 2 {
		return scheme.Served{}, false
	}
	return t.At(gv.WithResource(parts[0]))
}

var decodeError = regexp.MustCompile(`cannot be handled as a |the object provided is unrecognized|does not match the expected API version|the body of the request was in an unknown format`)

var decodeWarning = regexp.MustCompile(`^(unknown|duplicate) field "|already set in map$`)

// headerText is the text of a recorded Warning header.
var headerText = regexp.MustCompile(`^299 - "(.*)"$`)

func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("../../../test/observed/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	table := builtin.Scheme()
	refused, accepted, warned := 0, 0, 0
	for _, file := range files {
		for _, c := range conversations(t, file) {
			for i, s := range c.Steps {
				res, ok := s.target(table)
				if s.Do != "POST" && s.Do != "PUT" || !ok || s.Body == nil || s.Path == "" || slices.Contains([]string{"strict", "Bogus"}, s.validation()) {
					continue
				}
				want := c.Observed[i]
				var status struct{ Kind, Message string }
				_ = json.Unmarshal(want.Body, &status) // other bodies have neither
				_, warnings, err := Body(res, s.contentType(), []byte(s.text()), s.validation())
				if want.Code >= 400 && decodeError.MatchString(status.Message) {
					refused++
					if err == nil || withoutTimes(err.Error()) != status.Message {
						t.Errorf("%s step %d\n got %v\nwant %s", c.ID, i, err, status.Message)
					}
					continue
				}
				if want.Code == 401 || want.Code == 403 {
					continue
				}
				if err != nil {
					t.Errorf("%s step %d: %v, want %d %s", c.ID, i, err, want.Code, status.Message)
					continue
				}
				accepted++
				if wanted := decodeWarnings(want.Warning); want.Code < 400 && len(wanted)+len(warnings) > 0 {
					warned++
					slices.Sort(warnings)
					if !slices.Equal(warnings, wanted) {
						t.Errorf("%s step %d\n got %q\nwant %q", c.ID, i, warnings, wanted)
					}
				}
			}
		}
	}
	if refused < 50 || accepted < 500 || warned < 10 {
		t.Errorf("only %d refused, %d accepted, %d with warnings", refused, accepted, warned)
	}
}

func conversations(t *testing.T, file string) []conversation {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []conversation
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var c conversation
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

var times = regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)

// withoutTimes hides times as the recordings do.
func withoutTimes(s string) string { return times.ReplaceAllString(s, "<time>") }

func decodeWarnings(headers []string) []string {
	var out []string
	for _, h := range headers {
		m := headerText.FindStringSubmatch(h)
		if m == nil {
			continue
		}
		if text := strings.ReplaceAll(m[1], `\"`, `"`); decodeWarning.MatchString(text) {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return out
}
