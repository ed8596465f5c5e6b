package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client/daemon"
)

// Bounds of connections.
const (
	headerTime   = 32 * time.Second
	idleTime     = 90 * time.Second
	maxHeader    = 1 << 20
	maxStreams   = 100
	shutdownTime = 2 * time.Second
	// defaultIdle is how long exec, attach and port-forward may be silent.
	defaultIdle = 4 * time.Hour
	// stallTime is how long a reader of the node's logs may take nothing.
	stallTime = 2 * time.Minute
)

// Server is the kubelet's endpoints.
type Server struct {
	o     Options
	pods  Pods
	log   *zap.Logger
	authn *authenticator
	authz *authorizer
	// journalTime and stallTime are the constants, but for tests.
	journalTime, stallTime time.Duration

	mu      sync.Mutex
	streams map[net.Conn]bool // guarded by mu: connections that were upgraded
	closed  bool              // guarded by mu
}

// New makes a server; nothing listens before Run.
func New(pods Pods, o Options) *Server {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &Server{o: o, pods: pods, log: o.Log, journalTime: journalTime, stallTime: stallTime, streams: map[net.Conn]bool{}}
	s.authn, s.authz = &authenticator{o: &s.o}, &authorizer{o: &s.o}
	return s
}

// Run serves all endpoints until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	var funcs []func(context.Context) error
	if s.o.Address != "" {
		l, err := net.Listen("tcp", s.o.Address)
		if err != nil {
			return fmt.Errorf("serve the kubelet's API: %w", err)
		}
		funcs = append(funcs, func(ctx context.Context) error { return s.Serve(ctx, l) })
	}
	for _, p := range []struct {
		address, what string
		handler       http.Handler
	}{{s.o.Health, "health", s.healthHandler()}, {s.o.ReadOnly, "the read-only endpoint", s.readOnlyHandler()}} {
		if p.address == "" {
			continue
		}
		l, err := net.Listen("tcp", p.address)
		if err != nil {
			return fmt.Errorf("serve %s: %w", p.what, err)
		}
		funcs = append(funcs, func(ctx context.Context) error { return serve(ctx, s.plain(p.handler), l) })
	}
	if len(funcs) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	return daemon.Run(ctx, funcs...)
}

// Serve serves the HTTPS endpoint on a listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	config := s.o.TLS.Clone()
	if config == nil || len(config.Certificates) == 0 && config.GetCertificate == nil {
		return errors.New("serve the kubelet's API: there is no serving certificate")
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.ClientAuth = tls.RequestClientCert // verified by authenticator
	config.NextProtos = []string{"h2", "http/1.1"}
	server := s.plain(s.Handler())
	server.TLSConfig = config
	stop := context.AfterFunc(ctx, s.closeStreams)
	defer stop()
	defer s.closeStreams()
	return serve(ctx, server, tls.NewListener(l, config))
}

func (s *Server) plain(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams}, ErrorLog: zap.NewStdLog(s.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
}

func serve(ctx context.Context, server *http.Server, l net.Listener) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // what is still open is ours to end
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-done
		return ctx.Err()
	}
	return err
}

// Handler is the HTTPS endpoint: every path behind authentication and
// authorization.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	s.observing(mux)
	s.health(mux)
	s.optional(mux, "/configz", s.o.Configz)
	s.optional(mux, "/flagz", s.o.Flagz)
	s.optional(mux, "/statusz", s.o.Statusz)
	mux.HandleFunc("POST /checkpoint/{namespace}/{pod}/{container}", s.checkpoint)
	if !s.o.NoDebugging {
		s.debugging(mux)
	} else {
		for _, path := range []string{"/exec/", "/attach/", "/portForward/", "/run/", "/containerLogs/", "/runningpods/", "/logs/", "/debug/pprof/"} {
			mux.HandleFunc(path, disabled("Debug endpoints are disabled."))
		}
	}
	return s.guard(mux)
}

// disabled answers for what the configuration turns off, as Kubernetes does.
func disabled(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, http.StatusMethodNotAllowed) }
}

func (s *Server) optional(mux *http.ServeMux, path string, h http.Handler) {
	if h != nil {
		mux.Handle(path, h)
	}
}

func (s *Server) debugging(mux *http.ServeMux) {
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
	for _, method := range []string{"GET", "POST"} {
		for _, uid := range []string{"", "/{uid}"} {
			mux.HandleFunc(method+" /exec/{namespace}/{pod}"+uid+"/{container}", s.exec)
			mux.HandleFunc(method+" /attach/{namespace}/{pod}"+uid+"/{container}", s.attach)
			mux.HandleFunc(method+" /portForward/{namespace}/{pod}"+uid, s.portForward)
		}
	}
	mux.HandleFunc("POST /run/{namespace}/{pod}/{container}", s.run)
	mux.HandleFunc("POST /run/{namespace}/{pod}/{uid}/{container}", s.run)
	mux.HandleFunc("GET /runningpods/", s.runningPods)
	if s.o.LogDir != "" {
		mux.Handle("/logs/", s.systemLogs())
	} else {
		mux.HandleFunc("/logs/", disabled("logs endpoint is disabled."))
	}
	if s.o.Profiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	} else {
		mux.HandleFunc("/debug/pprof/", disabled("profiling endpoint is disabled."))
	}
	if s.o.NoFlags {
		mux.HandleFunc("/debug/flags/v", disabled("flags endpoint is disabled."))
	}
}

// observing are the paths that only look.
func (s *Server) observing(mux *http.ServeMux) {
	mux.HandleFunc("GET /pods", s.listPods)
	mux.HandleFunc("GET /pods/", s.listPods)
	serve := func(path string, g prometheus.Gatherer) {
		if g != nil {
			mux.Handle("GET "+path, promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
		}
	}
	serve("/metrics", s.o.Metrics)
	serve("/metrics/probes", s.o.Probes)
	if s.o.Stats != nil {
		serve("/metrics/cadvisor", s.o.Stats.Cadvisor())
		serve("/metrics/resource", s.o.Stats.Resource())
		mux.HandleFunc("GET /stats/summary", s.summary)
	}
}

func (s *Server) health(mux *http.ServeMux) {
	if s.o.Healthz != nil {
		mux.Handle("/healthz", s.o.Healthz)
		mux.Handle("/healthz/", s.o.Healthz)
	}
}

func (s *Server) healthHandler() http.Handler {
	mux := http.NewServeMux()
	s.health(mux)
	return mux
}

func (s *Server) readOnlyHandler() http.Handler {
	mux := http.NewServeMux()
	s.observing(mux)
	s.health(mux)
	return mux
}

// guard lets those through who may.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.o.Served != nil {
			path, long := kind(r.URL.Path)
			defer s.o.Served(r.Method, path, long)()
		}
		u, err := s.authn.user(r)
		if err != nil {
			if !errors.Is(err, errUnauthorized) {
				s.log.Error("a request could not be authenticated", zap.Error(err))
			}
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		need := rights(r.Method, r.URL.Path)
		ok, err := s.authz.allowed(r.Context(), u, need)
		text := fmt.Sprintf("user=%s, verb=%s, resource=nodes, subresource(s)=[%s]", u.name, need.verb, strings.Join(need.subresources, " "))
		switch {
		case err != nil:
			s.log.Error("access could not be reviewed", zap.String("user", u.name), zap.String("verb", need.verb), zap.Error(err))
			http.Error(w, fmt.Sprintf("Authorization error (%s)", text), http.StatusInternalServerError)
		case !ok:
			http.Error(w, fmt.Sprintf("Forbidden (%s)", text), http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// kind is the part of a path that says what is asked for, of a bounded number,
// and whether its answer may take as long as it likes.
func kind(path string) (name string, long bool) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "exec", "attach", "portForward", "containerLogs", "run", "debug":
		return first, first != "run"
	case "metrics":
		if name = "metrics/" + rest; slices.Contains([]string{"metrics/cadvisor", "metrics/probes", "metrics/resource"}, name) {
			return name, false
		}
		return first, false
	case "pods", "runningpods", "logs", "checkpoint", "stats", "healthz", "configz", "flagz", "statusz":
		return first, false
	}
	return "other", false
}

func (s *Server) listPods(w http.ResponseWriter, _ *http.Request) {
	writePods(w, s.pods.List())
}

func (s *Server) runningPods(w http.ResponseWriter, r *http.Request) {
	pods, err := s.pods.Running(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writePods(w, pods)
}

func writePods(w http.ResponseWriter, pods []*corev1.Pod) {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: make([]corev1.Pod, len(pods))}
	for i, p := range pods {
		list.Items[i] = *p
		list.Items[i].TypeMeta = metav1.TypeMeta{}
	}
	writeJSON(w, &list)
}

func writeJSON(w http.ResponseWriter, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw) // the reader may have gone
}

func (s *Server) summary(w http.ResponseWriter, r *http.Request) {
	only := r.URL.Query().Get("only_cpu_and_memory")
	v, err := s.o.Stats.SummaryObject(r.Context(), only == "true" || only == "1")
	if err != nil {
		http.Error(w, "Internal Error: "+err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, v)
}

// track keeps an upgraded connection, to be closed at the end; false is that
// the end has come.
func (s *Server) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.streams[c] = true
	return true
}

func (s *Server) untrack(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, c)
}

func (s *Server) closeStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.streams {
		c.Close()
	}
}
