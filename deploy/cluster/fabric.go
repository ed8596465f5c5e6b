package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"xebec.dev/deploy/internal/host"
)

// bridge is the link that joins the nodes; its address is their gateway, and
// by it this machine reaches them.
func (c *Cluster) bridge() string { return c.Name + "-br" }

// veth is this machine's end of a node's cable.
func (c *Cluster) veth(n *Node) string { return c.Name + "-" + n.Name }

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func steps(ctx context.Context, all ...[]string) error {
	for _, s := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := ip(s...); err != nil {
			return err
		}
	}
	return nil
}

func words(s string) []string { return strings.Fields(s) }

// fabric makes the bridge and attaches all nodes. Who takes the cluster down
// meanwhile takes the records, and what is made after that is nobody's: it goes
// here.
func (c *Cluster) fabric(ctx context.Context) error {
	err := c.weave(ctx)
	r, unread := host.ReadRecord(c.nodes[0].root)
	if unread != nil || r.Kept() {
		return errors.Join(err, unread)
	}
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, c.detach(n))
	}
	if err := errors.Join(append(errs, removeLink(c.bridge()))...); err != nil {
		return fmt.Errorf("%w; these are left: %w", ErrTakenDown, err)
	}
	return ErrTakenDown
}

func (c *Cluster) weave(ctx context.Context) error {
	gateway, bits, err := c.gateway()
	if err != nil {
		return err
	}
	if err := steps(ctx,
		words("link add "+c.bridge()+" type bridge"),
		words(fmt.Sprintf("addr add %s/%d dev %s", gateway, bits, c.bridge())),
		words("link set "+c.bridge()+" up"),
	); err != nil {
		return err
	}
	if second := c.second(gateway); second != "" {
		if err := ip("addr", "add", second+"/64", "dev", c.bridge(), "nodad"); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := c.attach(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// linked says whether there are nodes in namespaces of a cluster of this name.
func (c *Cluster) linked() bool {
	_, err := os.Lstat("/sys/class/net/" + c.bridge())
	return err == nil
}

func (c *Cluster) gateway() (netip.Addr, int, error) {
	p, err := c.subnet()
	if err != nil {
		return netip.Addr{}, 0, err
	}
	return p.Addr().Next(), p.Bits(), nil
}

// attach gives a node its namespace and a cable to the bridge.
func (c *Cluster) attach(ctx context.Context, n *Node) error {
	gateway, bits, err := c.gateway()
	if err != nil {
		return err
	}
	in := "-n " + n.NetNS + " "
	var more [][]string
	if n.Address6 != "" {
		more = [][]string{
			// What the kernel would look for is not there: nobody else is on the wire.
			words(in + "addr add " + n.Address6 + "/64 dev eth0 nodad"),
			words(in + "route add default via " + c.second(gateway)),
		}
	}
	// The inner end is made under a name that the machine may not have yet.
	peer := n.NetNS + "p"
	return steps(ctx, append([][]string{
		words("netns add " + n.NetNS),
		words("link add " + c.veth(n) + " type veth peer name " + peer + " netns " + n.NetNS),
		words("link set " + c.veth(n) + " master " + c.bridge() + " up"),
		words(in + "link set " + peer + " name eth0"),
		words(in + "link set lo up"),
		words(in + fmt.Sprintf("addr add %s/%d dev eth0", n.Address, bits)),
		words(in + "link set eth0 up"),
		words(in + "route add default via " + gateway.String()),
	}, more...)...)
}

// detach takes a node's namespace and cable away.
func (c *Cluster) detach(n *Node) error {
	var errs []error
	if _, err := os.Stat("/run/netns/" + n.NetNS); err == nil {
		errs = append(errs, ip("netns", "del", n.NetNS))
	}
	errs = append(errs, removeLink(c.veth(n)))
	return errors.Join(errs...)
}

// removeLink removes a link if it is there; one end of a pair goes with the
// other, a moment after its namespace.
func removeLink(name string) error {
	err := ip("link", "del", name)
	if err != nil && strings.Contains(err.Error(), "Cannot find device") {
		return nil
	}
	return err
}

// Cut takes a node's cable out; Mend puts it back.
func (c *Cluster) Cut(n *Node) error { return ip("link", "set", c.veth(n), "down") }

// Mend undoes Cut.
func (c *Cluster) Mend(n *Node) error { return ip("link", "set", c.veth(n), "up") }
