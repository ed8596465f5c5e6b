// Package conformance keeps docs/conformance.md true: what it says is shown by
// tests, is named in them, and the other way round. It needs no cluster.
package conformance

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write which files show what into docs/conformance.md")

const (
	tree = "../.."
	docs = tree + "/docs/conformance.md"
	// notShown begins the reason in the place of a file.
	notShown = "not shown: "
)

var id = regexp.MustCompile(`\b(AM|AP|AR|AU|CL|IN|NE|NO|SC|ST)-[0-9a-f]{4}\b`)

// row of the table: id, behaviour, and the files of tests or the reason why
// there is none.
type row struct{ id, behaviour, shown string }

func (r row) String() string { return fmt.Sprintf("| %s | %s | %s |", r.id, r.behaviour, r.shown) }

func parse(t *testing.T, line string) (row, bool) {
	t.Helper()
	if !strings.HasPrefix(line, "| ") || !id.MatchString(line[2:min(len(line), 9)]) {
		return row{}, false
	}
	cells := strings.Split(strings.Trim(line, "| "), " | ")
	if len(cells) == 2 {
		cells = append(cells, "")
	}
	if len(cells) != 3 {
		t.Fatalf("a row has three cells: %s", line)
	}
	return row{cells[0], cells[1], strings.TrimSpace(cells[2])}, true
}

// sources are the test files that name an id, in a subtest's name or in the
// comment of a test.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." && path != tree {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(tree, path)
		if err != nil {
			return err
		}
		for _, i := range id.FindAllString(string(text), -1) {
			if !slices.Contains(found[i], name) {
				found[i] = append(found[i], name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestTable compares the table with the sources.
func TestTable(t *testing.T) {
	raw, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	found, listed := sources(t), map[string]bool{}
	lines := strings.Split(string(raw), "\n")
	for i, line := range lines {
		r, ok := parse(t, line)
		if !ok {
			continue
		}
		if listed[r.id] {
			t.Errorf("%s has two rows", r.id)
		}
		listed[r.id] = true
		want := "`" + strings.Join(found[r.id], "` `") + "`"
		switch files := found[r.id]; {
		case len(files) > 0 && *update:
			r.shown = want
			lines[i] = r.String()
		case len(files) > 0 && r.shown != want:
			t.Errorf("%s is shown by %s, docs/conformance.md says %q: `go test ./conformance -update` writes it", r.id, want, r.shown)
		case len(files) == 0 && (!strings.HasPrefix(r.shown, notShown) || len(r.shown) == len(notShown)):
			t.Errorf("%s is named by no test: docs/conformance.md needs %q and a reason", r.id, notShown)
		}
	}
	for i, files := range found {
		if !listed[i] {
			t.Errorf("%s of %v has no row in docs/conformance.md", i, files)
		}
	}
	if *update {
		if err := os.WriteFile(docs, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
