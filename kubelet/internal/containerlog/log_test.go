package containerlog

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const sample = `2026-01-02T03:04:05.1Z stdout F one
2026-01-02T03:04:06.12Z stderr F two
2026-01-02T03:04:07.123456789Z stdout P thr
garbage
2026-01-02T03:04:07.2+01:00 stdout F:x ee
2026-01-02T03:04:08Z stdout F 
2026-01-02T03:04:09Z stdout F a b  c`

func read(t *testing.T, text string, o Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := Read(t.Context(), path, o, &b, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func n(i int64) *int64 { return &i }

func TestRead(t *testing.T) {
	at := func(s string) time.Time {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "one\ntwo\nthree\n\na b  c\n"},
		{Options{Timestamps: true, Tail: n(6)}, "2026-01-02T03:04:06.120000000Z two\n2026-01-02T03:04:07.123456789Z three\n2026-01-02T03:04:08.000000000Z \n2026-01-02T03:04:09.000000000Z a b  c\n"},
		{Options{Tail: n(0)}, ""},
		{Options{Tail: n(1)}, "a b  c\n"},
		{Options{Tail: n(2)}, "\na b  c\n"},
		{Options{Tail: n(100)}, "one\ntwo\nthree\n\na b  c\n"},
		{Options{Limit: n(6)}, "one\ntw"},
		{Options{Limit: n(0)}, ""},
		{Options{Stream: "stderr"}, "two\n"},
		{Options{Since: at("2026-01-02T03:04:08Z")}, "\na b  c\n"},
		{Options{Since: at("2027-01-02T03:04:08Z")}, ""},
	} {
		if have := read(t, sample, c.o); have != c.want {
			t.Errorf("%+v\nhave %q\nwant %q", c.o, have, c.want)
		}
	}
	if have := read(t, "", Options{Tail: n(3)}); have != "" {
		t.Errorf("%q", have)
	}
}

func TestTailOfLongLogs(t *testing.T) {
	var b strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&b, "2026-01-02T03:04:05Z stdout F line %d\n", i)
	}
	have := read(t, b.String(), Options{Tail: n(15000)})
	if lines := strings.Count(have, "\n"); lines != 15000 || !strings.HasPrefix(have, "line 5000\n") {
		t.Errorf("%d lines, from %.20q", lines, have)
	}
	long := "2026-01-02T03:04:05Z stdout F " + strings.Repeat("x", 3*maxLine) + "\n2026-01-02T03:04:05Z stdout F end\n"
	if have := read(t, long, Options{}); len(have) > maxLine+10 || !strings.HasSuffix(have, "x\nend\n") {
		t.Errorf("%d bytes of a line that is too long", len(have))
	}
}

func TestRefusesWhatIsNoLog(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "pods")
	if err := os.MkdirAll(filepath.Join(root, "p"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, to := range map[string]string{"p/link": "/etc/passwd", "dir": "/etc"} {
		if err := os.Symlink(to, filepath.Join(root, path)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{root + "/p/link", root + "/dir/passwd", root + "/../x", "/etc/passwd", root + "/p", root + "/none"} {
		if err := Read(t.Context(), path, Options{Root: root}, &bytes.Buffer{}, nil); err == nil {
			t.Errorf("%s was read", path)
		}
	}
	if err := Read(t.Context(), root+"/p/link", Options{}, &bytes.Buffer{}, nil); err == nil {
		t.Error("a link was followed")
	}
}

type buffer struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A follower sees every line once, in order, across many rotations, also
// those written in two halves; it ends when the container does.
func TestFollowAcrossRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := open()
	var out buffer
	var running atomic.Bool
	running.Store(true)
	done := make(chan error, 1)
	go func() {
		done <- Read(context.Background(), path, Options{Follow: true, Running: func(context.Context) bool { return running.Load() }}, &out, func() {})
	}()
	const lines = 2000
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i)
		line := fmt.Sprintf("2026-01-02T03:04:05Z stdout F line %d\n", i)
		half := i % len(line)
		for _, part := range []string{line[:half], line[half:]} {
			if _, err := f.WriteString(part); err != nil {
				t.Fatal(err)
			}
		}
		if i%100 == 99 { // as kubelets do: rename, then have it opened again
			// The reader must have opened the file before the next rotation
			// takes it away: rotation is rarer than that.
			for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), fmt.Sprintf("line %d\n", i)); time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("line %d has not come within a minute", i)
				}
			}
			if err := os.Rename(path, fmt.Sprintf("%s.%d", path, i)); err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("2026-01-02T03:04:05Z stdout F after the rename\n"); err != nil {
				t.Fatal(err)
			}
			want.WriteString("after the rename\n")
			f.Close()
			f = open()
		}
	}
	f.Close()
	running.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if out.String() != want.String() {
		t.Errorf("have %d bytes, want %d", len(out.String()), want.Len())
	}
}

// A runtime that is asked to turn to a new file makes it, and still writes what
// it has read to the old one.
func TestFollowTakesLateLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	write := func(f *os.File, text string) {
		if _, err := f.WriteString("2026-01-02T03:04:05Z stdout F " + text + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	old := open()
	write(old, "early")
	var out buffer
	var running atomic.Bool
	running.Store(true)
	done := make(chan error, 1)
	go func() {
		done <- Read(context.Background(), path, Options{Follow: true, settle: 3 * time.Second, Running: func(context.Context) bool { return running.Load() }}, &out, func() {})
	}()
	for end := time.Now().Add(time.Minute); out.String() != "early\n"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing came within a minute")
		}
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write(open(), "new")
	time.Sleep(100 * time.Millisecond) // the follower sees the new file
	write(old, "late")
	running.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "early\nlate\nnew\n" {
		t.Errorf("%q", got)
	}
}

func TestFollowEndsWithItsReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Read(ctx, path, Options{Follow: true, Running: func(context.Context) bool { return true }}, &buffer{}, nil)
	}()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for line := range strings.Lines(sample) {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := Parse(raw)
		if err != nil {
			return
		}
		tag := "F"
		if l.Partial {
			tag = "P"
		}
		again, err := Parse([]byte(l.Time.Format(time.RFC3339Nano) + " " + l.Stream + " " + tag + " " + string(l.Text)))
		if err != nil {
			// Years beyond what is written have no form.
			if y := l.Time.Year(); y >= 0 && y <= 9999 {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(bytes.TrimSuffix(l.Text, []byte("\n")), again.Text) || again.Stream != l.Stream || again.Partial != l.Partial || !again.Time.Equal(l.Time) {
			t.Errorf("%q is %+v, then %+v", raw, l, again)
		}
	})
}
