package state

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPrimary(t *testing.T) {
	n := &corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeHostName, Address: "a"}, {Type: corev1.NodeExternalIP, Address: "203.0.113.1"}, {Type: corev1.NodeExternalIP, Address: "2001:db8::1"},
		{Type: corev1.NodeInternalIP, Address: "192.168.9.1"}, {Type: corev1.NodeInternalIP, Address: "192.168.9.2"},
	}}}
	for _, c := range []struct {
		node      *corev1.Node
		own, want string
	}{
		{n, "0.0.0.0", "[192.168.9.1/32 2001:db8::1/128]"},
		{n, "::", "[192.168.9.1/32 2001:db8::1/128]"},
		{n, "192.168.7.7", "[192.168.7.7/32 2001:db8::1/128]"},
		{n, "2001:db8::9", "[2001:db8::9/128 192.168.9.1/32]"},
		{nil, "0.0.0.0", "[]"},
		{nil, "192.168.7.7", "[192.168.7.7/32]"},
	} {
		if got := fmt.Sprint(primary(c.node, netip.MustParseAddr(c.own))); got != c.want {
			t.Errorf("bind address %s: %s, want %s", c.own, got, c.want)
		}
	}
}
