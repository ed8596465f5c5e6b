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
	"xebec.dev/kube-proxy/internal/iptables"
	"xebec.dev/kube-proxy/internal/ipvs"
	"xebec.dev/kube-proxy/internal/nftables"
	"xebec.dev/kube-proxy/internal/podnet"
	"xebec.dev/kube-proxy/internal/state"
)

// services keeps services in the kernel.
func services(p *daemon.Process, cfg *config.Configuration, feed *state.Replicas, node string, proxy *health.Proxy, followers []state.Follower, m *state.Metrics) *state.State {
	networks, primary := nodePortNetworks(cfg)
	return state.New(state.Options{
		Node: node, NodePorts: networks, Primary: primary, NodeIP: cfg.NodeIP(), MasqueradeAll: cfg.MasqueradeAll(),
		OwnFailures: cfg.Mode != config.ModeNFTables, Verify: cfg.SyncPeriod(), MinPause: cfg.MinSyncPeriod(),
		Followers: followers, Health: proxy, Metrics: m, Log: p.Log.Named("state"),
	}, feed, func(ctx context.Context) (state.Backend, error) {
		pods, err := podsOf(ctx, cfg, feed, p.Log)
		if err != nil {
			return nil, err
		}
		return newBackend(p, cfg, pods)
	})
}

// nodePortNetworks are all, where none are named.
func nodePortNetworks(cfg *config.Configuration) (networks []netip.Prefix, primary bool) {
	networks, primary = cfg.NodePortNetworks()
	if len(networks) == 0 && !primary {
		networks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	return networks, primary
}

func newBackend(p *daemon.Process, cfg *config.Configuration, pods nftables.Pods) (state.Backend, error) {
	o := nftables.Options{Pods: pods, MarkBit: cfg.MasqueradeBit(), Liberal: cfg.Conntrack.TCPBeLiberal}
	noIPVS := func() error { return ipvs.Cleanup(ipvs.Options{Options: o, Exclude: cfg.IPVSExclude()}) }
	switch cfg.Mode {
	case config.ModeIPVS:
		proxy, err := newIPVS(p, cfg, o)
		return &instead{Backend: proxy, log: p.Log, of: []other{{config.ModeIPTables, iptables.Cleanup}}}, err
	case config.ModeIPTables:
		m := iptables.NewMetrics()
		p.Registry.MustRegister(m.Collectors()...)
		proxy, err := iptables.New(iptables.Options{Options: o, LocalhostNodePorts: *cfg.IPTables.LocalhostNodePorts}, m, p.Log.Named("iptables"))
		return &instead{Backend: proxy, log: p.Log, of: []other{{config.ModeIPVS, noIPVS}, {config.ModeNFTables, nftables.Cleanup}}}, err
	}
	proxy, err := nftables.New(o)
	if err != nil {
		return nil, fmt.Errorf("mode nftables: %w", err)
	}
	return &instead{Backend: proxy, log: p.Log, of: []other{{config.ModeIPVS, noIPVS}, {config.ModeIPTables, iptables.Cleanup}}}, nil
}

func newIPVS(p *daemon.Process, cfg *config.Configuration, o nftables.Options) (state.Backend, error) {
	m := ipvs.NewMetrics()
	p.Registry.MustRegister(m.Collectors()...)
	c := &cfg.IPVS
	return ipvs.New(ipvs.Options{
		Options: o, Scheduler: c.Scheduler, Exclude: cfg.IPVSExclude(), StrictARP: c.StrictARP,
		TCP: c.TCPTimeout.Duration, TCPFin: c.TCPFinTimeout.Duration, UDP: c.UDPTimeout.Duration,
		Metrics: m, Log: p.Log.Named("ipvs"),
	})
}

// instead of other modes, one of which may have been the mode before: what
// they left goes once what replaces it is there.
type instead struct {
	state.Backend
	of  []other
	log *zap.Logger
}

type other struct {
	mode   string
	remove func() error
}

// Sync implements state.Backend.
func (i *instead) Sync(u *compile.Update) error {
	if err := i.Backend.Sync(u); err != nil {
		return err
	}
	for _, o := range i.of {
		if err := o.remove(); err != nil {
			i.log.Error("what another mode has left is still there", zap.String("mode", o.mode), zap.Error(err))
		}
	}
	i.of = nil
	return nil
}

// Run implements what a backend may have beside changes.
func (i *instead) Run(ctx context.Context) error {
	if b, ok := i.Backend.(interface{ Run(context.Context) error }); ok {
		return b.Run(ctx)
	}
	return nil
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
	}{{"services in nftables", nftables.Cleanup}, {"services in iptables", iptables.Cleanup}, {"services in IPVS", noIPVS}, {"the pod network", podnet.Cleanup}} {
		if err := c.f(); err != nil {
			log.Error("not all is cleaned up", zap.String("what", c.what), zap.Error(err))
			failed = fmt.Errorf("clean up %s: %w", c.what, err)
		}
	}
	return failed
}
