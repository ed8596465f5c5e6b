package testnet

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"xebec.dev/kube-proxy/internal/compile"
)

// Cluster is three nodes with a pod each, and a host outside, at one switch.
//
//	node a, z1  192.168.9.1  pod 10.244.1.2    outside 192.168.9.100
//	node b, z1  192.168.9.2  pod 10.244.2.2
//	node c, z2  192.168.9.3  pod 10.244.3.2
//
// Pods answer at port 8080 with their node's name and whom they see.
type Cluster struct {
	Outside Space
	Nodes   []*ClusterNode
}

// ClusterNode is one of them.
type ClusterNode struct {
	compile.Node
	Space, Pod Space
	Addr       string
	// Sync puts services into the kernel; whoever tests sets it.
	Sync func(*compile.Update) error
}

// NewCluster makes one.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{Outside: NewSpace(t)}
	// The host outside is the switch too.
	var bridge *netlink.Bridge
	c.Outside.In(t, func() error {
		bridge = &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "switch"}}
		return errors.Join(netlink.LinkAdd(bridge), Address("switch", "192.168.9.100/24"))
	})
	zones := []string{"z1", "z1", "z2"}
	for i := range zones {
		n := &ClusterNode{
			Node:  compile.Node{Name: string(rune('a' + i)), Zone: zones[i], NodePortsV4: true},
			Space: NewSpace(t), Pod: NewSpace(t), Addr: fmt.Sprint("192.168.9.", i+1),
		}
		c.Nodes = append(c.Nodes, n)
		c.Outside.In(t, func() error { return Link("to-"+n.Name, "eth0", n.Space, bridge) })
		n.Space.In(t, func() error { return n.start(i+1, len(zones)) })
		pod, gateway := fmt.Sprintf("10.244.%d.2/24", i+1), fmt.Sprintf("10.244.%d.1", i+1)
		n.Pod.In(t, func() error { return errors.Join(Address("eth0", pod), Route("0.0.0.0/0", gateway)) })
		Serve(t, n.Pod, n.Name, ":8080")
	}
	return c
}

// start makes the node's links and routes.
func (n *ClusterNode) start(number, nodes int) error {
	pods := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "cni0"}}
	err := errors.Join(netlink.LinkAdd(pods), Address("cni0", fmt.Sprintf("10.244.%d.1/24", number)), Link("veth0", "eth0", n.Pod, pods),
		Address("eth0", n.Addr+"/24"), Route("0.0.0.0/0", "192.168.9.100"))
	for i := 1; i <= nodes; i++ {
		if i != number {
			err = errors.Join(err, Route(fmt.Sprintf("10.244.%d.0/24", i), fmt.Sprint("192.168.9.", i)))
		}
	}
	for file, v := range map[string]string{"ipv4/ip_forward": "1", "bridge/bridge-nf-call-iptables": "1", "ipv4/conf/all/send_redirects": "0", "ipv4/conf/eth0/send_redirects": "0"} {
		err = errors.Join(err, os.WriteFile("/proc/sys/net/"+file, []byte(v), 0o644))
	}
	return err
}
