package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// onEach is a pod that serves on each of the first two nodes, and one on each
// that asks.
func onEach(u user) {
	u.t.Helper()
	manifest := ""
	for i, n := range running.Members()[:2] {
		place := "nodeName: " + n.Name + ","
		manifest += server(fmt.Sprintf("web-%d", i), "app: web", place) + server(fmt.Sprintf("asks-%d", i), "app: asks", place)
	}
	u.apply(manifest)
	u.ready("pod/web-0", "pod/web-1", "pod/asks-0", "pod/asks-1")
}

// answered waits until who asks twenty times hears these pods, and nobody
// else. Nobody at all is a refusal.
func (u user) answered(url string, from int, want ...string) {
	u.t.Helper()
	u.until(fmt.Sprintf("at %s, node %d's pod hears %v", url, from, want), func() error {
		out, err := u.output(append([]string{"exec", fmt.Sprintf("asks-%d", from), "--", "/bin/client", "get"}, slices.Repeat([]string{url}, 20)...)...)
		if len(want) == 0 {
			if err == nil {
				return fmt.Errorf("it hears %s", out)
			}
			return nil
		}
		all := strings.Fields(out)
		slices.Sort(all)
		if got := slices.Compact(all); err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it hears %v", got)
		}
		return err
	})
}

// TestNearness: where a Service's traffic goes when it is to stay near: within
// the zone, on the node, or nowhere else at all.
func TestNearness(t *testing.T) {
	t.Parallel()
	u := newUser(t, "near")
	onEach(u)
	zone := func(i int, name string) {
		t.Helper()
		change := "topology.kubernetes.io/zone" + name
		u.run("label", "node", running.Members()[i].Name, change, "--overwrite")
	}
	t.Cleanup(func() { zone(0, "-"); zone(1, "-") })
	zone(0, "=east")
	zone(1, "=west")
	service := func(name, more string) string {
		return fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: {%s selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}\n---\n", name, more)
	}
	u.apply(service("any", "") + service("zone", "trafficDistribution: PreferSameZone,") + service("close", "trafficDistribution: PreferClose,") +
		service("node", "trafficDistribution: PreferSameNode,") + service("inside", "internalTrafficPolicy: Local,"))
	const any, inZone, closest, onNode, inside = "http://any/hostname", "http://zone/hostname", "http://close/hostname", "http://node/hostname", "http://inside/hostname"
	u.answered(any, 0, "web-0", "web-1")
	u.sub("each zone and node has its own", func(u user) {
		for _, url := range []string{inZone, closest, onNode, inside} {
			u.answered(url, 0, "web-0")
			u.answered(url, 1, "web-1")
		}
	})
	u.sub("one zone is all near, and nodes stay apart", func(u user) {
		u.t.Cleanup(func() { zone(1, "=west") })
		zone(1, "=east")
		u.answered(inZone, 0, "web-0", "web-1")
		u.answered(inZone, 1, "web-0", "web-1")
		u.answered(onNode, 0, "web-0")
		u.answered(onNode, 1, "web-1")
	})
	u.sub("what has nothing near goes far, or nowhere", func(u user) {
		u.answered(inZone, 1, "web-1")
		u.run("delete", "pod", "web-1")
		for _, url := range []string{inZone, closest, onNode} {
			u.answered(url, 0, "web-0")
			u.answered(url, 1, "web-0")
		}
		u.answered(inside, 0, "web-0")
		u.answered(inside, 1)
	})
}

// TestLoadBalancer: the address that a cloud has given a Service is answered by
// the nodes, for those who may ask; and by nobody once it is taken away.
func TestLoadBalancer(t *testing.T) {
	t.Parallel()
	u := newUser(t, "balanced")
	onEach(u)
	// Of the nodes' network, so that nobody else is asked when they don't answer.
	subnet := netip.MustParsePrefix(running.Subnet).Addr().As4()
	subnet[3] = 200
	vip := netip.AddrFrom4(subnet).String()
	url := "http://" + vip + "/hostname"
	u.apply(`{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}}`)
	if got := u.get("service/web", "{.status.loadBalancer}"); got != "{}" {
		t.Errorf("without a cloud, the balancer is %s", got)
	}
	given := func(doc string) {
		t.Helper()
		u.run("patch", "service", "web", "--subresource=status", "--type=merge", "-p", `{"status":{"loadBalancer":`+doc+`}}`)
	}
	given(`{"ingress":[{"ip":"` + vip + `","ipMode":"VIP"}]}`)
	u.answered(url, 0, "web-0", "web-1")
	u.nodeHears("web-", 1, url)
	u.sub("of those who may ask", func(u user) {
		// The first node's pods may, the second's may not.
		u.run("patch", "service", "web", "-p", `{"spec":{"loadBalancerSourceRanges":["`+u.get("pod/asks-0", "{.status.podIP}")+`/32"]}}`)
		u.answered(url, 1)
		u.answered(url, 0, "web-0", "web-1")
		u.run("patch", "service", "web", "--type=merge", "-p", `{"spec":{"loadBalancerSourceRanges":null}}`)
		u.answered(url, 1, "web-0", "web-1")
	})
	given(`{"ingress":null}`)
	u.answered(url, 0)
	u.run("patch", "service", "web", "-p", `{"spec":{"type":"ClusterIP"}}`)
	u.has("", "service/web", "{.spec.ports[0].nodePort}")
	u.answered("http://web/hostname", 0, "web-0", "web-1")
}
