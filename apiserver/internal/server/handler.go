package server

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/bootstrap"
	"xebec.dev/apiserver/internal/discovery"
	"xebec.dev/apiserver/internal/fieldmanager"
	"xebec.dev/apiserver/internal/flow"
	"xebec.dev/apiserver/internal/patch"
	"xebec.dev/apiserver/internal/pipeline"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/rest"
	"xebec.dev/apiserver/internal/version"
)

// handler wires the pipeline behind both front doors.
func (s *Server) handler() (http.Handler, error) {
	auth, err := s.authenticators()
	if err != nil {
		return nil, err
	}
	authorizer, err := s.authorizers()
	if err != nil {
		return nil, err
	}
	chain, err := s.admission(authorizer)
	if err != nil {
		return nil, err
	}
	limits := flow.New(s.cfg.MaxInFlight, s.cfg.MaxMutating, s.metrics.InFlight)
	s.pipeline = pipeline.New(pipeline.Options{
		Authenticator: auth, Authorizer: authorizer, Flow: limits, Observe: s.observe,
	})
	s.registry = registry.New(registry.Options{
		Scheme: s.scheme, Store: s.store, Admission: chain, Managers: s.managers(), Patch: patch.Apply,
		Hooks: s.resourceHooks(), CanCreate: s.canCreate, EventTTL: s.cfg.EventTTL,
	})
	s.maker = &bootstrap.Maker{Scheme: s.scheme, Registry: s.registry, Log: s.log.Named("bootstrap")}
	s.checks()
	s.discovery = discovery.NewHandler(s.address())
	s.discovery.Set(discovery.FromScheme(s.scheme, s.served))
	return rest.New(rest.Options{
		Scheme: s.scheme, Registry: s.registry, Pipeline: s.pipeline, Paths: s.paths(), Connect: s.connect, Served: s.served,
		RequestTimeout: s.cfg.RequestTimeout, Draining: s.drain, Log: s.log.Named("rest"),
	}), nil
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

func (s *Server) observe(r *request.Request, code int) {
	_, known := s.scheme.At(schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Resource})
	s.metrics.Observe(r, known || !r.IsResource, code)
}

// paths serves what is not a resource.
func (s *Server) paths() http.Handler {
	metrics := s.metrics.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.Path; {
		case p == "/healthz", p == "/livez", p == "/readyz", strings.HasPrefix(p, "/healthz/"), strings.HasPrefix(p, "/livez/"), strings.HasPrefix(p, "/readyz/"):
			s.health.ServeHTTP(w, r)
		case p == "/version", p == "/version/":
			writeVersion(w, r)
		case p == "/metrics":
			metrics.ServeHTTP(w, r)
		case s.cfg.Profiling && strings.HasPrefix(p, "/debug/pprof"):
			profile(w, r)
		default:
			s.documents(w, r)
		}
	})
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
	found, err := s.discovery.Serve(w, r)
	switch {
	case err != nil:
		rest.Fail(w, r, err)
	case !found:
		http.NotFound(w, r)
	}
}
