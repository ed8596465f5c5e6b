package logs

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Before a log is rotated there is room for it: the oldest go, the last one is
// compressed, what an interrupted compression left is removed.
func TestMakeRoom(t *testing.T) {
	for _, c := range []struct {
		name       string
		keep       int
		have, want string
	}{
		{"the first time", 3, "0.log", "0.log"},
		{"one is rotated", 3, "0.log 0.log.20300102-000001", "0.log 0.log.20300102-000001.gz"},
		{"as many as may be", 3, "0.log 0.log.20300102-000001.gz 0.log.20300102-000002", "0.log 0.log.20300102-000002.gz"},
		{"far too many", 3, "0.log 0.log.20300102-000001.gz 0.log.20300102-000002.gz 0.log.20300102-000003.gz 0.log.20300102-000004", "0.log 0.log.20300102-000004.gz"},
		{"two at most", 2, "0.log 0.log.20300102-000001", "0.log"},
		{"an interrupted compression", 4, "0.log 0.log.20300102-000001 0.log.20300102-000001.tmp", "0.log 0.log.20300102-000001.gz"},
		{"one that was compressed and not removed", 5, "0.log 0.log.20300102-000001 0.log.20300102-000001.gz", "0.log 0.log.20300102-000001.gz"},
		{"another container's", 2, "0.log 1.log 1.log.20300102-000001", "0.log 1.log 1.log.20300102-000001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range strings.Fields(c.have) {
				if err := os.WriteFile(filepath.Join(dir, f), []byte("text of "+f), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			r := &Rotator{Files: c.keep}
			if err := r.makeRoom(filepath.Join(dir, "0.log")); err != nil {
				t.Fatal(err)
			}
			if got := files(t, dir); !slices.Equal(got, strings.Fields(c.want)) {
				t.Errorf("there are %v, want %s", got, c.want)
			}
		})
	}
}

func TestCompress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log.20300102-000001")
	text := strings.Repeat("a line\n", 1000)
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := compress(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path + compressed)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil || string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
