package app

import (
	"context"
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"xebec.dev/client/daemon"
	"xebec.dev/kube-proxy/internal/config"
	"xebec.dev/kube-proxy/internal/health"
	"xebec.dev/kube-proxy/internal/nftables"
	"xebec.dev/kube-proxy/internal/podnet"
	"xebec.dev/kube-proxy/internal/state"
)

// services keeps services in the kernel.
func services(p *daemon.Process, cfg *config.Configuration, feed *state.Replicas, node string, proxy *health.Proxy, followers []state.Follower, m *state.Metrics) *state.State {
	networks, primary := cfg.NodePortNetworks()
	if len(networks) == 0 && !primary {
		networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	return state.New(state.Options{
		Node: node, NodePorts: networks, Primary: primary, MasqueradeAll: cfg.MasqueradeAll(),
		Verify: cfg.SyncPeriod(), MinPause: cfg.MinSyncPeriod(),
		Followers: followers, Health: proxy, Metrics: m, Log: p.Log.Named("state"),
	}, feed, func(ctx context.Context) (state.Backend, error) {
		pods, err := podsOf(ctx, cfg, feed, p.Log)
		if err != nil {
			return nil, err
		}
		return newBackend(cfg, pods)
	})
}

func newBackend(cfg *config.Configuration, pods nftables.Pods) (state.Backend, error) {
	proxy, err := nftables.New(nftables.Options{Pods: pods, MarkBit: int(*cfg.NFTables.MasqueradeBit), Liberal: cfg.Conntrack.TCPBeLiberal})
	if err != nil {
		return nil, fmt.Errorf("mode nftables: %w", err)
	}
	return proxy, nil
}

// podsOf says how pods are told from others; by the node's networks, it waits
// until the node has them.
func podsOf(ctx context.Context, cfg *config.Configuration, feed *state.Replicas, log *zap.Logger) (nftables.Pods, error) {
	switch cfg.DetectLocalMode {
	case config.BridgeInterface:
		return nftables.Pods{Interface: cfg.DetectLocal.BridgeInterface}, nil
	case config.InterfaceNamePrefix:
		return nftables.Pods{Interface: cfg.DetectLocal.InterfaceNamePrefix, Prefix: true}, nil
	case config.NodeCIDR:
		networks, err := feed.PodNetworks(ctx)
		return nftables.Pods{Networks: networks}, err
	}
	networks := cfg.ClusterNetworks()
	if len(networks) == 0 {
		log.Warn("clusterCIDR is not set: what comes from outside to cluster IPs is not masqueraded")
	}
	return nftables.Pods{Networks: networks}, nil
}

// cleanup removes what any mode has left.
func cleanup(log *zap.Logger) error {
	var failed error
	for _, c := range []struct {
		what string
		f    func() error
	}{{"services in nftables", nftables.Cleanup}, {"the pod network", podnet.Cleanup}} {
		if err := c.f(); err != nil {
			log.Error("not all is cleaned up", zap.String("what", c.what), zap.Error(err))
			failed = fmt.Errorf("clean up %s: %w", c.what, err)
		}
	}
	return failed
}
