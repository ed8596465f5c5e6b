package kubelet

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/client/daemon"
	"xebec.dev/kubelet/internal/certificate"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/server"
)

func (k *Kubelet) makeServer(context.Context) error {
	k.serving = &certificate.Serving{
		CertFile: k.cfg.TLSCertFile, KeyFile: k.cfg.TLSPrivateKey, Dir: k.f.CertDir, Node: k.name, Request: k.cfg.ServerBootstrap, API: k.api,
		Addresses: func() []corev1.NodeAddress { return k.node.Object().Status.Addresses }, Log: k.log.Named("certificate"),
	}
	serving := k.serving
	if err := serving.Prepare(append([]string{k.name}, k.ips...)); err != nil {
		return err
	}
	config, err := k.tls(serving)
	if err != nil {
		return err
	}
	o := server.Options{
		TLS: config, Node: k.name, ClientCA: k.cfg.Authentication.X509.ClientCAFile,
		Anonymous: *k.cfg.Authentication.Anonymous.Enabled, Tokens: *k.cfg.Authentication.Webhook.Enabled,
		AlwaysAllow: k.cfg.Authorization.Mode == "AlwaysAllow", API: k.api,
		TokenTTL: k.cfg.Authentication.Webhook.CacheTTL.Duration, AllowTTL: k.cfg.Authorization.Webhook.AllowTTL.Duration, DenyTTL: k.cfg.Authorization.Webhook.DenyTTL.Duration,
		Healthz: k.p.Health, Configz: k.p.Configz, Flagz: k.p.Flagz(), Checkpoint: k.checkpoint, Served: k.metrics.work.request,
		Statusz: k.p.Statusz("/configz", "/flagz", "/healthz", "/metrics", "/pods", "/stats/summary", "/statusz"),
		Metrics: k.p.Registry, Probes: k.probeMetrics,
		NoDebugging: !*k.cfg.DebugHandlers, Profiling: *k.cfg.Profiling, NoFlags: !*k.cfg.DebugFlags, IdleTimeout: k.cfg.StreamIdle.Duration, Log: k.log.Named("server"),
	}
	if *k.cfg.SystemLogHandler {
		o.LogDir, o.LogQuery = "/var/log", *k.cfg.SystemLogQuery
	}
	if *k.cfg.EnableServer {
		o.Address = net.JoinHostPort(k.cfg.Address, strconv.Itoa(int(k.cfg.Port)))
		if k.cfg.ReadOnlyPort > 0 {
			o.ReadOnly = net.JoinHostPort(k.cfg.Address, strconv.Itoa(int(k.cfg.ReadOnlyPort)))
		}
	}
	if *k.cfg.HealthzPort > 0 {
		o.Health = net.JoinHostPort(k.cfg.HealthzAddress, strconv.Itoa(int(*k.cfg.HealthzPort)))
	}
	k.statistics(&o)
	k.p.Configz.Set("kubeletconfig", k.cfg)
	k.p.Health.Add(daemon.Check{Name: "pleg", Func: k.plegHealth})
	k.runs = append(k.runs, server.New(served{k}, o).Run)
	if k.api != nil {
		k.runs = append(k.runs, serving.Run)
	}
	return nil
}

func (k *Kubelet) plegHealth(context.Context) error {
	if ok, silent := k.pleg.Healthy(); !ok && silent > 0 {
		return fmt.Errorf("pleg was last seen active %v ago", silent)
	}
	return nil
}

var tlsVersions = map[string]uint16{"": tls.VersionTLS12, "VersionTLS12": tls.VersionTLS12, "VersionTLS13": tls.VersionTLS13}

func (k *Kubelet) tls(serving *certificate.Serving) (*tls.Config, error) {
	least, ok := tlsVersions[k.cfg.TLSMinVersion]
	if !ok {
		return nil, fmt.Errorf("tlsMinVersion: %q is neither VersionTLS12 nor VersionTLS13", k.cfg.TLSMinVersion)
	}
	out := &tls.Config{MinVersion: least, GetCertificate: serving.Get}
	for _, c := range k.cfg.TLSCurves {
		out.CurvePreferences = append(out.CurvePreferences, tls.CurveID(c))
	}
	for _, name := range k.cfg.TLSCipherSuites {
		i := slices.IndexFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("tlsCipherSuites: %q is not one of Go's secure cipher suites", name)
		}
		out.CipherSuites = append(out.CipherSuites, tls.CipherSuites()[i].ID)
	}
	return out, nil
}

// served are the pods as the server wants them.
type served struct{ k *Kubelet }

func (s served) List() []*corev1.Pod { return s.k.workers.List() }

func (s served) Pod(namespace, name string) (*corev1.Pod, bool) {
	pod, _ := s.k.workers.Find(namespace, name)
	return pod, pod != nil
}

func (s served) Runtime() runtimeapi.RuntimeServiceClient { return s.k.runtime.Runtime }

// Running makes pods up from what the runtime has.
func (s served) Running(ctx context.Context) ([]*corev1.Pod, error) {
	all, err := s.k.runtime.List(ctx)
	if err != nil {
		return nil, err
	}
	by := map[types.UID]*corev1.Pod{}
	for _, x := range all {
		if x.State != runtime.Running {
			continue
		}
		pod := by[x.UID]
		if pod == nil {
			pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: x.Key.Namespace, Name: x.Key.Name, UID: x.UID}}
			by[x.UID] = pod
		}
		if x.Container != "" {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: x.Container})
		}
	}
	var out []*corev1.Pod
	for _, pod := range by {
		out = append(out, pod)
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int {
		if a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name {
			return -1
		}
		return 1
	})
	return out, nil
}

// Container is the newest run of a container, or the one before it.
func (s served) Container(ctx context.Context, pod *corev1.Pod, name string, previous bool) (server.Container, bool, error) {
	seen := s.k.workers.Observed(pod.UID)
	if seen == nil {
		var err error
		if seen, err = s.k.runtime.Observe(ctx, pod.UID, nil); err != nil {
			return server.Container{}, false, err
		}
	}
	skip := previous
	for _, c := range seen.Containers {
		if c.Name != name {
			continue
		}
		if skip {
			skip = false
			continue
		}
		path := c.LogPath
		if path == "" {
			path = filepath.Join(runtime.LogDirectory(s.k.cfg.PodLogsDir, pod), runtime.LogName(name, c.Attempt))
		}
		return server.Container{ID: c.ID, LogPath: path, Running: c.State == runtime.Running}, true, nil
	}
	return server.Container{}, false, nil
}

func (s served) Sandbox(ctx context.Context, pod *corev1.Pod) (string, error) {
	seen := s.k.workers.Observed(pod.UID)
	if sandbox := seen.Sandbox(); sandbox != nil && sandbox.Ready {
		return sandbox.ID, nil
	}
	return "", fmt.Errorf("pod %s/%s does not run: it has no sandbox that is ready", pod.Namespace, pod.Name)
}
