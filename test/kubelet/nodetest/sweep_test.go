package nodetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// begin starts a process that does nothing.
func begin(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return cmd
}

// What a test that was killed leaves behind is removed by the next one; what a
// living one has is let be.
func TestSweep(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts and namespaces are made: run it as root")
	}
	t.Setenv("TMPDIR", t.TempDir())
	node := func() *Node {
		dir, err := os.MkdirTemp("", "xnode")
		if err != nil {
			t.Fatal(err)
		}
		id := filepath.Base(dir)
		n := &Node{Dir: dir, netns: id, cgroup: "/" + id}
		t.Cleanup(func() { _ = n.remove() }) // it should be gone
		if err := n.network(); err != nil {
			t.Fatal(err)
		}
		if err := n.groups(); err != nil {
			t.Fatal(err)
		}
		inner := filepath.Join(dir, "mount")
		if err := os.Mkdir(inner, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", inner, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		return n
	}
	mark := func(n *Node, owner string) {
		if err := os.WriteFile(filepath.Join(n.Dir, ownerFile), []byte(owner), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	there := func(n *Node) (out []string) {
		for _, path := range []string{n.Dir, "/var/run/netns/" + n.netns, hierarchies()[0] + n.cgroup} {
			if _, err := os.Stat(path); err == nil {
				out = append(out, path)
			}
		}
		return out
	}

	lives, left, unmarked := node(), node(), node()
	mark(lives, owner(os.Getpid()))
	killed := begin(t)
	mark(left, owner(killed.Process.Pid))
	// A container of it goes on without it.
	orphan := begin(t)
	if err := os.WriteFile(filepath.Join(hierarchies()[0]+left.cgroup, "cgroup.procs"), []byte(strconv.Itoa(orphan.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	if len(there(left)) != 3 {
		t.Fatal("the node of a living process was removed")
	}
	_ = killed.Process.Kill() // as a test's time limit would
	_ = killed.Wait()
	go func() { _ = orphan.Wait() }() // a zombie would be taken for a process
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	if got := there(left); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
	for _, n := range []*Node{lives, unmarked} {
		if len(there(n)) != 3 {
			t.Errorf("%s was removed", n.Dir)
		}
	}
}

// Another process of the same number is not the owner.
func TestOwner(t *testing.T) {
	dir := t.TempDir()
	if abandoned(dir) {
		t.Error("a directory that says nothing is abandoned")
	}
	for text, want := range map[string]bool{owner(os.Getpid()): false, fmt.Sprintf("%d 1", os.Getpid()): true, "nonsense": false} {
		if err := os.WriteFile(filepath.Join(dir, ownerFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if abandoned(dir) != want {
			t.Errorf("of %q: not %t", text, want)
		}
	}
}
