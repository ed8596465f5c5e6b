package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/audit"
	"xebec.dev/apiserver/internal/authn/impersonation"
	"xebec.dev/apiserver/internal/authn/serviceaccount"
	authnsetup "xebec.dev/apiserver/internal/authn/setup"
	"xebec.dev/apiserver/internal/authz/review"
	authzsetup "xebec.dev/apiserver/internal/authz/setup"
	"xebec.dev/apiserver/internal/bootstrap"
	"xebec.dev/apiserver/internal/discovery"
	"xebec.dev/apiserver/internal/egress"
	"xebec.dev/apiserver/internal/fieldmanager"
	"xebec.dev/apiserver/internal/flow"
	"xebec.dev/apiserver/internal/metrics"
	"xebec.dev/apiserver/internal/openapi"
	"xebec.dev/apiserver/internal/patch"
	"xebec.dev/apiserver/internal/pipeline"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/rest"
	"xebec.dev/apiserver/internal/rpc"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/version"
)

// handler wires the pipeline behind both front doors.
func (s *Server) handler() (http.Handler, error) {
	if err := s.proxies(); err != nil {
		return nil, err
	}
	permissions, err := authzsetup.Build(&s.cfg.Authz, authzsetup.Deps{Dial: s.egress.To(egress.ControlPlane), Reader: s.store, Scheme: s.scheme, OnError: s.troubled("authorization"), Metrics: s.metrics.Registerer()})
	if err != nil {
		return nil, err
	}
	auth, err := authnsetup.Build(&s.cfg.Authn, authnsetup.Deps{
		Reader: s.store, Scheme: s.scheme, Fresh: s.fresh, ExternalHost: s.address(), Metrics: s.metrics.Registerer(),
		AlwaysAllow: slices.Contains(s.cfg.Authz.Modes, authzsetup.ModeAlwaysAllow), OnError: s.troubled("authentication"),
		TokenUsed: s.tokenUsed, Egress: s.egress,
	})
	if err != nil {
		return nil, err
	}
	s.accounts = auth.Discovery
	chain, err := s.admission(permissions)
	if err != nil {
		return nil, err
	}
	chain.Measure(s.metrics.Registerer())
	nodes, err := s.nodeProxy(chain)
	if err != nil {
		return nil, err
	}
	limits := flow.New(s.cfg.MaxInFlight, s.cfg.MaxMutating, s.metrics.InFlight)
	limits.LongRunning = s.longRunning
	s.limits = limits
	auditor, records, err := audit.Build(&s.cfg.Audit, s.troubled("audit"))
	if err != nil {
		return nil, err
	}
	s.records = records
	auditor.Measure(s.metrics.Registerer())
	if s.traces, err = s.tracer(); err != nil {
		return nil, err
	}
	s.pipeline = pipeline.New(pipeline.Options{
		Audit: auditor, Trace: s.traces,
		Authenticator: auth, Authorizer: loading{permissions, s.rulesLoaded}, Impersonator: impersonation.New(permissions), Flow: limits, Observe: s.observe,
	})
	s.maker = &bootstrap.Maker{Scheme: s.scheme, Log: s.log.Named("bootstrap")}
	s.lease = bootstrap.NewLease(s.maker)
	s.services = s.serviceHook()
	s.metrics.Registerer().MustRegister(s.services.Collector())
	s.registry = registry.New(registry.Options{
		Scheme: s.scheme, Store: s.metrics.Store(s.store), Admission: chain, Managers: s.managers(), Scales: s.scales(), Patch: patch.Apply,
		Hooks: s.resourceHooks(), CanCreate: s.canCreate, EventTTL: s.cfg.EventTTL,
		Reviewer:   reviews{&review.Reviewer{Authorizer: permissions.Authorizer, Tokens: auth.Tokens, Own: auth.Audiences}},
		Tokens:     tokens{auth.Requests},
		Components: s.components(),
	})
	if s.keys != nil {
		s.registry.StaleBefore = s.keys.staleBefore
	}
	s.maker.Registry = s.registry
	s.checks()
	s.discovery = discovery.NewHandler(s.address())
	s.groups = discovery.FromScheme(s.scheme, s.served)
	s.discovery.Set(s.groups)
	s.openapi = openapi.NewHandler(version.GitVersion)
	s.openapi.Set(s.groups)
	s.rpc = rpc.New(rpc.Options{
		Scheme: s.scheme, Registry: s.registry, Pipeline: s.pipeline, Served: s.carried,
		RequestTimeout: s.cfg.RequestTimeout, Draining: s.drain, Log: s.log.Named("rpc"),
	})
	return both(s.rpc.Handler(), rest.New(rest.Options{
		Scheme: s.scheme, Registry: s.registry, Pipeline: s.pipeline, Paths: s.paths(), Connect: nodes.ServeHTTP, Served: s.served,
		RequestTimeout: s.cfg.RequestTimeout, MinWatch: time.Duration(s.cfg.MinRequestTimeout) * time.Second,
		Watched: s.metrics.Watched, Draining: s.drain, Log: s.log.Named("rest"),
	})), nil
}

func (s *Server) rulesLoaded() bool { return s.hooks.finished("rbac/bootstrap-roles") }

// troubled logs what goes wrong with files that are read again.
func (s *Server) troubled(what string) func(error) {
	return func(err error) { s.log.Warn(what+" goes on as it was", zap.Error(err)) }
}

// fresh reads an object past the cache.
func (s *Server) fresh(ctx context.Context, r *scheme.Resource, namespace, name string) (scheme.Object, error) {
	o, err := s.store.Collection(r).Get(ctx, namespace, name, storage.Fresh, 0)
	if err != nil {
		return nil, registry.Status(err, r.GroupResource(), name)
	}
	return registry.Decode(r, o)
}

// reviews and tokens fit the packages that answer to what the registry asks.
type reviews struct{ *review.Reviewer }

func (v reviews) Review(ctx context.Context, t registry.Target, obj runtime.Object) (runtime.Object, error) {
	return v.Reviewer.Review(ctx, t.Resource, &request.From(ctx).User, obj)
}

type tokens struct{ *serviceaccount.Requests }

func (k tokens) Request(ctx context.Context, t registry.Target, body runtime.Object) (runtime.Object, error) {
	if k.Requests == nil {
		return nil, apierrors.NewServiceUnavailable("service account tokens can't be made: --service-account-signing-key-file is not set")
	}
	return k.Requests.Request(ctx, t.Namespace, t.Name, body.(*authenticationv1.TokenRequest))
}

// managers makes each field manager when it is first needed.
func (s *Server) managers() func(scheme.Served, string) registry.FieldManager {
	types := fieldmanager.NewTypes()
	var made sync.Map
	return func(served scheme.Served, _ string) registry.FieldManager {
		key := schema.GroupVersionResource{Group: served.At.Group, Version: served.At.Version, Resource: served.Plural}
		if m, ok := made.Load(key); ok {
			return m.(registry.FieldManager)
		}
		m, _ := made.LoadOrStore(key, fieldmanager.New(served, types))
		return m.(registry.FieldManager)
	}
}

// scales makes the managers of scale subresources, likewise.
func (s *Server) scales() func(scheme.Served) registry.ScaleManager {
	types := fieldmanager.NewTypes()
	var made sync.Map
	return func(served scheme.Served) registry.ScaleManager {
		key := schema.GroupVersionResource{Group: served.At.Group, Version: served.At.Version, Resource: served.Plural}
		if m, ok := made.Load(key); ok {
			return m.(registry.ScaleManager)
		}
		m, _ := made.LoadOrStore(key, fieldmanager.NewScale(served, types))
		return m.(registry.ScaleManager)
	}
}

func (s *Server) observe(r *request.Request, code int) {
	served, known := s.known(r)
	s.metrics.Observe(r, known, code)
	if known && served.At.Deprecated != "" {
		s.metrics.Deprecated(&r.Info, served.At.Deprecated)
	}
}

// known reports whether what a request names is of the table: what else
// clients may name is without number.
func (s *Server) known(r *request.Request) (served scheme.Served, known bool) {
	if !r.IsResource {
		return served, true
	}
	served, known = s.scheme.At(schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Resource})
	return served, known && (r.Subresource == "" || served.Subresource(r.Subresource) != nil)
}

func (s *Server) longRunning(r *request.Request, by float64) {
	_, known := s.known(r)
	s.metrics.LongRunning(r, known, by)
}

// paths serves what is not a resource.
func (s *Server) paths() http.Handler {
	measured, slis := s.metrics.Handler(), metrics.NewSLIs()
	s.health.Observed = slis.Observed
	indicators, flagz, statusz := slis.Handler(), s.flagz(), s.statusz()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.Path; {
		case p == "/healthz", p == "/livez", p == "/readyz", strings.HasPrefix(p, "/healthz/"), strings.HasPrefix(p, "/livez/"), strings.HasPrefix(p, "/readyz/"):
			s.health.ServeHTTP(w, r)
		case p == "/", p == "/index":
			s.writeIndex(w)
		case p == "/version", p == "/version/":
			writeVersion(w, r)
		case p == "/metrics":
			measured.ServeHTTP(w, r)
		case p == "/metrics/slis":
			indicators.ServeHTTP(w, r)
		case p == "/flagz":
			flagz(w, r)
		case p == "/statusz":
			statusz(w, r)
		case s.cfg.Profiling && strings.HasPrefix(p, "/debug/pprof"):
			profile(w, r)
		case s.accounts != nil && p == serviceaccount.ConfigurationPath:
			writeDocument(w, r, serviceaccount.ConfigurationType, s.accounts.Configuration)
		case s.accounts != nil && p == serviceaccount.KeysPath:
			writeDocument(w, r, serviceaccount.KeysType, s.accounts.Keys)
		default:
			s.documents(w, r)
		}
	})
}

// writeIndex lists what can be asked for.
func (s *Server) writeIndex(w http.ResponseWriter) {
	paths := append(s.discovery.Paths(), "/flagz", "/healthz", "/livez", "/metrics", "/metrics/slis",
		"/openapi/v2", "/openapi/v3", "/readyz", "/statusz", "/version")
	if s.accounts != nil {
		paths = append(paths, serviceaccount.ConfigurationPath, serviceaccount.KeysPath)
	}
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		for _, name := range s.health.Names(path[1:]) {
			paths = append(paths, path+"/"+name)
		}
	}
	slices.Sort(paths)
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(map[string][]string{"paths": paths}) // the client is gone
}

func writeVersion(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		rest.MethodNotAllowed(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(version.Get()) // the client is gone
}

func writeDocument(w http.ResponseWriter, r *http.Request, contentType string, make func() ([]byte, error)) {
	body, err := make()
	if err != nil {
		rest.Fail(w, r, apierrors.NewInternalError(err))
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", serviceaccount.CacheControl)
	_, _ = w.Write(body) // the client is gone
}

func profile(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, "/debug/pprof/") {
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	case "cmdline":
		pprof.Cmdline(w, r)
	default:
		pprof.Index(w, r)
	}
}

// documents serves discovery and OpenAPI.
func (s *Server) documents(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && describesVersion(r.URL.Path) {
		rest.MethodNotAllowed(w, r)
		return
	}
	found, err := s.openapi.Serve(w, r)
	if !found && err == nil {
		found, err = s.discovery.Serve(w, r)
	}
	switch {
	case err != nil:
		rest.Fail(w, r, err)
	case found:
	case strings.HasPrefix(r.URL.Path, "/api/"):
		rest.NotFound(w, r)
	default:
		http.NotFound(w, r)
	}
}

// describesVersion takes /api/V and /apis/G/V, which only can be read.
func describesVersion(path string) bool {
	n := strings.Count(strings.Trim(path, "/"), "/")
	return strings.HasPrefix(path, "/api/") && n == 1 || strings.HasPrefix(path, "/apis/") && n == 2
}
