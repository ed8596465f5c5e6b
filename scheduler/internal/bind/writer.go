// Package bind writes decisions to the API server: bindings, status patches,
// evictions and events, each in a batch stream with a result per write.
package bind

import (
	"context"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
)

// Limits of what may be under way.
const (
	// MaxBindings is for the scheduler to keep to: it pauses beyond.
	MaxBindings = 1024
	inFlight    = 256
	// Events leave room for bindings where the server limits what is under way.
	eventsInFlight = 48
	// waiting writes beside bindings; events beyond are dropped.
	waiting = 16384
)

// Writer writes to an API server. Results come on goroutines of its own. What
// a busy server refuses is sent again.
type Writer struct {
	c        *client.Client
	bindings *client.Batch
	others   *client.Batch
	events   *client.Batch
	status   chan job
	news     chan job
	pending  atomic.Int64
}

type job struct {
	write *client.Write
	done  func(client.Result)
}

// NewWriter makes a writer; Run sends.
func NewWriter(c *client.Client) *Writer {
	return &Writer{
		c: c, bindings: client.NewBatch(c, 2*MaxBindings), others: client.NewBatch(c, inFlight), events: client.NewBatch(c, eventsInFlight),
		status: make(chan job, waiting), news: make(chan job, waiting),
	}
}

// Run sends until ctx ends.
func (w *Writer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 5)
	for _, f := range []func(context.Context) error{
		w.bindings.Run, w.others.Run, w.events.Run,
		func(ctx context.Context) error { return feed(ctx, w.status, w.others) },
		func(ctx context.Context) error { return feed(ctx, w.news, w.events) },
	} {
		go func() { ended <- f(ctx) }()
	}
	err := <-ended
	cancel()
	for range 4 {
		<-ended
	}
	return err
}

func feed(ctx context.Context, jobs <-chan job, to *client.Batch) error {
	for {
		select {
		case j := <-jobs:
			if err := to.Insist(ctx, j.write, j.done); err != nil {
				j.done(client.Result{Err: err})
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Pending is how many writes wait or are under way.
func (w *Writer) Pending() int64 { return w.pending.Load() }

func (w *Writer) count(done func(error)) func(client.Result) {
	w.pending.Add(1)
	return func(r client.Result) {
		w.pending.Add(-1)
		done(r.Err)
	}
}

// Bind sends a binding. No more than MaxBindings may be under way.
func (w *Writer) Bind(p *corev1.Pod, node string, done func(error)) {
	write, err := client.SubresourceWrite[*corev1.Pod](w.c, p.Namespace, p.Name, "binding", &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, UID: p.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node},
	}, client.WriteOptions{OmitObject: true})
	if err != nil {
		done(err)
		return
	}
	counted := w.count(done)
	if err := w.bindings.Insist(context.Background(), write, counted); err != nil {
		counted(client.Result{Err: err})
	}
}

// PatchStatus sends a patch of a pod's status.
func (w *Writer) PatchStatus(p *corev1.Pod, patch []byte, done func(error)) {
	write, err := client.PatchWrite[*corev1.Pod](w.c, p.Namespace, p.Name, types.StrategicMergePatchType, patch, client.WriteOptions{Subresource: "status", OmitObject: true})
	w.send(write, err, done)
}

// Delete deletes a pod, in its grace period.
func (w *Writer) Delete(p *corev1.Pod, done func(error)) {
	write, err := client.DeleteWrite[*corev1.Pod](w.c, p.Namespace, p.Name, client.DeleteOptions{UID: p.UID})
	w.send(write, err, done)
}

func (w *Writer) send(write *client.Write, err error, done func(error)) {
	if err != nil {
		done(err)
		return
	}
	counted := w.count(done)
	select {
	case w.status <- job{write, counted}:
	default:
		go func() { w.status <- job{write, counted} }() // rather a goroutine than a loop that waits
	}
}

// Event sends a new event; false when too many wait.
func (w *Writer) Event(e *corev1.Event, done func(error)) bool {
	write, err := client.CreateWrite(w.c, e, client.WriteOptions{OmitObject: true})
	return w.offer(write, err, done)
}

// PatchEvent sends a patch of an event.
func (w *Writer) PatchEvent(namespace, name string, patch []byte, done func(error)) bool {
	write, err := client.PatchWrite[*corev1.Event](w.c, namespace, name, types.StrategicMergePatchType, patch, client.WriteOptions{OmitObject: true})
	return w.offer(write, err, done)
}

func (w *Writer) offer(write *client.Write, err error, done func(error)) bool {
	if err != nil {
		return false
	}
	select {
	case w.news <- job{write, func(r client.Result) { done(r.Err) }}:
		return true
	default:
		return false
	}
}

// UpdateVolume writes a volume.
func (w *Writer) UpdateVolume(ctx context.Context, pv *corev1.PersistentVolume) error {
	_, err := client.Update(ctx, w.c, pv)
	return err
}

// UpdateClaim writes a claim.
func (w *Writer) UpdateClaim(ctx context.Context, c *corev1.PersistentVolumeClaim) error {
	_, err := client.Update(ctx, w.c, c)
	return err
}
