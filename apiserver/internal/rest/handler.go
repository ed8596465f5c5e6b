// Package rest is the HTTP front door: the Kubernetes REST API.
//
// A request goes authn → flow → authz → registry; bodies and answers pass
// through decode and encode.
package rest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/decode"
	"xebec.dev/apiserver/internal/encode"
	"xebec.dev/apiserver/internal/pipeline"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
)

// Options are the handler's surroundings.
type Options struct {
	Scheme   *scheme.Scheme
	Registry *registry.Registry
	Pipeline *pipeline.Pipeline
	// Paths serves everything that is not a resource: discovery, OpenAPI,
	// health, version, metrics. It is asked after authorization.
	Paths http.Handler
	// Connect serves the subresources that reach a kubelet or a proxied
	// object: log, exec, attach, portforward, proxy.
	Connect func(w http.ResponseWriter, r *http.Request, t registry.Target, info *request.Info)
	// Served reports whether --runtime-config leaves a version on.
	Served func(gv schema.GroupVersion, resource string) bool
	// RequestTimeout bounds everything but watches and streams; 0 is 60 s.
	RequestTimeout time.Duration
	// MinWatch is the shortest time a watch without timeoutSeconds lives,
	// doubled at random; 0 is 30 minutes.
	MinWatch time.Duration
	// Watched gives what counts the events that watchers of a resource are
	// sent; nil counts none.
	Watched func(schema.GroupVersionResource) interface{ Add(float64) }
	// Draining is closed when the server begins to shut down; watches end.
	Draining <-chan struct{}
	Log      *zap.Logger
}

// Handler serves REST.
type Handler struct {
	Options
	encoders map[schema.GroupVersionResource]*encode.Encoder
	// groups are those of which any resource is served at any version.
	groups  map[string]bool
	leaving leaving
}

// New makes a handler.
func New(o Options) *Handler {
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 60 * time.Second
	}
	if o.MinWatch == 0 {
		o.MinWatch = 30 * time.Minute
	}
	h := &Handler{Options: o, encoders: map[schema.GroupVersionResource]*encode.Encoder{}, groups: map[string]bool{}}
	h.leaving.draining = o.Draining
	for _, r := range o.Scheme.Resources() {
		for _, v := range r.ServedVersions() {
			gvr := schema.GroupVersionResource{Group: v.Group, Version: v.Version, Resource: r.Plural}
			if served, ok := o.Scheme.At(gvr); ok {
				h.encoders[gvr] = encode.New(served)
				h.groups[v.Group] = h.groups[v.Group] || o.Served(gvr.GroupVersion(), r.Plural)
			}
		}
	}
	return h
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := &request.Request{
		Info: ParseInfo(r), UserAgent: r.UserAgent(), Received: time.Now(),
		AuditID: auditID(r.Header.Get("Audit-Id")), DryRun: strings.Contains(r.URL.RawQuery, "dryRun=All"),
	}
	header := w.Header()
	header.Set("Audit-Id", req.AuditID)
	header.Set("Cache-Control", "no-cache, private")
	ctx := request.With(r.Context(), req)
	defer h.recover(w, r, req)
	ctx, done, err := h.Pipeline.Begin(ctx, req, credentials(r))
	if err != nil {
		Fail(w, r.WithContext(ctx), err)
		return
	}
	rec := &recorder{ResponseWriter: w}
	defer func() {
		req.AnswerBytes = rec.sent
		done(rec.code())
	}()
	h.serve(rec, r.WithContext(ctx), req)
}

func (h *Handler) recover(w http.ResponseWriter, r *http.Request, req *request.Request) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler {
		panic(p)
	}
	h.Log.Error("a request panicked", zap.String("verb", req.Verb), zap.String("path", req.Path), zap.Any("panic", p), zap.Stack("stack"))
	http.Error(w, "This request caused apiserver to panic. Look in the logs for details.", http.StatusInternalServerError)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, req *request.Request) {
	if !req.IsResource {
		h.Paths.ServeHTTP(w, r)
		return
	}
	if req.Group != "" && !h.groups[req.Group] || strings.Contains(r.URL.Path, "//") {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return
	}
	if req.Resource == "watch" && req.Name == "" {
		http.Error(w, fmt.Sprintf("Internal Server Error: %q: failed to create RequestInfo: unable to determine kind and namespace from url, %s", r.URL.Path, r.URL.Path), http.StatusInternalServerError)
		return
	}
	if r.Method == http.MethodHead && !proxies(&req.Info) {
		MethodNotAllowed(w, r)
		return
	}
	t, err := h.target(&req.Info)
	if err != nil {
		Fail(w, r, err)
		return
	}
	if allows(&t, req.Verb) || req.Verb == "watch" {
		request.Warn(r.Context(), t.At.Deprecated)
	}
	if connects(&req.Info) {
		if !(proxies(&req.Info) && proxyMethods[r.Method]) && !allows(&t, connectVerb(r.Method)) {
			MethodNotAllowed(w, r)
			return
		}
		h.Connect(w, r, t, &req.Info)
		return
	}
	if req.Verb != "watch" {
		limit, err := h.timeout(r)
		if err != nil {
			Fail(w, r, err)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		r = r.WithContext(ctx)
	}
	if err := h.resource(w, r, t, req); err != nil {
		Fail(w, r, err)
	}
}

// timeout is the client's ?timeout=, never more than ours.
func (h *Handler) timeout(r *http.Request) (time.Duration, error) {
	if r.URL.RawQuery == "" {
		return h.RequestTimeout, nil
	}
	v := r.URL.Query().Get("timeout")
	if v == "" {
		return h.RequestTimeout, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, apierrors.NewBadRequest("invalid timeout specified in the request URL - " + err.Error())
	}
	if d <= 0 || d > h.RequestTimeout {
		return h.RequestTimeout, nil
	}
	return d, nil
}

var connectSubresources = map[string]bool{"log": true, "exec": true, "attach": true, "portforward": true, "proxy": true}

// connectVerb is the verb of a method at a connecting subresource, as its
// discovery lists it.
func connectVerb(method string) string { return verbs[method] }

func connects(i *request.Info) bool {
	return i.Group == "" && connectSubresources[i.Subresource] &&
		(i.Resource == "pods" || i.Subresource == "proxy" && (i.Resource == "nodes" || i.Resource == "services"))
}

// proxyMethods are those that are passed on, some of which discovery does not list.
var proxyMethods = map[string]bool{
	http.MethodGet: true, http.MethodHead: true, http.MethodPost: true, http.MethodPut: true,
	http.MethodPatch: true, http.MethodDelete: true, http.MethodOptions: true,
}

// proxies reports whether what is asked is another server's to answer.
func proxies(i *request.Info) bool { return i.Subresource == "proxy" && connects(i) }

// target finds the resource; 404 when there is none at this path.
func (h *Handler) target(i *request.Info) (registry.Target, error) {
	gvr := schema.GroupVersionResource{Group: i.Group, Version: i.Version, Resource: i.Resource}
	served, ok := h.Scheme.At(gvr)
	if !ok || !h.Served(gvr.GroupVersion(), i.Resource) {
		return registry.Target{}, errNoSuchResource
	}
	t := registry.Target{Served: served, Namespace: i.Namespace, Name: i.Name, Subresource: i.Subresource}
	if i.Resource == "namespaces" && i.Group == "" {
		t.Namespace = ""
	}
	if err := checkScope(&t, i); err != nil {
		return t, err
	}
	if err := checkSegments(&t); err != nil {
		return t, err
	}
	if t.StoragePrefix == "" && i.Name != "" && !t.IsComponents() {
		return t, errNoSuchResource // reviews have no items
	}
	if i.Subresource != "" && (served.Subresource(i.Subresource) == nil || len(i.Parts) > 0 && i.Subresource != "proxy") {
		return t, errNoSuchResource
	}
	return t, nil
}

// checkSegments refuses names that would reach other keys.
func checkSegments(t *registry.Target) error {
	for _, part := range []struct{ what, value string }{{"Name", t.Name}, {"Namespace", t.Namespace}} {
		if part.value == "" {
			continue
		}
		if bad := content.IsPathSegmentName(part.value); len(bad) > 0 {
			return apierrors.NewBadRequest(fmt.Sprintf("%s parameter invalid: %q: %s", part.what, part.value, strings.Join(bad, "; ")))
		}
	}
	return nil
}

// checkScope refuses a cluster path of a namespaced object and the reverse.
func checkScope(t *registry.Target, i *request.Info) error {
	if !t.Namespaced {
		if t.Namespace != "" {
			return errNoSuchResource
		}
		return nil
	}
	switch {
	case t.Namespace != "":
		return nil
	case i.Verb == "list" || i.Verb == "watch":
		return nil
	case t.Resource.NewList == nil && i.Name == "":
		return errNoMethod // create-only kinds want a namespace
	case i.Name != "":
		return errNoSuchResource
	}
	return errNoMethod
}

var (
	errNoSuchResource = &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{},
	}}
	errNoMethod = &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusMethodNotAllowed, Reason: metav1.StatusReasonMethodNotAllowed,
		Message: "the server does not allow this method on the requested resource", Details: &metav1.StatusDetails{},
	}}
)

// readBody reads the body while the request has time: a client that never
// ends it would keep a place among those in flight.
func (x *exchange) readBody() ([]byte, error) {
	r, ctx := x.r, x.r.Context()
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	late := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(late)
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now()) // both servers can
	})
	body, err := decode.Read(r.Body, r.ContentLength, decode.MaxBody)
	if !stop() {
		<-late
	}
	if err != nil && ctx.Err() == context.DeadlineExceeded {
		return nil, apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0)
	}
	if q := request.From(ctx); q != nil {
		q.BodyBytes = len(body)
	}
	return body, err
}

func auditID(given string) string {
	if given != "" && len(given) <= 64 {
		return given
	}
	return uuid.NewString()
}

func credentials(r *http.Request) *request.Credentials {
	c := &request.Credentials{Header: func(name string) []string { return r.Header.Values(name) }, URI: r.RequestURI}
	c.Headers = func(prefix string) []string {
		var names []string
		for name := range r.Header {
			if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
				names = append(names, name)
			}
		}
		return names
	}
	if r.TLS != nil {
		c.Certificates = r.TLS.PeerCertificates
	}
	if host, port, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		n, _ := strconv.Atoi(port)
		c.Remote = &net.TCPAddr{IP: net.ParseIP(host), Port: n}
	}
	return c
}

// Fail writes an error as a Status.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		if errors.Is(err, context.Canceled) {
			return
		}
		// Kubernetes gives errors it has no word for as they are.
		status = &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error()}}
	}
	s := status.Status()
	s.Kind, s.APIVersion = "Status", "v1"
	format := encode.NegotiateError(r.Header.Get("Accept"))
	if s.Details != nil && s.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(s.Details.RetryAfterSeconds)))
	}
	writeAny(w, r, format, int(s.Code), &s)
}

// MethodNotAllowed writes a 405.
func MethodNotAllowed(w http.ResponseWriter, r *http.Request) { Fail(w, r, errNoMethod) }

// NotFound writes the 404 of a path below the API that is no resource.
func NotFound(w http.ResponseWriter, r *http.Request) { Fail(w, r, errNoSuchResource) }
