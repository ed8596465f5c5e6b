// Package golden runs tests that are written as text: what is there, a line of
// dashes, and what is decided about it.
//
//	# An unready pod goes before a ready one.
//	replicas 1
//	pod a ready
//	pod b waiting
//	----
//	delete b
//
// Cases are separated by empty lines. go test -update writes what is decided.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the outputs of golden tests")

const dashes = "----"

// one is a case of a file.
type one struct {
	comment, in, want []string
}

// Run runs the cases of a file. decide gets the lines above the dashes.
func Run(t *testing.T, path string, decide func(t *testing.T, in []string) string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cases := parse(string(text))
	if len(cases) == 0 {
		t.Fatalf("%s has no cases", path)
	}
	var out strings.Builder
	for i, c := range cases {
		name := strings.TrimPrefix(strings.Join(c.comment, " "), "# ")
		var got string
		t.Run(name, func(t *testing.T) {
			got = strings.TrimRight(decide(t, c.in), "\n")
			if want := strings.Join(c.want, "\n"); got != want && !*update {
				t.Errorf("%s: %s\n%s\ngot:\n%s\nwant:\n%s", filepath.Base(path), name, strings.Join(c.in, "\n"), got, want)
			}
		})
		if i > 0 {
			out.WriteString("\n")
		}
		for _, lines := range [][]string{c.comment, c.in, {dashes}} {
			for _, l := range lines {
				out.WriteString(l + "\n")
			}
		}
		if got != "" {
			out.WriteString(got + "\n")
		}
	}
	if *update && out.String() != string(text) {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func parse(text string) []one {
	var cases []one
	c, after := one{}, false
	flush := func() {
		if after {
			cases = append(cases, c)
		}
		c, after = one{}, false
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "" && after:
			flush()
		case line == "":
		case line == dashes:
			after = true
		case after:
			c.want = append(c.want, line)
		case strings.HasPrefix(line, "#"):
			c.comment = append(c.comment, line)
		default:
			c.in = append(c.in, line)
		}
	}
	flush()
	return cases
}

// Fields splits a line into its words: NAME, and KEY=VALUE pairs; a word
// without "=" is a key with the value "true".
func Fields(line string) (words []string, pairs map[string]string) {
	pairs = map[string]string{}
	for _, w := range strings.Fields(line) {
		if k, v, ok := strings.Cut(w, "="); ok {
			pairs[k] = v
			continue
		}
		words = append(words, w)
		pairs[w] = "true"
	}
	return words, pairs
}
