package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
)

// shutdownTime is how long requests may go on after the end.
const shutdownTime = 2 * time.Second

// blockSample is the rate of contention profiling: every event.
const blockSample = 1

// Mux are the paths every component serves, without guard. More can be added.
func (p *Process) Mux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		mux.Handle(path, p.Health)
		mux.Handle(path+"/", p.Health)
	}
	slis := prometheus.NewRegistry()
	slis.MustRegister(p.Health)
	mux.Handle("/metrics", promhttp.HandlerFor(p.Registry, promhttp.HandlerOpts{}))
	mux.Handle("/metrics/slis", promhttp.HandlerFor(slis, promhttp.HandlerOpts{}))
	mux.Handle("/configz", p.Configz)
	mux.Handle("/flagz", p.Flagz())
	mux.Handle("/statusz", p.Statusz("/configz", "/flagz", "/healthz", "/livez", "/metrics", "/metrics/slis", "/readyz", "/statusz", "/version"))
	mux.HandleFunc("/version", p.version)
	if p.Flags.Profiling {
		if p.Flags.Contention {
			runtime.SetBlockProfileRate(blockSample)
		}
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	}
	return mux
}

func (p *Process) version(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "{\"gitVersion\": %q, \"gitCommit\": %q, \"goVersion\": %q}\n", GitVersion, GitCommit, runtime.Version())
}

// Guard makes the access rules that the flags ask for. close ends the
// connections they use.
func (p *Process) Guard(s *scheme.Scheme) (guard *Access, closeAll func(), err error) {
	guard = &Access{AlwaysAllow: p.Flags.AlwaysAllow, ClientCA: p.Flags.ClientCA}
	closeAll = func() {
		for _, c := range []*client.Client{guard.Tokens, guard.Rules} {
			if c != nil {
				_ = c.Close() // nothing is lost
			}
		}
	}
	for _, d := range []struct {
		path string
		to   **client.Client
	}{{p.Flags.AuthnConfig, &guard.Tokens}, {p.Flags.AuthzConfig, &guard.Rules}} {
		if d.path == "" {
			continue
		}
		if *d.to, err = client.Dial(client.Config{Kubeconfig: d.path}, s, client.Options{}); err != nil {
			closeAll()
			return nil, nil, err
		}
	}
	return guard, closeAll, nil
}

// Serve answers HTTPS on --secure-port until ctx ends; with port 0 it only
// waits.
func (p *Process) Serve(ctx context.Context, h http.Handler) error {
	f := p.Flags
	if f.SecurePort == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	l, err := net.Listen("tcp", net.JoinHostPort(f.BindAddress.String(), strconv.Itoa(f.SecurePort)))
	if err != nil {
		return fmt.Errorf("listen for HTTPS: %w", err)
	}
	return p.ServeOn(ctx, l, h)
}

// ServeOn is Serve on a listener, which it closes.
func (p *Process) ServeOn(ctx context.Context, l net.Listener, h http.Handler) error {
	cfg, err := p.tls()
	if err != nil {
		_ = l.Close() // the error is the news
		return err
	}
	srv := &http.Server{
		Handler: h, TLSConfig: cfg,
		ReadHeaderTimeout: 32 * time.Second, IdleTimeout: 90 * time.Second, MaxHeaderBytes: 1 << 20,
		ErrorLog: zap.NewStdLog(p.Log.Named("http").WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.ServeTLS(l, "", "") }()
	p.Log.Info("serving", zap.Stringer("address", l.Addr()))
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTPS: %w", err)
	case <-ctx.Done():
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := srv.Shutdown(bounded); err != nil {
		_ = srv.Close() // it is over
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

var tlsVersions = map[string]uint16{"": tls.VersionTLS12, "VersionTLS12": tls.VersionTLS12, "VersionTLS13": tls.VersionTLS13}

func (p *Process) tls() (*tls.Config, error) {
	least, ok := tlsVersions[p.Flags.TLSMin]
	if !ok {
		return nil, fmt.Errorf("--tls-min-version: %q is neither VersionTLS12 nor VersionTLS13", p.Flags.TLSMin)
	}
	ciphers, err := cipherSuites(p.Flags.TLSCiphers)
	if err != nil {
		return nil, err
	}
	certs, err := newCertificates(p.Flags, p.Name)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: least, CipherSuites: ciphers, GetCertificate: certs.choose,
		ClientAuth: tls.RequestClientCert, // verified by Access
	}, nil
}

// cipherSuites turns names into ids; unknown and insecure ones are refused.
func cipherSuites(names []string) ([]uint16, error) {
	known := map[string]uint16{}
	for _, s := range tls.CipherSuites() {
		known[s.Name] = s.ID
	}
	var ids []uint16
	for _, name := range names {
		id, ok := known[strings.TrimSpace(name)]
		if !ok {
			return nil, fmt.Errorf("--tls-cipher-suites: %q is not one of Go's secure cipher suites", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
