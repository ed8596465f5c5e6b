package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"xebec.dev/deploy/cluster"
	"xebec.dev/test/apiservertest"
)

// A cluster's process holds a lock for as long as it lives, however it ends:
// a lock that nobody holds is of a cluster that was left behind. Names alone do
// not tell, for others may call their clusters so: a person's "test" is none of ours.

// locks is where they are; a cluster's is called as it is.
const locks = "/run/lock/xebec-tests"

var clusterName = regexp.MustCompile(`^t[0-9a-z]{1,5}$`)

// names are those of clusters that have a lock, whether their process lives or not.
func names() ([]string, error) {
	files, err := filepath.Glob(locks + "/*")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, f := range files {
		if name := filepath.Base(f); clusterName.MatchString(name) {
			found = append(found, name)
		}
	}
	return found, nil
}

// nodesOf counts a cluster's nodes. Their namespaces and links come before
// their directories: a run may be killed in between.
func nodesOf(name string, glob func(string) ([]string, error)) (int, error) {
	most := 1
	for _, prefix := range []string{"/run/xebec-" + name + "/n", "/run/netns/" + name + "-n", "/sys/class/net/" + name + "-n"} {
		all, err := glob(prefix + "*")
		if err != nil {
			return 0, err
		}
		for _, path := range all {
			if n, err := strconv.Atoi(strings.TrimPrefix(path, prefix)); err == nil && n < 100 {
				most = max(most, n)
			}
		}
	}
	return most, nil
}

// claim takes a cluster's lock; without one, another process has it.
func claim(name string) (*os.File, error) {
	if err := os.MkdirAll(locks, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(locks, name)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, nil
			}
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Who released it may have removed it in between.
		mine, err := f.Stat()
		if now, gone := os.Stat(path); err == nil && gone == nil && os.SameFile(mine, now) {
			return f, nil
		}
		f.Close()
	}
}

// release removes a lock and gives it back.
func release(f *os.File) error {
	if f == nil {
		return nil
	}
	return errors.Join(os.Remove(f.Name()), f.Close())
}

// Sweep takes away all that runs which were killed have left.
func Sweep(ctx context.Context) error {
	all, err := names()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range all {
		lock, err := claim(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if lock == nil {
			continue // its process lives
		}
		nodes, err := nodesOf(name, filepath.Glob)
		if err == nil {
			err = remove(ctx, name, nodes)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cluster %s: %w", name, err), lock.Close())
			continue // the next run finds it by its lock
		}
		errs = append(errs, release(lock))
	}
	return errors.Join(errs...)
}

func remove(ctx context.Context, name string, nodes int) error {
	c, err := cluster.New(Options{Bin: apiservertest.Bin(), Name: name, Nodes: nodes})
	if err != nil {
		return err
	}
	return errors.Join(c.Stop(ctx), os.RemoveAll(scratch(name)))
}

// scratch is the directory of what a test makes beside a cluster.
func scratch(name string) string { return filepath.Join(os.TempDir(), "xebec-"+name) }

// Scratch makes a directory that goes with this process' cluster.
func Scratch(ctx context.Context) (string, error) {
	// What another process of this one's number has left goes first.
	if err := Sweep(ctx); err != nil {
		return "", err
	}
	dir := scratch(ownName())
	return dir, os.MkdirAll(dir, 0o755)
}

// ownName is that of this process' clusters.
func ownName() string { return prefix + strconv.FormatInt(int64(os.Getpid()), 36) }

// freeSubnet is a /24 that no link of this machine is in.
func freeSubnet(start int) (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	const many = 200
	// Some clouds give their machines all of the first.
	for _, net := range [][2]byte{{172, 31}, {10, 213}} {
		for i := range many {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{net[0], net[1], byte(10 + (start+i)%many), 0}), 24)
			if !taken(p, addresses) {
				return p.String(), nil
			}
		}
	}
	return "", errors.New("every network of 172.31.10.0 to 172.31.209.0 and of 10.213.10.0 to 10.213.209.0 is in use on this machine: `ip address` tells by what")
}

func taken(p netip.Prefix, addresses []net.Addr) bool {
	for _, a := range addresses {
		if other, err := netip.ParsePrefix(a.String()); err == nil && other.Overlaps(p) {
			return true
		}
	}
	return false
}
