package host

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"xebec.dev/deploy/internal/layout"
)

// alone runs f in a network namespace of its own, which goes with it.
func alone(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine, and the namespace with it
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("a network namespace (needs root): %w", err)
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func ip(words string) (string, error) {
	out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("ip %s: %w: %s", words, err, out)
	}
	return string(out), err
}

// TestRoute: a machine that reaches nothing gets a route to what it rewrites
// itself, and loses it again; one that has a route is left alone.
func TestRoute(t *testing.T) {
	for name, c := range map[string]struct {
		before []string
		want   string
	}{
		"no default route": {[]string{"link set lo up", "addr add 198.51.100.7/32 dev lo"}, "10.96.0.0/12 dev lo scope link src 198.51.100.7"},
		"a default route":  {[]string{"link set lo up", "addr add 198.51.100.7/32 dev lo", "route add default dev lo"}, "default dev lo scope link"},
	} {
		alone(t, func() error {
			for _, words := range c.before {
				if _, err := ip(words); err != nil {
					return err
				}
			}
			was, err := ip("route")
			if err != nil {
				return err
			}
			root := layout.Root(t.TempDir())
			r, err := ReadRecord(root)
			if err != nil {
				return err
			}
			if err := r.Route("10.96.0.0/12", "198.51.100.7"); err != nil {
				return err
			}
			if got, err := ip("route"); err != nil || strings.Join(strings.Fields(got), " ") != c.want {
				t.Errorf("%s: routes %q: %v", name, got, err)
			}
			again, err := ReadRecord(root)
			if err != nil {
				return err
			}
			if err := again.Undo(); err != nil {
				return err
			}
			if got, err := ip("route"); err != nil || got != was {
				t.Errorf("%s: routes %q are left: %v", name, got, err)
			}
			again.Routes = []string{"10.96.0.0/12"}
			return again.Undo() // it is gone already
		})
	}
}
