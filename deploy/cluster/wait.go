package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/deploy/internal/kubelet"
)

// wait returns when all nodes are Ready and cluster DNS answers on each.
func (c *Cluster) wait(ctx context.Context) error {
	api, err := client.Dial(client.Config{Kubeconfig: c.Kubeconfig()}, builtin.Scheme(), client.Options{UserAgent: "xebec-up"})
	if err != nil {
		return err
	}
	defer api.Close()
	for _, n := range c.nodes {
		if err := c.Progress.until(ctx, "node "+n.Name+" Ready", func(ctx context.Context) error {
			return nodeReady(ctx, api, n.Name)
		}); err != nil {
			return err
		}
		c.Progress.Done("node %s is Ready", n.Name)
	}
	if err := c.Progress.until(ctx, "cluster DNS", func(ctx context.Context) error { return podsReady(ctx, api, "k8s-app=kube-dns") }); err != nil {
		return err
	}
	c.Progress.Done("CoreDNS is ready")
	server, err := c.dnsAddress()
	if err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := c.Progress.until(ctx, "DNS at "+server+" on "+n.Name, func(ctx context.Context) error { return n.resolve(ctx, server) }); err != nil {
			return err
		}
	}
	c.Progress.Done("DNS answers at %s", server)
	return nil
}

// nodeReady says why a node is not ready, in its own words.
func nodeReady(ctx context.Context, api *client.Client, name string) error {
	node, err := client.Get[*corev1.Node](ctx, api, "", name)
	if err != nil {
		return err
	}
	for _, k := range node.Status.Conditions {
		if k.Type == corev1.NodeReady {
			if k.Status == corev1.ConditionTrue {
				return nil
			}
			return fmt.Errorf("%s: %s", k.Reason, k.Message)
		}
	}
	return errors.New("its kubelet has not reported yet")
}

// podsReady says which pod of kube-system is late, and why.
func podsReady(ctx context.Context, api *client.Client, labels string) error {
	pods, _, err := client.List[*corev1.Pod](ctx, api, client.Selection{Namespace: metav1.NamespaceSystem, Labels: labels})
	if err != nil {
		return err
	}
	var last error = fmt.Errorf("there are no pods %s yet", labels)
	for _, p := range pods {
		why := podLate(p)
		if why == "" {
			return nil
		}
		last = fmt.Errorf("pod %s: %s", p.Name, why)
		if e := lastEvent(ctx, api, p); e != "" {
			last = fmt.Errorf("%w (%s)", last, e)
		}
	}
	return last
}

func podLate(p *corev1.Pod) string {
	for _, s := range p.Status.ContainerStatuses {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "ContainerCreating":
			return s.State.Waiting.Reason + ": " + s.State.Waiting.Message
		case s.State.Terminated != nil:
			return fmt.Sprintf("container %s ended with %d: %s", s.Name, s.State.Terminated.ExitCode, s.State.Terminated.Message)
		}
	}
	for _, k := range p.Status.Conditions {
		if k.Type == corev1.PodReady && k.Status == corev1.ConditionTrue {
			return ""
		}
		if k.Type == corev1.PodScheduled && k.Status != corev1.ConditionTrue {
			return k.Reason + ": " + k.Message
		}
	}
	return "is " + string(p.Status.Phase) + " and not ready"
}

// lastEvent is the latest warning about a pod.
func lastEvent(ctx context.Context, api *client.Client, p *corev1.Pod) string {
	events, _, err := client.List[*corev1.Event](ctx, api, client.Selection{Namespace: p.Namespace, Fields: "type=Warning,involvedObject.name=" + p.Name})
	if err != nil || len(events) == 0 {
		return ""
	}
	e := events[0]
	for _, o := range events[1:] {
		if o.LastTimestamp.After(e.LastTimestamp.Time) {
			e = o
		}
	}
	return e.Reason + ": " + e.Message
}

func (c *Cluster) dnsAddress() (string, error) {
	return kubelet.DNSAddress(c.ServiceCIDR)
}

// resolve asks cluster DNS for the API server's Service, from the node.
func (n *Node) resolve(ctx context.Context, server string) error {
	if n.NetNS == "" {
		return Resolve(ctx, server)
	}
	out, err := n.Command(ctx, filepath.Join(n.bin, "xebec-up"), "resolve", server).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Resolve asks a DNS server for the name that every cluster has.
func Resolve(ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, net.JoinHostPort(server, "53"))
	}}
	addrs, err := r.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
	if err == nil && len(addrs) == 0 {
		err = errors.New("the answer has no address")
	}
	return err
}
