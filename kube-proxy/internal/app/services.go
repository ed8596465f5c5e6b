package app

import (
	"context"
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"xebec.dev/client/daemon"
	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/config"
	"xebec.dev/kube-proxy/internal/health"
	"xebec.dev/kube-proxy/internal/ipvs"
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
		Node: node, NodePorts: networks, Primary: primary, NodeIP: cfg.NodeIP(), MasqueradeAll: cfg.MasqueradeAll(),
		OwnFailures: cfg.Mode == config.ModeIPVS, Verify: cfg.SyncPeriod(), MinPause: cfg.MinSyncPeriod(),
		Followers: followers, Health: proxy, Metrics: m, Log: p.Log.Named("state"),
	}, feed, func(ctx context.Context) (state.Backend, error) {
		pods, err := podsOf(ctx, cfg, feed, p.Log)
		if err != nil {
			return nil, err
		}
		return newBackend(p, cfg, pods)
	})
}

func newBackend(p *daemon.Process, cfg *config.Configuration, pods nftables.Pods) (state.Backend, error) {
	o := nftables.Options{Pods: pods, MarkBit: cfg.MasqueradeBit(), Liberal: cfg.Conntrack.TCPBeLiberal}
	if cfg.Mode == config.ModeIPVS {
		m := ipvs.NewMetrics()
		p.Registry.MustRegister(m.Collectors()...)
		c := &cfg.IPVS
		return ipvs.New(ipvs.Options{
			Options: o, Scheduler: c.Scheduler, Exclude: cfg.IPVSExclude(), StrictARP: c.StrictARP,
			TCP: c.TCPTimeout.Duration, TCPFin: c.TCPFinTimeout.Duration, UDP: c.UDPTimeout.Duration,
			Metrics: m, Log: p.Log.Named("ipvs"),
		})
	}
	proxy, err := nftables.New(o)
	if err != nil {
		return nil, fmt.Errorf("mode nftables: %w", err)
	}
	return &instead{Backend: proxy, exclude: cfg.IPVSExclude(), bit: o.MarkBit, log: p.Log}, nil
}

// instead of IPVS, which may have been the mode before: that goes once the
// tables are there.
type instead struct {
	state.Backend
	exclude []netip.Prefix
	bit     int
	log     *zap.Logger
	done    bool
}

func (i *instead) Sync(u *compile.Update) error {
	err := i.Backend.Sync(u)
	if err == nil && !i.done {
		i.done = true
		if err := ipvs.Cleanup(ipvs.Options{Options: nftables.Options{MarkBit: i.bit}, Exclude: i.exclude}); err != nil {
			i.log.Error("what the mode ipvs has left is still there", zap.Error(err))
		}
	}
	return err
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
func cleanup(cfg *config.Configuration, log *zap.Logger) error {
	noIPVS := func() error {
		return ipvs.Cleanup(ipvs.Options{Options: nftables.Options{MarkBit: cfg.MasqueradeBit()}, Exclude: cfg.IPVSExclude()})
	}
	var failed error
	for _, c := range []struct {
		what string
		f    func() error
	}{{"services in nftables", nftables.Cleanup}, {"services in IPVS", noIPVS}, {"the pod network", podnet.Cleanup}} {
		if err := c.f(); err != nil {
			log.Error("not all is cleaned up", zap.String("what", c.what), zap.Error(err))
			failed = fmt.Errorf("clean up %s: %w", c.what, err)
		}
	}
	return failed
}
