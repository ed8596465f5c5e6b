// Package server puts kube-apiserver together and runs it.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/audit"
	"xebec.dev/apiserver/internal/authn/serviceaccount"
	"xebec.dev/apiserver/internal/bootstrap"
	"xebec.dev/apiserver/internal/config"
	"xebec.dev/apiserver/internal/deviceselector"
	"xebec.dev/apiserver/internal/discovery"
	"xebec.dev/apiserver/internal/egress"
	"xebec.dev/apiserver/internal/flow"
	"xebec.dev/apiserver/internal/h2"
	"xebec.dev/apiserver/internal/health"
	"xebec.dev/apiserver/internal/metrics"
	"xebec.dev/apiserver/internal/openapi"
	"xebec.dev/apiserver/internal/pipeline"
	"xebec.dev/apiserver/internal/pki"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/rpc"
	"xebec.dev/apiserver/internal/serviceip"
	"xebec.dev/apiserver/internal/storage/embedded"
	"xebec.dev/apiserver/internal/storage/etcd"
	"xebec.dev/apiserver/internal/tracing"
	"xebec.dev/apiserver/internal/version"
	"xebec.dev/apiserver/internal/watchcache"
)

// Server is a kube-apiserver.
type Server struct {
	cfg     *config.Config
	log     *zap.Logger
	scheme  *scheme.Scheme
	health  *health.Handler
	metrics *metrics.Metrics
	files   *pki.Files // nil when certificates are given

	etcd      *etcd.Store
	local     *embedded.Server // nil with --etcd-servers
	store     *watchcache.Store
	maker     *bootstrap.Maker
	lease     *bootstrap.Lease
	http      *http.Server
	hooks     *hooks
	pipeline  *pipeline.Pipeline
	registry  *registry.Registry
	discovery *discovery.Handler
	groups    []discovery.Group
	openapi   *openapi.Handler
	accounts  *serviceaccount.Discovery
	rpc       *rpc.Server
	records   audit.Backend // nil without an audit policy
	services  *serviceip.Hook
	orphans   serviceip.Orphans
	keys      *encryption // nil when nothing is encrypted
	grpc      *listener
	drain     chan struct{} // closed when the server begins to stop
	drained   sync.Once
	refusing  atomic.Bool
	traces    *tracing.Tracer  // nil without a configuration
	egress    *egress.Selector // nil without a configuration
	limits    *flow.InFlight
	keeping   atomic.Bool
	left      chan struct{} // closed when there is no upkeep any more
}

// New prepares a server: certificates, storage, the pipeline. Nothing
// listens or runs yet.
func New(cfg *config.Config, logger *zap.Logger) (*Server, error) {
	s := &Server{
		cfg: cfg, log: logger, scheme: builtin.SchemeWith(builtin.Checks{DeviceSelector: deviceselector.Compile}), health: &health.Handler{},
		metrics: metrics.New(version.Get()), drain: make(chan struct{}), left: make(chan struct{}), hooks: newHooks(),
	}
	if err := s.certificates(); err != nil {
		return nil, err
	}
	if err := s.storage(); err != nil {
		return nil, err
	}
	handler, err := s.handler()
	if err != nil {
		s.close()
		return nil, err
	}
	if s.http, err = s.listener(handler); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// certificates makes what was not given.
func (s *Server) certificates() error {
	c := s.cfg
	serving, key := filepath.Join(c.CertDir, "apiserver.crt"), filepath.Join(c.CertDir, "apiserver.key")
	if c.DataDir == "" {
		if c.TLSCert == "" {
			if !exists(serving) || !exists(key) {
				if _, err := s.ensurePKI(c.CertDir, ""); err != nil {
					return err
				}
			}
			c.TLSCert, c.TLSKey = serving, key
		}
		return nil
	}
	files, err := s.ensurePKI(c.CertDir, filepath.Join(c.DataDir, "admin.kubeconfig"))
	if err != nil {
		return err
	}
	s.files = files
	if c.TLSCert == "" {
		c.TLSCert, c.TLSKey = files.Serving, files.ServingKey
	}
	if c.Authn.ClientCAFile == "" {
		c.Authn.ClientCAFile = files.CA
	}
	if a := &c.Authn.ServiceAccount; a.SigningKeyFile == "" && len(a.KeyFiles) == 0 {
		if a.Endpoint == "" {
			a.SigningKeyFile, a.KeyFiles = files.AccountKey, []string{files.AccountPublic}
		}
		if len(a.Issuers) == 0 {
			a.Issuers = []string{"https://kubernetes.default.svc"}
		}
	}
	if c.Kubelet.Cert == "" {
		c.Kubelet.Cert, c.Kubelet.Key = files.Kubelet, files.KubeletKey
	}
	return nil
}

func (s *Server) ensurePKI(dir, kubeconfig string) (*pki.Files, error) {
	c := s.cfg
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", config.Hostname()}
	if c.ExternalHostname != "" {
		names = append(names, c.ExternalHostname)
	}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, c.AdvertiseAddress}
	for _, n := range c.ServiceCIDRs {
		ips = append(ips, firstAddress(n))
	}
	files, err := pki.Ensure(pki.Options{
		Dir: dir, Kubeconfig: kubeconfig, Names: names, IPs: ips,
		URL: "https://" + net.JoinHostPort(s.clientHost(), strconv.Itoa(c.SecurePort)),
	})
	if err != nil {
		return nil, fmt.Errorf("make certificates in %s: %w", dir, err)
	}
	return files, nil
}

// clientHost is how a local client reaches the server.
func (s *Server) clientHost() string {
	if b := s.cfg.BindAddress; b != nil && !b.IsUnspecified() {
		return b.String()
	}
	return "127.0.0.1"
}

func (s *Server) storage() error {
	c := s.cfg
	ec := etcd.Config{
		Endpoints: c.Etcd.Servers, Prefix: c.Etcd.Prefix, CAFile: c.Etcd.CA, CertFile: c.Etcd.Cert, KeyFile: c.Etcd.Key, Log: s.log.Named("etcd"),
	}
	var err error
	if len(c.Etcd.Servers) > 0 {
		s.etcd, err = etcd.New(ec)
	} else {
		s.local, err = embedded.Start(filepath.Join(c.DataDir, "etcd"), embedded.Options{Log: s.log.Named("etcd")})
		if err == nil {
			s.etcd = etcd.Over(s.local.Services(), ec)
		}
	}
	if err != nil {
		return err
	}
	options := watchcache.Options{Log: s.log.Named("watchcache")}
	if s.keys, err = s.encryption(); err != nil {
		return err
	}
	switch {
	case s.keys == nil:
	case c.Etcd.EncryptionReload:
		options.Transformer = s.keys.transformer
	default:
		options.Transformer = s.keys.file.Get().Transformer
	}
	s.store = watchcache.New(s.etcd, append(s.scheme.Resources(), serviceip.Ranges, bootstrap.Leases), options)
	s.metrics.Registerer().MustRegister(metrics.Cache(s.store))
	return nil
}

// listener makes the HTTPS server for REST and gRPC.
func (s *Server) listener(handler http.Handler) (*http.Server, error) {
	c := s.cfg
	minVersion, ok := tlsVersions[c.TLSMinVersion]
	if !ok {
		return nil, fmt.Errorf("--tls-min-version: %q is neither VersionTLS12 nor VersionTLS13", c.TLSMinVersion)
	}
	ciphers, err := cipherSuites(c.TLSCiphers)
	if err != nil {
		return nil, err
	}
	pair := &keyPair{cert: c.TLSCert, key: c.TLSKey}
	if _, err := pair.get(nil); err != nil {
		return nil, err
	}
	named, err := namedPairs(c.TLSNames)
	if err != nil {
		return nil, err
	}
	if handler, err = s.surroundings(handler); err != nil {
		return nil, err
	}
	httpLog := zap.NewStdLog(s.log.Named("http").WithOptions(zap.IncreaseLevel(zap.ErrorLevel)))
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 32 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    1 << 20,
		ErrorLog:          log.New(s.metrics.HandshakeErrors(httpLog.Writer()), "", 0),
		TLSConfig: &tls.Config{
			MinVersion: minVersion, CipherSuites: ciphers, GetCertificate: choose(named, pair),
			ClientAuth: tls.RequestClientCert, // verified by the authenticators
			NextProtos: []string{grpcProtocol, "h2", "http/1.1"},
			// Answers are small: one record, not a dozen.
			DynamicRecordSizingDisabled: true,
		},
	}
	h2.New(h2.Options{
		MaxHeaderBytes: uint32(srv.MaxHeaderBytes), IdleTimeout: srv.IdleTimeout, Inline: s.inline, Log: srv.ErrorLog,
		MaxStreams: s.cfg.MaxStreams,
	}).Configure(srv)
	s.grpc = newListener()
	srv.TLSNextProto[grpcProtocol] = s.grpc.hand
	return srv, nil
}

// Run serves until ctx ends, then drains.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	l, err := net.Listen("tcp", net.JoinHostPort(s.cfg.BindAddress.String(), strconv.Itoa(s.cfg.SecurePort)))
	if err != nil {
		return fmt.Errorf("listen for HTTPS: %w", err)
	}
	// Background work outlives the signal until requests have drained.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	g, background := errgroup.WithContext(background)
	g.Go(func() error { return ignoreCanceled(s.store.Run(background)) })
	g.Go(func() error { watchcache.AdaptGC(background); return nil })
	g.Go(func() error { return ignoreCanceled(s.etcd.Compact(background, s.cfg.Etcd.CompactionInterval)) })
	g.Go(func() error { return ignoreCanceled(s.start(background)) })
	if s.records != nil {
		g.Go(func() error { return ignoreCanceled(s.records.Run(background)) })
	}
	g.Go(func() error { return s.rpc.Serve(s.grpc) })
	g.Go(func() error {
		if err := s.http.Serve(tls.NewListener(h2.Listen(l), s.http.TLSConfig)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve HTTPS: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-background.Done():
		case err := <-s.etcdFailed():
			stop()
			return fmt.Errorf("the embedded etcd stopped: %w", err)
		}
		s.shutdown()
		stop()
		return nil
	})
	s.log.Info("serving", zap.Stringer("address", l.Addr()), zap.String("version", version.GitVersion))
	return g.Wait()
}

func (s *Server) etcdFailed() <-chan error {
	if s.local == nil {
		return nil
	}
	return s.local.Err()
}

// shutdown: not ready first, then watches end in a spread, then the rest is
// let finish.
func (s *Server) shutdown() {
	s.log.Info("draining")
	s.drained.Do(func() { close(s.drain) })
	// Clients of the kubernetes Service go elsewhere before this server does.
	if s.keeping.Load() {
		select {
		case <-s.left:
		case <-time.After(leaveTime):
		}
	}
	time.Sleep(s.cfg.ShutdownDelay)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.RequestTimeout)
	defer cancel()
	stopped := context.AfterFunc(ctx, s.rpc.Stop)
	s.rpc.Drain()
	stopped()
	if s.cfg.RetryAfter {
		s.refuse(ctx)
	}
	if err := s.http.Shutdown(ctx); err != nil {
		s.log.Warn("requests were still being served when time was up", zap.Error(err))
		_ = s.http.Close() // it is over
	}
	last, cancelLast := context.WithTimeout(context.Background(), tracesTime)
	defer cancelLast()
	if err := s.traces.Close(last); err != nil {
		s.log.Warn("the last traces were not taken", zap.Error(err))
	}
}

func (s *Server) close() {
	if s.etcd != nil {
		_ = s.etcd.Close() // nothing is lost: writes were answered
	}
	if s.local != nil {
		s.local.Close()
	}
}

func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
