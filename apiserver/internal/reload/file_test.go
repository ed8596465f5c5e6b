package reload

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	var failed error
	f, err := Open(path, func(b []byte) (string, error) {
		if string(b) == "bad" {
			return "", errors.New("bad")
		}
		return string(b), nil
	}, func(err error) { failed = err })
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	f.now = func() time.Time { return now }
	v := f.Version()
	write("b")
	if got := f.Get(); got != "a" {
		t.Errorf("looked too early: %q", got)
	}
	now = now.Add(2 * Interval)
	if got := f.Get(); got != "b" || f.Version() == v {
		t.Errorf("not reloaded: %q", got)
	}
	write("bad")
	f.Check()
	if got := f.Get(); got != "b" || failed == nil {
		t.Errorf("bad content: %q %v", got, failed)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	failed = nil
	f.Check()
	if got := f.Get(); got != "b" || failed == nil {
		t.Errorf("removed: %q %v", got, failed)
	}
	if Of(3).Get() != 3 {
		t.Error("Of")
	}
}
