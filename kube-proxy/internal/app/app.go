// Package app is the program around the proxy: flags, configuration, feeds,
// the kernel's settings and the HTTP endpoints.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/daemon"
	"xebec.dev/client/stream"
	"xebec.dev/kube-proxy/internal/config"
	"xebec.dev/kube-proxy/internal/conntrack"
	"xebec.dev/kube-proxy/internal/health"
	"xebec.dev/kube-proxy/internal/iptables"
	"xebec.dev/kube-proxy/internal/ipvs"
	"xebec.dev/kube-proxy/internal/podnet"
	"xebec.dev/kube-proxy/internal/state"
)

// Name of the program.
const Name = "kube-proxy"

// Program is kube-proxy.
func Program() daemon.Program {
	f := &flags{}
	return daemon.Program{
		Name:     Name,
		About:    "The Kubernetes network proxy runs on each node and has the node's kernel send what goes to a Service to its endpoints.",
		AddFlags: f.add,
		Ignored:  ignored,
		Run:      f.run,
	}
}

// ignored flags of Kubernetes'.
var ignored = map[string]string{
	"config-sync-period": "changes come as a stream; nothing is listed again",
	"proxy-port-range":   "no ports are opened on the node",
	"cleanup-ipvs":       "--cleanup removes rules of all modes",
	"udp-timeout":        "there is no userspace mode",
	"proxy-port":         "there is no userspace mode",
}

type flags struct{ config.Flags }

func (f *flags) add(fs *pflag.FlagSet) {
	f.Add(fs)
	// Unlike other components kube-proxy serves profiles only when asked to.
	profiling := fs.Lookup("profiling")
	profiling.DefValue = "false"
	_ = profiling.Value.Set("false") // a bool
}

// gather lets the API server put events of so long into one message.
const gather = 2 * time.Millisecond

func (f *flags) run(ctx context.Context, p *daemon.Process) error {
	state.StartMemory()
	cfg, err := f.load(p)
	if err != nil {
		return err
	}
	if f.Cleanup {
		return cleanup(cfg, p.Log)
	}
	if f.WriteTo != "" {
		return config.Write(f.WriteTo, cfg)
	}
	if err := available(cfg); err != nil {
		return err
	}
	p.Configz.Set(config.Group, cfg)
	if err := prepare(cfg, p.Log); err != nil || f.InitOnly {
		return err
	}
	node, err := nodeName(cfg)
	if err != nil {
		return err
	}
	c, err := client.Dial(client.Config{Kubeconfig: cfg.ClientConnection.Kubeconfig, Server: p.Flags.Master}, state.Scheme(), client.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // the process ends
	return f.serve(ctx, p, cfg, c, node)
}

// available tells whether the mode can be had here.
func available(cfg *config.Configuration) error {
	switch cfg.Mode {
	case config.ModeIPVS:
		return ipvs.Available(cfg.IPVS.Scheduler)
	case config.ModeIPTables:
		return iptables.Available()
	}
	return nil
}

// load reads the configuration: of the file, or of the flags.
func (f *flags) load(p *daemon.Process) (cfg *config.Configuration, err error) {
	if p.Flags.Config == "" {
		cfg, err = f.Build()
	} else if cfg, err = config.Load(p.Flags.Config); err == nil {
		err = p.SetLog(cfg.Logging.Format, int(cfg.Logging.Verbosity))
	}
	if err != nil {
		return nil, err
	}
	if f.HostnameOverride != "" {
		cfg.HostnameOverride = f.HostnameOverride
	}
	if p.Flags.Kubeconfig != "" && cfg.ClientConnection.Kubeconfig == "" {
		cfg.ClientConnection.Kubeconfig = p.Flags.Kubeconfig
	}
	if f.PodNetwork != config.Native && f.PodNetwork != "none" {
		return nil, fmt.Errorf("--pod-network: %q is neither native nor none", f.PodNetwork)
	}
	if p.Flags.Config == "" {
		cfg.EnableProfiling = p.Flags.Profiling
	}
	for gate, on := range cfg.FeatureGates {
		if err := p.Gates.SetOne(gate, on); err != nil {
			return nil, fmt.Errorf("KubeProxyConfiguration.featureGates: %w", err)
		}
	}
	for field, reason := range cfg.Ignored() {
		p.Log.Warn("a setting has no effect", zap.String("field", field), zap.String("reason", reason))
	}
	return cfg, nil
}

// nodeName is how Kubernetes names a node by its host.
func nodeName(cfg *config.Configuration) (string, error) {
	name := cfg.HostnameOverride
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("name of the node: %w (or give --hostname-override)", err)
		}
		name = host
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		return "", errors.New("the name of the node is empty: give --hostname-override")
	}
	return name, nil
}

func (f *flags) serve(ctx context.Context, p *daemon.Process, cfg *config.Configuration, c *client.Client, node string) error {
	watch := stream.New(c, stream.Options{Log: p.Log.Named("watch"), Gather: gather})
	replicas := &cache.Metrics{}
	feed, err := state.NewReplicas(c, watch, node, replicas, p.Log.Named("replica"))
	if err != nil {
		return err
	}
	proxy := health.NewProxy(2 * cfg.SyncPeriod())
	tell := newEvents(c, node, p.Log.Named("event"))
	p.Registry.MustRegister(tell.metrics)
	checks := health.NewServices(proxy, p.Log.Named("health"))
	checks.Failed = tell.healthCheck
	defer checks.Close()
	cleaner := conntrack.New(p.Log.Named("conntrack"))
	metrics := state.NewMetrics()
	p.Registry.MustRegister(replicas, metrics)
	p.Registry.MustRegister(proxy.Collectors()...)
	p.Registry.MustRegister(cleaner.Collectors()...)
	run := []func(context.Context) error{watch.Run, feed.Run, tell.run}
	if p.Flags.Config != "" {
		run = append(run, whileUnchanged(p.Flags.Config, reloadEvery, p.Log))
	}
	if f.PodNetwork == config.Native {
		network, feeds, err := f.podNetwork(c, watch, cfg, node, replicas, p.Log.Named("podnet"))
		if err != nil {
			return err
		}
		run = append(append(run, feeds...), network.Run)
	}
	run = append(run, cleaner.Run, services(p, cfg, feed, node, proxy, []state.Follower{checks, cleaner}, metrics).Run)
	mux := http.NewServeMux()
	proxy.Register(mux)
	run = append(run, listen(cfg, cfg.HealthzBindAddress, mux, p.Log.Named("healthz")), listen(cfg, cfg.MetricsBindAddress, metricsMux(p, cfg), p.Log.Named("metrics")))
	return daemon.Run(ctx, run...)
}

// podNetwork is the node's share of the default pod network.
func (f *flags) podNetwork(c *client.Client, s *stream.Stream, cfg *config.Configuration, node string, m *cache.Metrics, log *zap.Logger) (*podnet.Network, []func(context.Context) error, error) {
	nodes, err := cache.New(c, s, cache.Options[*corev1.Node]{Fields: []string{"spec.podCIDRs", "status.addresses"}, Metrics: m, Log: log})
	if err != nil {
		return nil, nil, err
	}
	pods, err := cache.New(c, s, cache.Options[*corev1.Pod]{
		Selection: client.Selection{Fields: "spec.nodeName=" + node}, Fields: podnet.PodFields, Metrics: m, Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	n := podnet.New(podnet.Options{
		Node: node, ConfFile: f.PodNetworkConf, Bridge: f.PodNetworkBridge, MTU: f.PodNetworkMTU, Cluster: cfg.ClusterNetworks(), Log: log,
	}, nodes, pods)
	return n, []func(context.Context) error{nodes.Run, pods.Run}, nil
}

func metricsMux(p *daemon.Process, cfg *config.Configuration) *http.ServeMux {
	p.Flags.Profiling = cfg.EnableProfiling
	p.Flags.Contention = false
	mux := p.Mux()
	mux.HandleFunc("/proxyMode", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		fmt.Fprint(w, cfg.Mode)
	})
	return mux
}

// bindAgain is the pause before an address that is taken is tried again.
const bindAgain = 5 * time.Second

// listen serves HTTP at an address, unless it is off. An address that is
// taken ends the process only when the configuration says so.
func listen(cfg *config.Configuration, address string, h http.Handler, log *zap.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		if config.Off(address) {
			<-ctx.Done()
			return ctx.Err()
		}
		for {
			l, err := net.Listen("tcp", address)
			if err == nil {
				return serveHTTP(ctx, l, h)
			}
			if cfg.BindAddressHardFail {
				return fmt.Errorf("listen on %s: %w", address, err)
			}
			log.Error("an address can't be listened on", zap.String("address", address), zap.Error(err))
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(bindAgain):
			}
		}
	}
}

func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 90 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // it is over
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}
