package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// A reader that opens ..data once sees all files of one version.
func TestContentChangesAsAWhole(t *testing.T) {
	dir := t.TempDir()
	at := func(n int) Payload {
		p := Payload{}
		for i := range 5 {
			p[fmt.Sprintf("d%d/f", i)] = File{Data: fmt.Append(nil, n), Mode: 0o644}
		}
		return p
	}
	if _, err := at(0).write(dir, nil); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	mixed := make(chan string, 1)
	go func() {
		defer close(mixed)
		for !stop.Load() {
			root, err := os.OpenRoot(filepath.Join(dir, dataLink))
			if err != nil {
				mixed <- err.Error() // the link is there at all times
				return
			}
			seen := map[string]int{}
			for i := range 5 {
				if raw, err := root.ReadFile(fmt.Sprintf("d%d/f", i)); err == nil {
					seen[string(raw)]++
				}
			}
			root.Close()
			if len(seen) > 1 {
				mixed <- fmt.Sprint(seen)
				return
			}
		}
	}()
	for n := 1; n <= 300; n++ {
		changed, err := at(n).write(dir, nil)
		if err != nil || !changed {
			t.Fatal(changed, err)
		}
	}
	stop.Store(true)
	if m, ok := <-mixed; ok {
		t.Errorf("a reader saw %s", m)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 7 { // ..data, its directory, five links
		t.Errorf("%v %v", entries, err)
	}
}

// What a process left behind that ended amid a write is repaired.
func TestContentAfterACrash(t *testing.T) {
	dir := t.TempDir()
	p := Payload{"a": {Data: []byte("1"), Mode: 0o600}}
	if _, err := p.write(dir, nil); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Symlink("..nowhere", filepath.Join(dir, nextLink)),
		os.Mkdir(filepath.Join(dir, "..half"), 0o755),
		os.Remove(filepath.Join(dir, "a")),
		os.Symlink("..data/gone", filepath.Join(dir, "gone")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if changed, err := p.write(dir, nil); err != nil || changed {
		t.Errorf("%v %v", changed, err)
	}
	expect(t, tree(t, dir), "-rw------- 0:0 a \"1\"\n")
	if changed, err := (Payload{"a": {Data: []byte("2"), Mode: 0o600}}).write(dir, nil); err != nil || !changed {
		t.Errorf("%v %v", changed, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 3 {
		t.Errorf("%v %v", entries, err)
	}
}

func TestPayloadRefusesPathsThatLeadElsewhere(t *testing.T) {
	for _, path := range []string{"", ".", "..", "../x", "a/../../x", "/etc/passwd", "..data", "..x/y", "a/../..data"} {
		if err := (Payload{}).add(path, File{}); err == nil {
			t.Errorf("%q was accepted", path)
		}
	}
	for _, path := range []string{"a", "a/b", ".hidden", "a/..b", "a.b..c"} {
		if err := (Payload{}).add(path, File{}); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
}
