package cluster

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

const testName = "tzz9z9"

// TestMain holds a lock, as a process of its own, when it is told to.
func TestMain(m *testing.M) {
	if os.Getenv("HOLD_LOCK") == "" {
		os.Exit(m.Run())
	}
	lock, err := claim(testName)
	if err != nil || lock == nil {
		fmt.Println("no lock:", err)
		os.Exit(1)
	}
	fmt.Println("held")
	select {}
}

func TestLockOfAProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("locks are root's")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HOLD_LOCK=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(filepath.Join(locks, testName)) })
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || said != "held\n" {
		t.Fatalf("the holder says %q, %v", said, err)
	}
	if lock, err := claim(testName); lock != nil || err != nil {
		t.Errorf("a lock that is held is taken: %v, %v", lock, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if all, err := names(); !slices.Contains(all, testName) || err != nil {
		t.Errorf("nothing tells of the process that was killed: %v, %v", all, err)
	}
	lock, err := claim(testName)
	if lock == nil || err != nil {
		t.Fatalf("a lock whose process was killed is not taken: %v", err)
	}
	// Without a lock it is somebody's cluster that happens to be called so.
	root := "/run/xebec-" + testName
	// A run that was killed here has left it.
	if err := os.MkdirAll(root, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(root) })
	if err := release(lock); err != nil {
		t.Errorf("a lock is not released: %v", err)
	}
	if all, err := names(); slices.Contains(all, testName) || err != nil {
		t.Errorf("a cluster without a lock is swept: %v, %v", all, err)
	}
}

func TestNodesOfWhatIsLeft(t *testing.T) {
	for _, c := range []struct {
		want  int
		paths []string
	}{
		{1, nil},
		{2, []string{"/run/netns/tabc-n1", "/run/netns/tabc-n2"}},
		{3, []string{"/run/xebec-tabc/n1", "/sys/class/net/tabc-n3", "/sys/class/net/tabc-nx", "/sys/class/net/tabc-n4000"}},
	} {
		got, err := nodesOf("tabc", func(pattern string) (found []string, err error) {
			for _, p := range c.paths {
				if ok, _ := filepath.Match(pattern, p); ok {
					found = append(found, p)
				}
			}
			return found, nil
		})
		if got != c.want || err != nil {
			t.Errorf("%v: %d nodes, %v; expected %d", c.paths, got, err, c.want)
		}
	}
}

func TestNamesAreOurs(t *testing.T) {
	for name, want := range map[string]bool{"t1z": true, ownName(): true, "t": false, "xebec": false, "tests-br": false, "toolong": false} {
		if clusterName.MatchString(name) != want {
			t.Errorf("%q: expected %v", name, want)
		}
	}
}

func TestTakenSubnet(t *testing.T) {
	_, here, err := net.ParseCIDR("172.31.40.1/24")
	if err != nil {
		t.Fatal(err)
	}
	_, wide, err := net.ParseCIDR("172.16.0.0/12")
	if err != nil {
		t.Fatal(err)
	}
	p := netip.MustParsePrefix
	for _, c := range []struct {
		subnet string
		of     []net.Addr
		want   bool
	}{
		{"172.31.40.0/24", []net.Addr{here}, true}, {"172.31.41.0/24", []net.Addr{here}, false}, {"172.31.41.0/24", []net.Addr{here, wide}, true}, {"172.31.41.0/24", nil, false},
	} {
		if got := taken(p(c.subnet), c.of); got != c.want {
			t.Errorf("%s among %v: %v", c.subnet, c.of, got)
		}
	}
}
