package ipvs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	sysctls = "/proc/sys/net"
	ours    = "ipv4/vs/conntrack" // is there where IPVS is
)

// prepare loads modules and makes settings of the kernel.
func prepare(o *Options) error {
	if err := Available(o.Scheduler); err != nil {
		return err
	}
	for _, s := range settings(o) {
		err := s.apply()
		switch {
		case err == nil:
		case s.needed:
			return fmt.Errorf("mode ipvs: %w", err)
		case o.Log != nil:
			o.Log.Warn("a setting of the kernel can't be made", zap.String("setting", s.name), zap.Int("value", s.value), zap.Error(err))
		}
	}
	return nil
}

// Available loads IPVS where it is a module, and says what to do where that
// does not help.
func Available(scheduler string) error {
	modules := []string{"ip_vs", "ip_vs_" + scheduler, "ip_vs_" + sourceHash, "nf_conntrack", "dummy"}
	modprobe(modules)
	if _, err := os.Stat(filepath.Join(sysctls, ours)); err != nil {
		return fmt.Errorf("mode ipvs: the kernel has no IPVS (%s is missing): load the modules %s on the node (modprobe -a; a container needs the node's /lib/modules for that), or set mode: nftables",
			filepath.Join(sysctls, ours), strings.Join(modules, ", "))
	}
	return nil
}

// modprobe loads what can be loaded; a kernel may have it built in.
func modprobe(modules []string) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	for _, m := range modules {
		_ = exec.CommandContext(ctx, "modprobe", m).Run() // what is missing is noticed by its absence
	}
}

// sourceHash is the scheduler by the client's address.
const sourceHash = "sh"

type setting struct {
	name   string
	value  int
	needed bool
}

func settings(o *Options) []setting {
	out := []setting{
		// Sources are replaced by connection tracking, after IPVS.
		{ours, 1, true},
		// Connections to servers that are gone end, and don't wait.
		{"ipv4/vs/expire_nodest_conn", 1, false},
		// A client with affinity gets another server when its own drains.
		{"ipv4/vs/expire_quiescent_template", 1, false},
		{"ipv4/ip_forward", 1, false},
	}
	if before(kernelRelease(), 5, 9) {
		// Those kernels drop the first packet of a connection from a port that
		// was used before, for a second.
		out = append(out, setting{"ipv4/vs/conn_reuse_mode", 0, false})
	}
	if o.StrictARP {
		out = append(out, setting{"ipv4/conf/all/arp_ignore", 1, false}, setting{"ipv4/conf/all/arp_announce", 2, false})
	}
	return out
}

func (s setting) apply() error {
	file := filepath.Join(sysctls, s.name)
	is, err := os.ReadFile(file)
	if err == nil && strings.TrimSpace(string(is)) == strconv.Itoa(s.value) {
		return nil
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(s.value)), 0o644); err != nil {
		return fmt.Errorf("set net.%s to %d: %w", strings.ReplaceAll(s.name, "/", "."), s.value, err)
	}
	return nil
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// before tells whether a kernel is older than a version; one that says
// nothing of itself is not.
func before(release string, major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(release, "%d.%d", &a, &b); err != nil {
		return false
	}
	return a < major || a == major && b < minor
}

// Cleanup removes the link with the addresses of services, and the virtual
// servers but those of networks to leave alone. The table beside IPVS is
// nftables.Cleanup's. Where there was no kube-proxy in this mode it does
// nothing.
func Cleanup(o Options) error {
	if _, err := os.Stat(filepath.Join(sysctls, ours)); err != nil {
		return nil
	}
	k, err := dial()
	if err != nil {
		return err
	}
	defer k.Close()
	if k.link == nil {
		return nil
	}
	all, err := k.Virtuals()
	if err != nil {
		return err
	}
	m := newMarks(o.Mark())
	var errs []error
	for key := range all {
		if key.Mark != 0 && !m.ours(key.Mark) || key.Mark == 0 && excluded(o.Exclude, key.Addr) {
			continue
		}
		if err := k.Do(op{verb: dropVirtual, key: key}); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", key, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err // the link says that there is something left
	}
	return k.removeLink()
}
