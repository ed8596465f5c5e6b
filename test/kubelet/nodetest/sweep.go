package nodetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownerFile says whose a node is: a test that was killed can't clean up, so
// the next one does. A process is known by its number and when it began.
const ownerFile = "owner"

// owner is this process, or another, as its file says; empty once it is gone.
func owner(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The name, in parentheses, may have blanks.
	f := strings.Fields(string(raw)[strings.LastIndexByte(string(raw), ')')+1:])
	const began = 19 // the field, counted after the name
	if len(f) <= began {
		return ""
	}
	return fmt.Sprintf("%d %s", pid, f[began])
}

// abandoned reports whether the test that made a node's directory is gone. A
// directory without a file is being made, or is not a node's.
func abandoned(dir string) bool {
	raw, err := os.ReadFile(filepath.Join(dir, ownerFile))
	if err != nil {
		return false
	}
	number, _, _ := strings.Cut(string(raw), " ")
	pid, err := strconv.Atoi(number)
	return err == nil && owner(pid) != string(raw)
}

// Sweep removes the nodes of tests that are gone.
func Sweep() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), "xnode*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		if !abandoned(dir) {
			continue
		}
		id := filepath.Base(dir)
		n := &Node{Dir: dir, netns: id, cgroup: "/" + id}
		err := n.remove()
		if _, gone := os.Stat(dir); err != nil && gone == nil { // else another test was quicker
			errs = append(errs, fmt.Errorf("what a test that was killed left in %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// remove removes all that a node has, once its daemons have ended: what is
// still in its groups and its network is ended, as what it runs was.
func (n *Node) remove() error {
	errs := []error{eventually(Patience, n.killAll), n.unmount()}
	if _, err := os.Stat("/var/run/netns/" + n.netns); err == nil {
		errs = append(errs, run("ip", "netns", "del", n.netns))
	}
	return errors.Join(append(errs, n.removeGroups(), n.unlinkLogs(), os.RemoveAll(n.Dir))...)
}

// killAll ends the processes that are the node's: those in its groups, and
// those whose program or socket is named by its directory, as its shims are.
func (n *Node) killAll() error {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	var left []string
	for _, p := range procs {
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil || pid == os.Getpid() || !n.owns(pid) {
			continue
		}
		left = append(left, filepath.Base(p))
		_ = unix.Kill(pid, syscall.SIGKILL) // gone is well
	}
	if len(left) > 0 {
		return fmt.Errorf("processes %v do not end", left)
	}
	return nil
}

func (n *Node) owns(pid int) bool {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && (f[2] == n.cgroup || strings.HasPrefix(f[2], n.cgroup+"/")) {
			return true
		}
	}
	// A shim's arguments name its containerd's socket.
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(args), "containerd-shim") && strings.Contains(string(args), n.Dir+"/")
}
