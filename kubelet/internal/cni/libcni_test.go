package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
)

// tool calls the plugin by CNI's own library, as containerd and cnitool do.
type tool struct {
	*node
	cni  *libcni.CNIConfig
	list *libcni.NetworkConfigList
}

func newTool(t *testing.T, version string, cidrs ...string) *tool {
	t.Helper()
	n := newNode(t, cidrs...)
	raw, err := json.Marshal(map[string]any{"cniVersion": version, "name": "pods", "plugins": []any{map[string]any{"type": "xebec-bridge", "podCIDRs": cidrs, "stateDir": n.state}}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := libcni.ConfListFromBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &tool{n, libcni.NewCNIConfigWithCacheDir([]string{filepath.Dir(n.program)}, t.TempDir(), nil), list}
}

// do runs a call of the library in the node's namespace: programs that it
// starts are there too.
func (c *tool) do(f func(context.Context) error) error {
	return within(c.space, func() error { return f(c.t.Context()) })
}

func pod(container, netns string) *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: container, NetNS: netns, IfName: "eth0"}
}

func (c *tool) join(container, netns string) (*current.Result, error) {
	var r *current.Result
	err := c.do(func(ctx context.Context) error {
		got, err := c.cni.AddNetworkList(ctx, c.list, pod(container, netns))
		if err == nil {
			r, err = current.NewResultFromResult(got)
		}
		return err
	})
	return r, err
}

// TestByCNIsLibrary in each version of the protocol: what a runtime does from a
// pod's beginning to its end.
func TestByCNIsLibrary(t *testing.T) {
	for _, version := range []string{"0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			c := newTool(t, version, "10.78.1.0/24", "fd78:1::/64")
			if _, err := c.cni.ValidateNetworkList(t.Context(), c.list); err != nil {
				t.Fatalf("VERSION: %v", err)
			}
			if version == "1.1.0" {
				if err := c.do(func(ctx context.Context) error { return c.cni.GetStatusNetworkList(ctx, c.list) }); err != nil {
					t.Errorf("STATUS: %v", err)
				}
			}
			_, path := namespace(t)
			r, err := c.join("a", path)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.IPs) != 2 || len(r.Routes) != 2 || r.IPs[0].Interface == nil || r.IPs[0].Gateway.String() != "10.78.1.1" || r.IPs[1].Gateway.String() != "fd78:1::1" {
				t.Errorf("result %+v", r)
			}
			if err := c.do(func(ctx context.Context) error { return c.cni.CheckNetworkList(ctx, c.list, pod("a", path)) }); err != nil {
				t.Errorf("CHECK: %v", err)
			}
			if version == "1.1.0" {
				_, other := namespace(t)
				if _, err := c.join("b", other); err != nil {
					t.Fatal(err)
				}
				err := c.do(func(ctx context.Context) error {
					return c.cni.GCNetworkList(ctx, c.list, &libcni.GCArgs{ValidAttachments: []types.GCAttachment{{ContainerID: "a", IfName: "eth0"}}})
				})
				if l := c.links(); err != nil || len(l) != 1 || l[0] != linkName("a", "eth0") {
					t.Errorf("GC: %v, links %v", err, l)
				}
			}
			for _, netns := range []string{path, ""} {
				if err := c.do(func(ctx context.Context) error { return c.cni.DelNetworkList(ctx, c.list, pod("a", netns)) }); err != nil {
					t.Errorf("DEL: %v", err)
				}
			}
			if err := c.do(func(ctx context.Context) error { return c.cni.DelNetworkList(ctx, c.list, pod("never", "/no/such")) }); err != nil {
				t.Errorf("DEL of a container that never was: %v", err)
			}
			if l := c.links(); len(l) > 0 {
				t.Errorf("links %v", l)
			}
		})
	}
}

// TestCheckMissesNothing: each thing that ADD has made, taken away, is told by
// CHECK, with its name.
func TestCheckMissesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		inPod bool
		take  func(link string, r *current.Result) error
		want  string
	}{
		"address": {true, func(_ string, r *current.Result) error {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.AddrDel(l, &netlink.Addr{IPNet: &r.IPs[1].Address})
		}, "fd78:1::2"},
		"route": {true, func(string, *current.Result) error {
			routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
			for _, r := range routes {
				if r.Gw != nil {
					return errors.Join(err, netlink.RouteDel(&r))
				}
			}
			return errors.Join(err, errors.New("there was no route"))
		}, "route to 0.0.0.0/0 by 10.78.1.1"},
		"link of the pod": {true, func(string, *current.Result) error {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.LinkSetDown(l)
		}, "is down"},
		"bridge": {false, func(link string, _ *current.Result) error {
			l, err := netlink.LinkByName(link)
			if err != nil {
				return err
			}
			return netlink.LinkSetNoMaster(l)
		}, "not joined to the bridge"},
		"link": {false, func(link string, _ *current.Result) error {
			l, err := netlink.LinkByName(link)
			if err != nil {
				return err
			}
			return netlink.LinkDel(l)
		}, "the node's end"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTool(t, "1.1.0", "10.78.1.0/24", "fd78:1::/64")
			h, path := namespace(t)
			r, err := n.join("a", path)
			if err != nil {
				t.Fatal(err)
			}
			where := n.space
			if c.inPod {
				where = h
			}
			if err := within(where, func() error { return c.take(linkName("a", "eth0"), r) }); err != nil {
				t.Fatal(err)
			}
			err = n.do(func(ctx context.Context) error { return n.cni.CheckNetworkList(ctx, n.list, pod("a", path)) })
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, expected %q", err, c.want)
			}
		})
	}
}

// TestExhausted: the pod too many is told to try again, and which range is
// full; what it had is taken back, and one that ends makes room.
func TestExhausted(t *testing.T) {
	c := newTool(t, "1.1.0", "10.78.1.0/30", "fd78:1::/64")
	_, first := namespace(t)
	if _, err := c.join("a", first); err != nil {
		t.Fatal(err)
	}
	_, second := namespace(t)
	_, err := c.join("b", second)
	var told *types.Error
	if !errors.As(err, &told) || told.Code != types.ErrTryAgainLater || !strings.Contains(fmt.Sprint(told), "no address of 10.78.1.0/30 is free") || !strings.Contains(fmt.Sprint(told), "maxPods") {
		t.Errorf("%v", err)
	}
	if err := c.do(func(ctx context.Context) error { return c.cni.DelNetworkList(ctx, c.list, pod("a", first)) }); err != nil {
		t.Fatal(err)
	}
	if r, err := c.join("b", second); err != nil || r.IPs[0].Address.IP.String() != "10.78.1.2" {
		t.Errorf("after one has ended: %+v %v", r, err)
	}
}
