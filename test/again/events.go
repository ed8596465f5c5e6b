package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// key names a test of a package; without a test it is the package.
type key struct{ pkg, test string }

func (k key) String() string {
	if k.test == "" {
		return k.pkg
	}
	return k.pkg + " " + k.test
}

// result is what a run of packages came to.
type result struct {
	failed map[string][]string // package → its top-level tests that failed
	broken []string            // packages that failed as a whole: no test did, or they ended in the middle
	builds []string            // packages that do not build
	begun  map[key]bool        // tests that began and did not end
	ran    map[string]bool     // packages of which every test had its turn
	raced  bool                // the race detector found something
	took   map[key]float64     // seconds that tests took which passed
}

// packages are those whose tests failed, in order.
func (r *result) packages() []string { return slices.Sorted(maps.Keys(r.failed)) }

// good reports whether nothing failed of what came to an end.
func (r *result) good() bool { return len(r.failed)+len(r.broken)+len(r.builds) == 0 && !r.raced }

// collector reads events, tells what is worth it, and keeps what failed.
type collector struct {
	result
	output map[key]*bytes.Buffer
	tell   func(string)
	began  func(key) // may be nil
}

func newCollector(tell func(string)) *collector {
	return &collector{result: result{failed: map[string][]string{}, begun: map[key]bool{}, ran: map[string]bool{}, took: map[key]float64{}}, output: map[key]*bytes.Buffer{}, tell: tell}
}

// line takes a line of the output; what is no event is told as it is.
func (c *collector) line(text []byte) {
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		c.tell(string(text) + "\n")
		return
	}
	c.raced = c.raced || e.Action == "output" && strings.HasPrefix(e.Output, "WARNING: DATA RACE")
	top, _, sub := strings.Cut(e.Test, "/")
	k := key{e.Package, top}
	switch {
	case e.Action == "build-output":
		c.tell(e.Output)
	case e.Action == "build-fail":
		c.builds = append(c.builds, e.ImportPath)
	case e.Action == "run" && !sub:
		c.begun[k], c.output[k] = true, &bytes.Buffer{}
		if c.began != nil {
			c.began(k)
		}
	case e.Action == "output" && e.Test == "":
		switch e.Output {
		case "PASS\n": // "ok" follows
		case "FAIL\n": // what package testing says once all tests are through
			c.ran[e.Package] = true
		default:
			c.tell(e.Output)
		}
	case e.Action == "output" && c.output[k] != nil:
		c.output[k].WriteString(e.Output)
	case e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
		c.packageOver(e)
	case !sub && (e.Action == "pass" || e.Action == "skip"):
		c.took[k] = e.Elapsed
		c.testOver(k)
	case !sub && e.Action == "fail":
		if c.begun[k] {
			c.tell(c.output[k].String())
			c.failed[e.Package] = append(c.failed[e.Package], top)
		}
		c.testOver(k)
	}
}

func (c *collector) testOver(k key) {
	delete(c.begun, k)
	delete(c.output, k)
}

func (c *collector) packageOver(e event) {
	if e.Action != "fail" {
		return
	}
	// A panic or a time limit ends a package in the middle of its tests.
	for k := range c.begun {
		if k.pkg == e.Package {
			c.tell(c.output[k].String())
			c.failed[e.Package] = append(c.failed[e.Package], k.test)
			c.testOver(k)
		}
	}
	slices.Sort(c.failed[e.Package])
	// One that ended before its end has tests that nobody has seen.
	whole := len(c.failed[e.Package]) == 0 || !c.ran[e.Package]
	if whole && !slices.ContainsFunc(c.builds, func(p string) bool { return strings.HasPrefix(p, e.Package) }) {
		delete(c.failed, e.Package)
		c.broken = append(c.broken, e.Package)
	}
}

// unfinished are the tests in the middle of which a run was ended.
func (c *collector) unfinished() []string {
	var all []string
	for k := range c.begun {
		all = append(all, k.String())
	}
	slices.Sort(all)
	return all
}

// slowest are the tests that took longest, a second at least, with their seconds.
func (r *result) slowest(n int) string {
	var keys []key
	for k, took := range r.took {
		if took >= 1 {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(r.took[b], r.took[a]), cmp.Compare(a.String(), b.String()))
	})
	var all []string
	for _, k := range keys[:min(n, len(keys))] {
		all = append(all, fmt.Sprintf("%s %.0f", k.test, r.took[k]))
	}
	return strings.Join(all, ", ")
}

// again are the arguments of a second run for each package in which something
// failed: of those tests only, of all if none is to blame or not all were run.
func (r *result) again() [][]string {
	var runs [][]string
	for _, p := range r.packages() {
		runs = append(runs, []string{"-run", fmt.Sprintf("^(%s)$", strings.Join(r.failed[p], "|")), p})
	}
	for _, p := range r.broken {
		runs = append(runs, []string{p})
	}
	return runs
}
