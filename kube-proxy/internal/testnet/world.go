package testnet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// World is a node with two pods on a bridge, and a host outside with two
// addresses, which is the node's way to everywhere else.
//
//	node 192.168.9.1, 10.244.0.1   pod 10.244.0.2   other 10.244.0.3   outside 192.168.9.2, .3
//	     fd09::1, fd44::1              fd44::2            fd44::3              fd09::2
type World struct{ Node, Pod, Other, Outside Space }

// NewWorld makes one.
func NewWorld(t testing.TB) *World {
	t.Helper()
	w := &World{Node: NewSpace(t), Pod: NewSpace(t), Other: NewSpace(t), Outside: NewSpace(t)}
	w.Node.In(t, func() error {
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0"}}
		if err := errors.Join(netlink.LinkAdd(bridge), Address("cni0", "10.244.0.1/24", "fd44::1/64")); err != nil {
			return err
		}
		err := errors.Join(Link("veth0", "eth0", w.Pod, bridge), Link("veth1", "eth0", w.Other, bridge), Link("eth0", "eth0", w.Outside, nil),
			Address("eth0", "192.168.9.1/24", "fd09::1/64"), Route("0.0.0.0/0", "192.168.9.2"), Route("::/0", "fd09::2"))
		if err != nil {
			return err
		}
		for file, v := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "bridge/bridge-nf-call-iptables": "1", "bridge/bridge-nf-call-ip6tables": "1",
			// The host outside is also the way out: to tell it of the shorter way uses
			// up what the kernel sends of ICMP in a second, and refusals are silent.
			"ipv4/conf/all/send_redirects": "0", "ipv4/conf/eth0/send_redirects": "0"} {
			if err := os.WriteFile("/proc/sys/net/"+file, []byte(v), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	for i, pod := range []Space{w.Pod, w.Other} {
		pod.In(t, func() error {
			return errors.Join(Address("eth0", fmt.Sprintf("10.244.0.%d/24", i+2), fmt.Sprintf("fd44::%d/64", i+2)), Route("0.0.0.0/0", "10.244.0.1"), Route("::/0", "fd44::1"))
		})
	}
	w.Outside.In(t, func() error {
		return errors.Join(Address("eth0", "192.168.9.2/24", "192.168.9.3/24", "fd09::2/64"), Route("0.0.0.0/0", "192.168.9.1"), Route("::/0", "fd09::1"))
	})
	return w
}

// Space by its name in World, in small letters.
func (w *World) Space(name string) Space {
	return map[string]Space{"node": w.Node, "pod": w.Pod, "other": w.Other, "outside": w.Outside}[name]
}

// Meet makes IPv6 neighbours know each other: the bridge loses the first
// packet that it translates to one that the node does not know.
func (w *World) Meet(t testing.TB) {
	t.Helper()
	for i, pod := range []Space{w.Pod, w.Other} {
		Serve(t, pod, "", ":9999")
		w.Node.In(t, func() error {
			c, err := net.DialTimeout("tcp", fmt.Sprintf("[fd44::%d]:9999", i+2), 20*time.Second)
			if err == nil {
				c.Close()
			}
			return err
		})
	}
}
