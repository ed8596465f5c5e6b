// Package node is this node in the API: it registers it, keeps its status and
// its lease current, and is their only writer.
package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Host is what does not change while the machine is up.
type Host struct {
	CPUs      int
	Memory    int64 // bytes
	Swap      int64
	HugePages map[int64]int64 // bytes in all, by size of a page in bytes
	MachineID string
	UUID      string
	BootID    string
	Kernel    string
	OS        string
	// AppArmor: the kernel confines with profiles.
	AppArmor bool
}

func line(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// ReadHost reads the machine.
func ReadHost() (*Host, error) {
	h := &Host{
		MachineID: line("/etc/machine-id"), UUID: line("/sys/class/dmi/id/product_uuid"), BootID: line("/proc/sys/kernel/random/boot_id"),
		OS: osName(line("/etc/os-release")), CPUs: cpus(line("/sys/devices/system/cpu/online")), HugePages: hugePages(),
		AppArmor: line("/sys/module/apparmor/parameters/enabled") == "Y",
	}
	if h.UUID == "" {
		h.UUID = h.MachineID
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	h.Kernel = unix.ByteSliceToString(u.Release[:])
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil, err
	}
	for l := range strings.Lines(string(raw)) {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(f[1], 10, 64) // kB; other lines don't matter
		switch f[0] {
		case "MemTotal:":
			h.Memory = n << 10
		case "SwapTotal:":
			h.Swap = n << 10
		}
	}
	return h, nil
}

func osName(release string) string {
	for l := range strings.Lines(release) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(l), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return "Linux"
}

// cpus counts a list as in 0-3,8.
func cpus(list string) int {
	n := 0
	for _, part := range strings.Split(list, ",") {
		from, to, ok := strings.Cut(part, "-")
		a, err := strconv.Atoi(from)
		if err != nil {
			continue
		}
		b := a
		if ok {
			if b, err = strconv.Atoi(to); err != nil {
				continue
			}
		}
		n += b - a + 1
	}
	return max(n, 1)
}

func hugePages() map[int64]int64 {
	out := map[int64]int64{}
	dirs, err := filepath.Glob("/sys/kernel/mm/hugepages/hugepages-*kB")
	if err != nil {
		return out
	}
	for _, d := range dirs {
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(d), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		n, _ := strconv.ParseInt(line(filepath.Join(d, "nr_hugepages")), 10, 64) // none if it can't be read
		out[kb<<10] = n * kb << 10
	}
	return out
}

// Capacity is what the machine has. dir is on the file system of the node.
func (h *Host) Capacity(dir string, maxPods int64) corev1.ResourceList {
	out := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(h.CPUs), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(h.Memory, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(maxPods, resource.DecimalSI),
	}
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil {
		out[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(st.Blocks)*st.Bsize, resource.BinarySI)
	}
	for size, bytes := range h.HugePages {
		name := corev1.ResourceHugePagesPrefix + resource.NewQuantity(size, resource.BinarySI).String()
		out[corev1.ResourceName(name)] = *resource.NewQuantity(bytes, resource.BinarySI)
	}
	return out
}

// lookupTime bounds the question for the node's own name.
const lookupTime = 2 * time.Second

// Addresses finds the node's IPs: those given, else what its name stands for,
// else those of the interface of the default route.
func Addresses(ctx context.Context, given []string, name string) ([]string, error) {
	local, err := localIPs()
	if err != nil {
		return nil, err
	}
	family := byte(0)
	if len(given) > 0 {
		first, err := netip.ParseAddr(given[0])
		if err != nil {
			return nil, fmt.Errorf("--node-ip: %w", err)
		}
		if !first.IsUnspecified() {
			return checkGiven(given, local)
		}
		family = 4
		if first.Is6() {
			family = 6
		}
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return []string{ip.String()}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	if found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name); err == nil {
		for _, ip := range found {
			if ip = ip.Unmap(); slices.Contains(local, ip) && ip.IsGlobalUnicast() && of(ip, family) {
				return []string{ip.String()}, nil
			}
		}
	}
	for _, f := range []byte{4, 6} {
		if family != 0 && f != family {
			continue
		}
		if ip, ok := defaultRoute(f); ok {
			return []string{ip.String()}, nil
		}
	}
	for _, ip := range local {
		if ip.IsGlobalUnicast() && of(ip, family) {
			return []string{ip.String()}, nil
		}
	}
	return nil, fmt.Errorf("no address of this machine can be the node's: name one with --node-ip")
}

func of(ip netip.Addr, family byte) bool {
	return family == 0 || family == 4 && ip.Is4() || family == 6 && ip.Is6()
}

func checkGiven(given []string, local []netip.Addr) ([]string, error) {
	var out []string
	for _, s := range given {
		ip, err := netip.ParseAddr(strings.TrimSpace(s))
		switch {
		case err != nil:
			return nil, fmt.Errorf("--node-ip: %w", err)
		case ip.IsLoopback() || ip.IsMulticast() || ip.IsLinkLocalUnicast():
			return nil, fmt.Errorf("--node-ip: %s is loopback, multicast or link-local: others can't reach the node by it", ip)
		case !slices.Contains(local, ip):
			return nil, fmt.Errorf("--node-ip: no interface of this machine has %s", ip)
		}
		out = append(out, ip.String())
	}
	return out, nil
}

func localIPs() ([]netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out, nil
}

// defaultRoute is the address of the interface that leads out.
func defaultRoute(family byte) (netip.Addr, bool) {
	name := ""
	if family == 4 {
		for l := range strings.Lines(line("/proc/net/route")) {
			if f := strings.Fields(l); len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
				name = f[0]
				break
			}
		}
	} else {
		for l := range strings.Lines(line("/proc/net/ipv6_route")) {
			if f := strings.Fields(l); len(f) > 9 && f[0] == strings.Repeat("0", 32) && f[1] == "00" && f[9] != "lo" {
				name = f[9]
				break
			}
		}
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, false
	}
	addrs, err := i.Addrs()
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			if ip := p.Addr().Unmap(); ip.IsGlobalUnicast() && of(ip, family) {
				return ip, true
			}
		}
	}
	return netip.Addr{}, false
}
