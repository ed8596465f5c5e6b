package nodeipam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "node-ipam-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "nodeipam",
	ServiceAccount: "node-controller", EventSource: "cidrAllocator",
	Reads:  []string{"nodes"},
	Writes: []string{"nodes:spec.podCIDRs"},
	New:    newController,
}

// services owns the networks of --service-cluster-ip-range. No node is called
// like that.
const services = "/services"

type reconciler struct {
	env   *control.Env
	nodes *cache.Replica[*corev1.Node]
	pools []*pool

	mu    sync.Mutex
	taken taken // guarded by mu, with the pools' cursors
}

func newController(e *control.Env) (control.Runner, error) {
	c := e.Config
	if !c.AllocateNodeCIDRs {
		return nil, nil
	}
	if c.CIDRAllocator != "RangeAllocator" {
		return nil, fmt.Errorf("--cidr-allocator-type %q: this program has RangeAllocator only, cloud providers' are the cloud-controller-manager's", c.CIDRAllocator)
	}
	if c.ClusterCIDR == "" {
		return nil, errors.New("--allocate-node-cidrs needs --cluster-cidr")
	}
	found, err := pools(c.ClusterCIDR, first(c.NodeMaskSizeIPv4, c.NodeMaskSize, 24), first(c.NodeMaskSizeIPv6, c.NodeMaskSize, 64))
	if err != nil {
		return nil, err
	}
	r := &reconciler{env: e, nodes: replica.Of[*corev1.Node](e.Replicas), pools: found, taken: taken{owners: map[netip.Prefix]string{}}}
	for text := range strings.SplitSeq(c.ServiceCIDR, ",") {
		if n, err := netip.ParsePrefix(strings.TrimSpace(text)); err == nil {
			r.taken.add(services, n)
		}
	}
	q := e.Queue("node_ipam")
	r.nodes.OnChange(func(ch cache.Change[*corev1.Node]) {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case !ch.HasNew:
			r.taken.remove(ch.Key.Name)
		case len(ch.New.Spec.PodCIDRs) > 0:
			r.taken.add(ch.Key.Name, parse(ch.New.Spec.PodCIDRs)...)
		default:
			q.Add(ch.Key)
		}
	})
	return e.Loop(name, q, 1, r.reconcile, r.nodes), nil
}

func first(sizes ...int) int {
	for _, s := range sizes {
		if s != 0 {
			return s
		}
	}
	return 0
}

func parse(texts []string) (out []netip.Prefix) {
	for _, t := range texts {
		if n, err := netip.ParsePrefix(t); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// pause is between two looks for a part when all are taken.
const pause = 30 * time.Second

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	n, ok := r.nodes.Snapshot().Lookup(key)
	if !ok || len(n.Spec.PodCIDRs) > 0 {
		return nil
	}
	r.mu.Lock()
	parts, err := plan(r.pools, &r.taken, n.Name)
	r.mu.Unlock()
	if err != nil {
		r.env.Log.Error("a node has no pod network", zap.Error(err))
		r.env.Events.Eventf(n, control.Normal, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", n.Name)
		return control.Later(pause)
	}
	var texts []string
	for _, p := range parts {
		texts = append(texts, p.String())
	}
	// The UID keeps a new node of the name from another's networks.
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": n.UID},
		"spec":     map[string]any{"podCIDR": texts[0], "podCIDRs": texts},
	})
	if err != nil {
		return err
	}
	_, err = client.Patch[*corev1.Node](ctx, r.env.Client, "", n.Name, types.StrategicMergePatchType, patch, client.WriteOptions{OmitObject: true})
	if err == nil || errors.Is(err, client.ErrOutcomeUnknown) {
		return control.Retry(err)
	}
	// Refused: the node does not have them, and keeps what it has.
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parts {
		delete(r.taken.owners, p)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return control.Retry(err)
}
