package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// module makes packages of tests of its own, and goes there.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.com/m\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOWORK", "off")
	t.Setenv("GOFLAGS", "")
	t.Chdir(dir)
	return dir
}

// ran gives what a run came to, and all that it said.
func ran(ctx context.Context, began func(key), args ...string) (int, string) {
	var out strings.Builder
	code := (&runner{out: &out, began: began, clean: func(string) {}}).run(ctx, args)
	return code, out.String()
}

const head = "package p\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Stat\n\n"

// once fails the first time that it runs.
const once = head + `func TestOnce(t *testing.T) {
	t.Run("sub", func(t *testing.T) {
		if _, err := os.Stat("DIR/ran"); err != nil {
			_ = os.WriteFile("DIR/ran", nil, 0o600)
			t.Error("the reason")
		}
	})
}

func TestWell(t *testing.T) {
	f, _ := os.OpenFile("DIR/well", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	_, _ = f.WriteString("x")
	_ = f.Close()
}
`

func TestRuns(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		code  int
		says  []string
	}{
		{"all pass", map[string]string{"p/p_test.go": head + "func TestX(t *testing.T) {}\n"}, passed, []string{"ok", "again: passed: 1\n"}},
		{"one fails once", map[string]string{"p/p_test.go": once}, passed, []string{"the reason", "FAILED, once more: -run ^(TestOnce)$ example.com/m/p", "FLAKY, failed and then passed: -run ^(TestOnce)$"}},
		{"one fails twice", map[string]string{"p/p_test.go": head + "func TestX(t *testing.T) { t.Error(\"why\") }\n"}, failed, []string{"why", "FAILED TWICE: -run ^(TestX)$ example.com/m/p"}},
		{"one panics", map[string]string{"p/p_test.go": head + "func TestX(t *testing.T) { panic(\"why\") }\n"}, failed, []string{"FAILED TWICE: example.com/m/p"}},
		{"one panics once, and hides one that fails", map[string]string{"p/p_test.go": strings.Replace(once, "t.Error(", "panic(", 1) + "func TestZ(t *testing.T) { t.Error(\"hidden\") }\n"}, failed, []string{"the reason", "hidden", "FAILED TWICE: example.com/m/p"}},
		{"one ends the program", map[string]string{"p/p_test.go": strings.Replace(once, "t.Error(\"the reason\")", "os.Exit(1)", 1) + "func TestZ(t *testing.T) { t.Error(\"hidden\") }\n"}, failed, []string{"hidden", "FAILED TWICE: example.com/m/p"}},
		{"no test is to blame", map[string]string{"p/p_test.go": head + "func TestMain(m *testing.M) { println(\"no cluster\"); os.Exit(1) }\n"}, failed, []string{"no cluster", "FAILED TWICE: example.com/m/p"}},
		{"a race is found once", map[string]string{"p/p_test.go": strings.Replace(once, "t.Error(", "println(\"WARNING: DATA RACE\"); t.Error(", 1)}, failed, []string{"the reason", "FAILED: a data race"}},
		{"no build", map[string]string{"p/p_test.go": head + "func TestX(t *testing.T) { nothing() }\n"}, failed, []string{"undefined: nothing", "FAILED to build: example.com/m/p"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := module(t, c.files)
			code, said := ran(t.Context(), nil, "-count=1", "./...")
			if code != c.code {
				t.Errorf("it ends with %d, expected %d", code, c.code)
			}
			for _, w := range c.says {
				if !strings.Contains(said, w) {
					t.Errorf("it does not say %q", w)
				}
			}
			if well, err := os.ReadFile(filepath.Join(dir, "well")); err == nil && len(well) != 1 {
				t.Errorf("a test that passed ran %d times", len(well))
			}
			if t.Failed() {
				t.Log(said)
			}
		})
	}
}

// interrupted runs a package until one of its tests has begun, and ends it there.
func interrupted(t *testing.T, test, tests string) (code int, said string) {
	t.Helper()
	// Without a goroutine that does something, the tests would end by themselves.
	module(t, map[string]string{"p/p_test.go": head + tests + "func init() { go func() { for { _, _ = os.Stat(\"/\") } }() }\n"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	return ran(ctx, func(k key) {
		if k.test == test {
			cancel()
		}
	}, "-count=1", "./...")
}

// TestTimeIsUp ends in the middle of a test, whose process goes too. What passed
// before counts; where nothing did, something is wrong.
func TestTimeIsUp(t *testing.T) {
	for tests, want := range map[string]int{
		"func TestW(t *testing.T) {}\nfunc TestX(t *testing.T) { select {} }\n": late,
		"func TestX(t *testing.T) { select {} }\n":                              failed,
	} {
		code, said := interrupted(t, "TestX", tests)
		if code != want || !strings.Contains(said, "THE TIME WAS UP in the middle of: example.com/m/p TestX") {
			t.Errorf("it ends with %d, expected %d, and says:\n%s", code, want, said)
		}
	}
}

// TestNoTimeForMore: what failed once fails when there was no time to see it
// again.
func TestNoTimeForMore(t *testing.T) {
	code, said := interrupted(t, "TestY", "func TestX(t *testing.T) { t.Error(\"why\") }\nfunc TestY(t *testing.T) { select {} }\n")
	if code != failed || !strings.Contains(said, "FAILED ONCE, and there was no time to see it again: -run ^(TestX)$") {
		t.Errorf("it ends with %d and says:\n%s", code, said)
	}
}

func TestSplit(t *testing.T) {
	flags, packages := split([]string{"-short", "-p=1", "./a/...", "./b"})
	if !slices.Equal(flags, []string{"-short", "-p=1"}) || !slices.Equal(packages, []string{"./a/...", "./b"}) {
		t.Errorf("%q, %q", flags, packages)
	}
}

func TestParse(t *testing.T) {
	o, rest, err := parse([]string{"-limit", "3m", "-sweep", "-short", "./a"})
	if err != nil || o.limit != 3*time.Minute || !o.sweep || !slices.Equal(rest, []string{"-short", "./a"}) {
		t.Errorf("%+v, %q, %v", o, rest, err)
	}
	for _, bad := range [][]string{nil, {"-sweep"}, {"-limit", "long", "./a"}} {
		if _, _, err := parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestSlowest(t *testing.T) {
	r := result{took: map[key]float64{{"p", "A"}: 1, {"p", "B"}: 20.4, {"q", "C"}: 0.9, {"q", "D"}: 0}}
	if got := r.slowest(3); got != "B 20, A 1" {
		t.Error(got)
	}
}
