package cni

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

// ledger is who has which address of a network: a directory with a file per
// address, which holds the owner. A lock on the directory is held between
// openLedger and close.
type ledger struct {
	dir  string
	lock *os.File
}

// owner of an address: a container's interface.
func owner(container, ifname string) string { return container + "\n" + ifname + "\n" }

func openLedger(stateDir, network string) (*ledger, error) {
	dir := filepath.Join(stateDir, network)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return &ledger{dir: dir, lock: lock}, nil
}

func (l *ledger) close() { l.lock.Close() }

// lastName keeps the newest address of a family, so that one that was given
// back rests as long as possible.
func lastName(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "last.4"
	}
	return "last.6"
}

// take gives the owner an address of each network: the one it has, or the
// next that is free after the newest.
func (l *ledger) take(networks []netip.Prefix, who string) ([]netip.Addr, error) {
	held, err := l.heldBy(who)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, p := range networks {
		a, err := l.takeOne(p, who, held)
		if err != nil {
			_ = l.release(who) // the first error is the one to tell
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func (l *ledger) takeOne(p netip.Prefix, who string, held []netip.Addr) (netip.Addr, error) {
	for _, a := range held {
		if p.Contains(a) {
			return a, nil
		}
	}
	begin := gateway(p)
	if text, err := os.ReadFile(filepath.Join(l.dir, lastName(p))); err == nil {
		if a, err := netip.ParseAddr(string(text)); err == nil && p.Contains(a) {
			begin = a
		}
	}
	for a := after(p, begin); ; a = after(p, a) {
		f, err := os.OpenFile(filepath.Join(l.dir, a.String()), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		switch {
		case err == nil:
			_, err = f.WriteString(who)
			if err := errors.Join(err, f.Close(), os.WriteFile(filepath.Join(l.dir, lastName(p)), []byte(a.String()), 0o644)); err != nil {
				_ = os.Remove(f.Name()) // not given
				return netip.Addr{}, err
			}
			return a, nil
		case !errors.Is(err, fs.ErrExist):
			return netip.Addr{}, err
		case a == begin:
			return netip.Addr{}, types.NewError(types.ErrTryAgainLater, fmt.Sprintf("no address of %s is free", p), "a pod that ends gives one back; the node's podCIDR may be too small for its maxPods")
		}
	}
}

// after is the next address a pod may have, in a circle: neither the
// network's own, the gateway, nor an IPv4 broadcast.
func after(p netip.Prefix, a netip.Addr) netip.Addr {
	next := a.Next()
	if !next.IsValid() || !p.Contains(next) || p.Addr().Is4() && !p.Contains(next.Next()) {
		return gateway(p).Next()
	}
	return next
}

func (l *ledger) heldBy(who string) ([]netip.Addr, error) {
	var out []netip.Addr
	err := l.each(func(a netip.Addr, owner string) error {
		if owner == who {
			out = append(out, a)
		}
		return nil
	})
	return out, err
}

func (l *ledger) each(f func(a netip.Addr, owner string) error) error {
	files, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		a, err := netip.ParseAddr(file.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(l.dir, file.Name()))
		if err != nil {
			return err
		}
		if err := f(a, string(text)); err != nil {
			return err
		}
	}
	return nil
}

// release gives back what the owner has.
func (l *ledger) release(who string) error {
	return l.keep(func(owner string) bool { return owner != who })
}

// keep gives back the addresses whose owners are not wanted.
func (l *ledger) keep(wanted func(owner string) bool) error {
	return l.each(func(a netip.Addr, owner string) error {
		// A file cut short by a crash belongs to nobody.
		if strings.Count(owner, "\n") == 2 && wanted(owner) {
			return nil
		}
		return os.Remove(filepath.Join(l.dir, a.String()))
	})
}
