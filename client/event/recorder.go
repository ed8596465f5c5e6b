// Package event records events: what a component did to an object and why,
// for people. Events are sent in the background, from a bounded queue: a
// component never waits for them, and loses some rather than grow.
//
// Like events become one with a count; many events that differ in their
// message only become one that says so; and each object has a budget. The
// rules and numbers are those of Kubernetes' recorders.
package event

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
)

// Defaults of Kubernetes' recorders.
const (
	// queued events wait to be sent; more are dropped.
	queued = 1000
	// attempts to send an event, retryPause apart.
	attempts   = 12
	retryPause = 10 * time.Second
)

// Sink is where events go.
type Sink interface {
	Create(ctx context.Context, e *corev1.Event) (*corev1.Event, error)
	Patch(ctx context.Context, namespace, name string, patch []byte) (*corev1.Event, error)
}

// Submitter is a Sink that also takes events without an answer at once: like
// writes then share a way. done is called once, and must not block. patch is
// nil for an event that is new.
type Submitter interface {
	Sink
	Submit(ctx context.Context, e *corev1.Event, patch []byte, done func(error)) error
}

// Through sends events through a batch.
func Through(c *client.Client, b *client.Batch) Submitter { return batched{remote{c}, b} }

type batched struct {
	remote
	b *client.Batch
}

func (s batched) Submit(ctx context.Context, e *corev1.Event, patch []byte, done func(error)) error {
	o := client.WriteOptions{OmitObject: true}
	var w *client.Write
	var err error
	if patch == nil {
		w, err = client.CreateWrite(s.c, e, o)
	} else {
		w, err = client.PatchWrite[*corev1.Event](s.c, e.Namespace, e.Name, types.StrategicMergePatchType, patch, o)
	}
	if err != nil {
		return err
	}
	return s.b.Submit(ctx, w, func(r client.Result) { done(r.Err) })
}

// Over sends events to an API server.
func Over(c *client.Client) Sink { return remote{c} }

type remote struct{ c *client.Client }

func (r remote) Create(ctx context.Context, e *corev1.Event) (*corev1.Event, error) {
	return client.Create(ctx, r.c, e)
}

func (r remote) Patch(ctx context.Context, namespace, name string, patch []byte) (*corev1.Event, error) {
	return client.Patch[*corev1.Event](ctx, r.c, namespace, name, types.StrategicMergePatchType, patch)
}

// Options of a recorder; the zero value works.
type Options struct {
	// Host is the host's name by default; "-" is none.
	Host    string
	Metrics *Metrics
	Log     *zap.Logger
}

// Recorder records events of one component. Run sends them.
type Recorder struct {
	sink   Sink
	scheme *scheme.Scheme
	source corev1.EventSource
	o      Options
	queue  chan *corev1.Event

	// Owned by Run.
	correlator *correlator
	failures   chan failure
}

// failure of an event that was submitted.
type failure struct {
	e       *corev1.Event
	repeats bool
	err     error
}

// Metrics counts events; a nil one counts nothing.
type Metrics struct{ *prometheus.CounterVec }

// NewMetrics makes metrics, to be registered by the caller.
func NewMetrics() *Metrics {
	return &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "client_events_total", Help: "Events by what became of them: sent, dropped for want of room, suppressed by the budget, or failed.",
	}, []string{"outcome"})}
}

func (m *Metrics) count(outcome string) {
	if m != nil {
		m.WithLabelValues(outcome).Inc()
	}
}

// NewRecorder makes a recorder for a component ("replicaset-controller").
// The scheme names the kinds of objects.
func NewRecorder(sink Sink, s *scheme.Scheme, component string, o Options) *Recorder {
	switch o.Host {
	case "":
		if host, err := os.Hostname(); err == nil {
			o.Host = host
		}
	case "-":
		o.Host = ""
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Recorder{
		sink: sink, scheme: s, source: corev1.EventSource{Component: component, Host: o.Host}, o: o,
		queue: make(chan *corev1.Event, queued), correlator: newCorrelator(), failures: make(chan failure, queued),
	}
}

// Note is an event to be.
type Note struct {
	// About is what the event is about. Related is another object or nil.
	About, Related *corev1.ObjectReference
	// Type is Normal or Warning.
	Type string
	// Reason is a word for machines, "FailedScheduling"; Action what was tried.
	Reason, Action string
	Message        string
	Annotations    map[string]string
}

// Event records that something happened to an object. It never blocks.
func (r *Recorder) Event(obj scheme.Object, kind, reason, message string) {
	ref, err := r.Reference(obj)
	if err != nil {
		r.o.Log.Error("no event can be recorded about an object", zap.String("reason", reason), zap.Error(err))
		return
	}
	r.Record(Note{About: ref, Type: kind, Reason: reason, Message: message})
}

// Eventf is Event with a format.
func (r *Recorder) Eventf(obj scheme.Object, kind, reason, format string, args ...any) {
	r.Event(obj, kind, reason, fmt.Sprintf(format, args...))
}

// Reference is how an event names an object.
func (r *Recorder) Reference(obj scheme.Object) (*corev1.ObjectReference, error) {
	gvk := obj.GetObjectKind().GroupVersionKind()
	if gvk.Empty() {
		for _, res := range r.scheme.Resources() {
			if res.New != nil && fmt.Sprintf("%T", res.New()) == fmt.Sprintf("%T", obj) && res.StoragePrefix != "" {
				gvk = res.GroupVersionKind()
				break
			}
		}
	}
	if gvk.Empty() {
		return nil, fmt.Errorf("the scheme has no kind for %T", obj)
	}
	return &corev1.ObjectReference{
		APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName(),
		UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(),
	}, nil
}

// maxMessage is what the API takes, in bytes.
const maxMessage = 1024

// Record queues a note.
func (r *Recorder) Record(n Note) {
	now := metav1.Now()
	namespace := n.About.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	if len(n.Message) > maxMessage {
		n.Message = n.Message[:maxMessage-3] + "..."
	}
	e := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: namespace, Name: eventName(n.About.Name, now.Time), Annotations: n.Annotations},
		InvolvedObject: *n.About, Related: n.Related, Type: n.Type, Reason: n.Reason, Action: n.Action, Message: n.Message,
		Source: r.source, FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: r.source.Component, ReportingInstance: r.source.Host,
	}
	select {
	case r.queue <- e:
	default:
		r.o.Metrics.count("dropped")
	}
}

// eventName leaves room for the time within what a name may be.
func eventName(object string, now time.Time) string {
	const longest = 253 - 17
	if len(object) > longest {
		object = object[:longest]
	}
	return fmt.Sprintf("%s.%x", object, now.UnixNano())
}

// Run sends events until ctx ends; what then waits is lost.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		select {
		case e := <-r.queue:
			r.one(ctx, e)
		case f := <-r.failures:
			r.failed(ctx, f)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Recorder) one(ctx context.Context, e *corev1.Event) {
	e, series, ok := r.correlator.correlate(e, time.Now())
	if !ok {
		r.o.Metrics.count("suppressed")
		return
	}
	if s, ok := r.sink.(Submitter); ok {
		r.submit(ctx, s, e, series)
		return
	}
	r.insist(ctx, e, series)
}

// submit sends an event and does not wait; what fails comes back.
func (r *Recorder) submit(ctx context.Context, s Submitter, e *corev1.Event, repeats bool) {
	var patch []byte
	if repeats {
		var err error
		if patch, err = repetition(e); err != nil {
			return // can't be: strings, numbers and times
		}
	}
	done := func(err error) {
		if err == nil {
			r.o.Metrics.count("sent")
			return
		}
		select {
		case r.failures <- failure{e, repeats, err}:
		default:
			r.o.Metrics.count("dropped")
		}
	}
	if err := s.Submit(ctx, e, patch, done); err != nil {
		done(err)
	}
}

// failed decides about an event that was submitted in vain.
func (r *Recorder) failed(ctx context.Context, f failure) {
	switch {
	case ctx.Err() != nil:
	case final(f.err) && (!f.repeats || !apierrors.IsNotFound(f.err)):
		r.lose(f.e, f.err)
	default:
		r.insist(ctx, f.e, f.repeats)
	}
}

func (r *Recorder) lose(e *corev1.Event, err error) {
	r.o.Log.Debug("an event could not be recorded", zap.String("namespace", e.Namespace), zap.String("name", e.Name), zap.String("reason", e.Reason), zap.Error(err))
	r.o.Metrics.count("failed")
}

// insist sends an event, again and again while the server can't be reached.
func (r *Recorder) insist(ctx context.Context, e *corev1.Event, series bool) {
	for attempt := 1; ; attempt++ {
		stored, err := r.send(ctx, e, series)
		switch {
		case err == nil:
			r.correlator.sent(stored)
			r.o.Metrics.count("sent")
			return
		case ctx.Err() != nil:
			return
		case final(err) || attempt == attempts:
			r.lose(e, err)
			return
		}
		if rest(ctx, retryPause) != nil {
			return
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// final reports whether the server has refused the event: another attempt
// would be refused as well, or, when it exists, has been made.
func final(err error) bool {
	status := apierrors.ReasonForError(err)
	return status != metav1.StatusReasonUnknown && !client.IsUnavailable(err) && !apierrors.IsTooManyRequests(err) && !apierrors.IsTimeout(err) && !apierrors.IsInternalError(err)
}

// repetition is the patch of an event that repeats one.
func repetition(e *corev1.Event) ([]byte, error) {
	return json.Marshal(map[string]any{"count": e.Count, "lastTimestamp": e.LastTimestamp, "message": e.Message})
}

// send creates an event, or updates the one that this one repeats.
func (r *Recorder) send(ctx context.Context, e *corev1.Event, repeated bool) (*corev1.Event, error) {
	if repeated {
		patch, err := repetition(e)
		if err != nil {
			return nil, err
		}
		stored, err := r.sink.Patch(ctx, e.Namespace, e.Name, patch)
		if !apierrors.IsNotFound(err) {
			return stored, err
		}
		// Its time was up: begin another.
		e.Name = eventName(e.InvolvedObject.Name, time.Now())
	}
	e.ResourceVersion = ""
	return r.sink.Create(ctx, e)
}
