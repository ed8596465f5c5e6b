// Package control is what a controller is to the manager, and what the
// manager gives to a controller.
package control

import (
	"context"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/controller"
	"xebec.dev/client/event"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/replica"
	"xebec.dev/controller-manager/internal/write"
)

// Spec describes a controller. The manager's table is made of these.
type Spec struct {
	// Name is how --controllers names it; Alias is the name it had there.
	Name, Alias string
	// ServiceAccount in kube-system, and source of its events.
	ServiceAccount, EventSource string
	// OffByDefault controllers run when --controllers names them only.
	OffByDefault bool
	// Reads are the resources it follows.
	Reads []string
	// Writes are what it changes: RESOURCE for creating and deleting objects,
	// RESOURCE:FIELD for a field. No two controllers write one field.
	Writes []string
	// New makes the controller. It asks for its replicas and adds handlers to
	// them; nothing runs yet. A nil Runner means that the flags give it
	// nothing to do.
	New func(e *Env) (Runner, error)
}

// Manager as a service account is the manager's own identity.
const Manager = "-"

// Runner runs until ctx ends.
type Runner interface {
	Run(ctx context.Context) error
}

// RunFunc is a Runner.
type RunFunc func(ctx context.Context) error

// Run implements Runner.
func (f RunFunc) Run(ctx context.Context) error { return f(ctx) }

// Env is what a controller is given: its own identity for writes, and the
// replicas that it shares with all others.
type Env struct {
	Config   *Config
	Replicas *replica.Set
	// Client has the controller's own credentials.
	Client *client.Client
	Write  *write.Writer
	Events Recorder
	Queues *workqueue.Metrics
	Log    *zap.Logger
}

// Recorder records events about objects.
type Recorder interface {
	Event(obj scheme.Object, kind, reason, message string)
	Eventf(obj scheme.Object, kind, reason, format string, args ...any)
	Record(n event.Note)
}

// Types of events.
const (
	Normal  = corev1.EventTypeNormal
	Warning = corev1.EventTypeWarning
)

// Queue makes a queue of keys, whose namespaces take turns.
func (e *Env) Queue(name string) *workqueue.Queue[cache.Key] {
	return workqueue.New(name, workqueue.Options[cache.Key]{Metrics: e.Queues, Flow: func(k cache.Key) string { return k.Namespace }})
}

// Loop makes the loop that works on a queue once all of the set's replicas
// that were asked for have synced.
func (e *Env) Loop(name string, q *workqueue.Queue[cache.Key], workers int, reconcile func(context.Context, cache.Key) error, synced ...cache.Synced) Runner {
	return controller.New(name, q, controller.Func[cache.Key](reconcile), controller.Options[cache.Key]{Workers: workers, Synced: synced, Log: e.Log})
}
