package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/apiserver/internal/request"
)

// Auditor records requests by a policy.
type Auditor struct {
	policy  *Policy
	backend Backend
	now     func() time.Time
	events  prometheus.Counter // nil when nothing is measured
	refused prometheus.Counter
}

// Measure registers the metrics, also of a server that records nothing.
func (a *Auditor) Measure(r prometheus.Registerer) {
	events := prometheus.NewCounter(prometheus.CounterOpts{Name: "apiserver_audit_event_total", Help: "Audit events sent to the backends."})
	refused := prometheus.NewCounter(prometheus.CounterOpts{Name: "apiserver_audit_requests_rejected_total", Help: "Requests refused since they could not be recorded."})
	r.MustRegister(events, refused)
	if a != nil {
		a.events, a.refused = events, refused
	}
}

// New makes an auditor.
func New(policy *Policy, backend Backend) *Auditor {
	return &Auditor{policy: policy, backend: backend, now: time.Now}
}

// Origin is what the front door knows of a request beside request.Request.
type Origin struct {
	URI       string
	SourceIPs []string
}

// Record is one request's. A nil Record, for a request that is not recorded,
// does nothing.
type Record struct {
	auditor  *Auditor
	decision Decision
	r        *request.Request

	mu sync.Mutex
	// guarded by mu.
	event Event
	ended bool
}

type key struct{}

// From is the record that a context carries; nil if none.
func From(ctx context.Context) *Record {
	rec, _ := ctx.Value(key{}).(*Record)
	return rec
}

// Begin records that an authenticated request was received. The error, of a
// backend that must not lose anything, is an API status and ends the request.
func (a *Auditor) Begin(ctx context.Context, r *request.Request, o Origin) (context.Context, *Record, error) {
	if a == nil {
		return ctx, nil, nil
	}
	d := a.policy.Decide(&r.User, &r.Info)
	if d.Level == None {
		return ctx, nil, nil
	}
	rec := &Record{auditor: a, decision: d, r: r, event: Event{
		TypeMeta: eventMeta, Level: d.Level, AuditID: r.AuditID, RequestURI: o.URI, Verb: r.Verb,
		User: userInfo(&r.User), SourceIPs: o.SourceIPs, UserAgent: r.UserAgent, ObjectRef: objectRef(&r.Info),
		RequestReceived: metav1.NewMicroTime(r.Received),
	}}
	if !rec.stage(RequestReceived) {
		if a.refused != nil {
			a.refused.Inc()
		}
		return ctx, nil, apierrors.NewInternalError(fmt.Errorf("failed to store audit event"))
	}
	return context.WithValue(ctx, key{}, rec), rec, nil
}

// FailedAuthentication records a request that showed a bad credential.
func (a *Auditor) FailedAuthentication(r *request.Request, o Origin, attempted ...string) {
	if a == nil {
		return
	}
	d := a.policy.Decide(&request.User{}, &r.Info)
	if d.Level == None {
		return
	}
	message := "Authentication failed, no credentials provided"
	if len(attempted) > 0 {
		message = "Authentication failed, attempted: " + strings.Join(attempted, ", ")
	}
	rec := &Record{auditor: a, decision: d, r: r, event: Event{
		TypeMeta: eventMeta, Level: d.Level, AuditID: r.AuditID, RequestURI: o.URI, Verb: r.Verb,
		SourceIPs: o.SourceIPs, UserAgent: r.UserAgent, ObjectRef: objectRef(&r.Info), RequestReceived: metav1.NewMicroTime(r.Received),
		ResponseStatus: &metav1.Status{Status: metav1.StatusFailure, Message: message, Reason: metav1.StatusReasonUnauthorized, Code: http.StatusUnauthorized},
	}}
	rec.stage(ResponseStarted)
}

// stage sends the event as it is now; false when it was lost.
func (rec *Record) stage(s Stage) bool {
	rec.event.Stage = s
	rec.event.StageTimestamp = metav1.NewMicroTime(rec.auditor.now())
	if s == RequestReceived {
		rec.event.StageTimestamp = rec.event.RequestReceived
	}
	if slices.Contains(rec.decision.OmitStages, s) {
		return true
	}
	rec.event.Annotations = rec.annotations()
	if rec.auditor.events != nil {
		rec.auditor.events.Inc()
	}
	return rec.auditor.backend.Process(rec.event.clone())
}

// annotations are the request's, with where the identity comes from: the
// user's name alone does not tell a certificate from a token.
func (rec *Record) annotations() map[string]string {
	out := rec.r.Annotations()
	if m := rec.r.AuthMethod; m != "" {
		out["authentication.xebec.dev/method"] = m
	}
	if id := rec.r.CredentialID; id != "" {
		out["authentication.xebec.dev/credential-id"] = id
	}
	return out
}

// WantsRequest and WantsResponse tell whether bodies are recorded at all.
func (rec *Record) WantsRequest() bool { return rec != nil && rec.decision.Level.AtLeast(Request) }

// WantsResponse is the same for the answer.
func (rec *Record) WantsResponse() bool {
	return rec != nil && rec.decision.Level.AtLeast(RequestResponse)
}

// Impersonated records that the user acts as another.
func (rec *Record) Impersonated(u *request.User, constraint string) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	i := userInfo(u)
	rec.event.ImpersonatedUser = &i
	if constraint != "" {
		rec.event.Authentication = &AuthenticationMetadata{constraint}
	}
}

// RequestObject records the object of a request. Names that only the body
// tells complete the reference.
func (rec *Record) RequestObject(obj runtime.Object) {
	if rec == nil || obj == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if o, err := meta.Accessor(obj); err == nil && rec.event.ObjectRef != nil {
		ref := rec.event.ObjectRef
		fill(&ref.Name, o.GetName())
		fill(&ref.Namespace, o.GetNamespace())
		fill(&ref.UID, string(o.GetUID()))
		fill(&ref.ResourceVersion, o.GetResourceVersion())
	}
	if rec.WantsRequest() {
		rec.event.RequestObject = rec.encode(obj)
	}
}

func fill(to *string, value string) {
	if *to == "" {
		*to = value
	}
}

// RequestPatch records the body of a patch.
func (rec *Record) RequestPatch(body []byte) {
	if !rec.WantsRequest() || !json.Valid(body) {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.event.RequestObject = slices.Clone(body)
}

// ResponseObject records the answer.
func (rec *Record) ResponseObject(obj runtime.Object) {
	if !rec.WantsResponse() || obj == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.event.ResponseObject = rec.encode(obj)
}

func (rec *Record) encode(obj runtime.Object) json.RawMessage {
	if rec.decision.OmitManagedFields {
		obj = withoutManagedFields(obj)
	}
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil
	}
	return raw
}

func withoutManagedFields(obj runtime.Object) runtime.Object {
	if o, err := meta.Accessor(obj); err == nil {
		if len(o.GetManagedFields()) == 0 {
			return obj
		}
		c := obj.DeepCopyObject()
		if o, err = meta.Accessor(c); err == nil {
			o.SetManagedFields(nil)
		}
		return c
	}
	if !meta.IsListType(obj) {
		return obj
	}
	c := obj.DeepCopyObject()
	_ = meta.EachListItem(c, func(item runtime.Object) error {
		if o, err := meta.Accessor(item); err == nil {
			o.SetManagedFields(nil)
		}
		return nil
	})
	return c
}

// Started records that a long answer (a watch, a log, a stream) has begun.
func (rec *Record) Started(code int) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.event.ResponseStatus = &metav1.Status{Code: int32(code)}
	rec.stage(ResponseStarted)
}

// Complete records the end. status is that of a failure, nil otherwise.
func (rec *Record) Complete(code int, status *metav1.Status) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.ended {
		return
	}
	rec.ended = true
	rec.event.ResponseStatus = &metav1.Status{Code: int32(code)}
	if status != nil {
		rec.event.ResponseStatus = status.DeepCopy()
	}
	rec.stage(ResponseComplete)
}

// Panicked records that the server failed on the request.
func (rec *Record) Panicked(reason any) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.ended {
		return
	}
	rec.ended = true
	rec.event.ResponseStatus = &metav1.Status{
		Code: http.StatusInternalServerError, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError,
		Message: fmt.Sprintf("APIServer panic'd: %v", reason),
	}
	rec.stage(Panic)
}

// SourceIPs lists the addresses that a request came by: what proxies say, and
// last the peer, which alone cannot be made up.
func SourceIPs(header func(string) []string, peer net.Addr) []string {
	var out []string
	for _, line := range header("X-Forwarded-For") {
		for _, part := range strings.Split(line, ",") {
			if ip := net.ParseIP(strings.TrimSpace(part)); ip != nil {
				out = append(out, ip.String())
			}
		}
	}
	if len(out) == 0 {
		for _, v := range header("X-Real-Ip") {
			if ip := net.ParseIP(v); ip != nil {
				out = append(out, ip.String())
			}
		}
	}
	if peer == nil {
		return out
	}
	host, _, err := net.SplitHostPort(peer.String())
	if err != nil {
		host = peer.String()
	}
	if host != "" && (len(out) == 0 || out[len(out)-1] != host) {
		out = append(out, host)
	}
	return out
}
