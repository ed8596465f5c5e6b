// Package object keeps the config maps and secrets that the pods of this node
// name, each by a subscription to that one object: a node may read nothing
// else. An object is dropped with the last pod that names it; an immutable one
// needs no subscription once it has been seen.
//
// Run owns the goroutines, one for each subscription. Objects are shared by
// all readers and must not be changed.
package object

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/stream"
	pb "xebec.dev/proto/gen/control/v1"
)

// Kind of an object; also its name in errors.
type Kind string

// The kinds kept.
const (
	ConfigMap Kind = "configmap"
	Secret    Kind = "secret"
)

// Key names an object.
type Key struct {
	Kind            Kind
	Namespace, Name string
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Kind, o.Kind), cmp.Compare(k.Namespace, o.Namespace), cmp.Compare(k.Name, o.Name))
}

func (k Key) notFound() error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: string(k.Kind)}, k.Name)
}

// ErrStandalone is the answer of a kubelet without an API server.
var ErrStandalone = errors.New("this kubelet has no API server to read config maps and secrets from: use a volume of kind hostPath or emptyDir, or a plain value")

// Times of a read.
const (
	// subscribed is how long a reader waits for a subscription to begin
	// before it reads by itself.
	subscribed = 5 * time.Second
	// linkPause and linkTries: the API server learns a moment after the
	// kubelet does that a new pod may use an object.
	linkPause = 25 * time.Millisecond
	linkTries = 8
)

// Options of a store; the zero value works.
type Options struct {
	Log *zap.Logger
	// OnChange is told that an object was made, changed or deleted, and by
	// which pods it is used. It must not block.
	OnChange func(key Key, users []types.UID)
}

// Store keeps objects. A nil *Store, or one without a client, refuses reads.
type Store struct {
	c    *client.Client
	s    *stream.Stream
	o    Options
	told []func(key Key, users []types.UID) // of changes

	mu      sync.Mutex
	entries map[Key]*entry      // guarded by mu
	pods    map[types.UID][]Key // guarded by mu
	running context.Context     // guarded by mu; nil outside of Run
	workers sync.WaitGroup      // Add under mu
}

// entry is one object.
type entry struct {
	key    Key
	users  map[types.UID]bool // guarded by Store.mu
	cancel context.CancelFunc // guarded by Store.mu; nil before Run

	mu     sync.Mutex
	value  scheme.Object // guarded by mu; nil: there is no such object
	synced chan struct{} // closed once value is known or the subscription refused
	told   bool          // guarded by mu: synced is closed
	missed bool          // guarded by mu: somebody read past it before that
	err    error         // guarded by mu: why the subscription is refused
}

// New makes a store over a component's connection and watch stream.
func New(c *client.Client, s *stream.Stream, o Options) *Store {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	out := &Store{c: c, s: s, o: o, entries: map[Key]*entry{}, pods: map[types.UID][]Key{}}
	if o.OnChange != nil {
		out.OnChange(o.OnChange)
	}
	return out
}

// OnChange adds a handler, before Run.
func (s *Store) OnChange(f func(key Key, users []types.UID)) { s.told = append(s.told, f) }

// Track keeps what a pod names from now on, and drops what it named before.
func (s *Store) Track(pod *corev1.Pod) {
	if s == nil || s.c == nil {
		return
	}
	now := References(pod)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.pods[pod.UID]
	if slices.Equal(before, now) {
		return
	}
	if len(now) == 0 {
		delete(s.pods, pod.UID)
	} else {
		s.pods[pod.UID] = now
	}
	for _, k := range now {
		e := s.entries[k]
		if e == nil {
			e = &entry{key: k, users: map[types.UID]bool{}, synced: make(chan struct{})}
			s.entries[k] = e
			s.start(e)
		}
		e.users[pod.UID] = true
	}
	for _, k := range before {
		if !slices.Contains(now, k) {
			s.drop(k, pod.UID)
		}
	}
}

// Forget drops what only this pod named.
func (s *Store) Forget(uid types.UID) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.pods[uid] {
		s.drop(k, uid)
	}
	delete(s.pods, uid)
}

// drop needs the lock.
func (s *Store) drop(k Key, uid types.UID) {
	e := s.entries[k]
	if e == nil {
		return
	}
	delete(e.users, uid)
	if len(e.users) > 0 {
		return
	}
	delete(s.entries, k)
	if e.cancel != nil {
		e.cancel()
	}
}

// start needs the lock.
func (s *Store) start(e *entry) {
	if s.running == nil || s.running.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.running)
	e.cancel = cancel
	s.workers.Go(func() {
		defer cancel()
		s.follow(ctx, e)
	})
}

// Len is how many objects are kept.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries)
}

// Run follows the objects until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	s.mu.Lock()
	s.running = ctx
	for _, e := range s.entries {
		s.start(e)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	s.workers.Wait()
	return ctx.Err()
}

func (s *Store) resource(k Kind) (*scheme.Resource, error) {
	if k == Secret {
		return client.ResourceOf[*corev1.Secret](s.c)
	}
	return client.ResourceOf[*corev1.ConfigMap](s.c)
}

// follow is the life of one subscription.
func (s *Store) follow(ctx context.Context, e *entry) {
	r, err := s.resource(e.key.Kind)
	if err != nil {
		e.refuse(err)
		return
	}
	sub := s.s.Add(stream.Request{Resource: client.Name(r), Selection: client.Selection{Namespace: e.key.Namespace, Name: e.key.Name}})
	defer sub.Close()
	var next scheme.Object // of a round of initial objects
	initial := false
	for {
		b, err := sub.Next(ctx)
		if err != nil {
			return
		}
		if b.Err != nil {
			e.refuse(b.Err)
			continue
		}
		if b.Reset {
			initial, next = true, nil
		}
		if !initial {
			next = e.get()
		}
		for _, ev := range b.Events {
			next = s.decode(r, e, ev, next)
		}
		if initial && !b.InitialEnd {
			continue
		}
		initial = false
		if e.set(next) {
			s.changed(e)
		}
		if immutable(next) {
			return
		}
	}
}

func (s *Store) decode(r *scheme.Resource, e *entry, ev *pb.Event, before scheme.Object) scheme.Object {
	if ev.Type == pb.Event_DELETED {
		return nil
	}
	var obj scheme.Object
	var err error
	if e.key.Kind == Secret {
		obj, err = client.Decode[*corev1.Secret](r, ev.Object, false)
	} else {
		obj, err = client.Decode[*corev1.ConfigMap](r, ev.Object, false)
	}
	if err != nil {
		s.o.Log.Error("an object can't be decoded", zap.String("kind", string(e.key.Kind)), zap.String("namespace", e.key.Namespace), zap.String("name", e.key.Name), zap.Error(err))
		return before
	}
	return obj
}

func (s *Store) changed(e *entry) {
	s.mu.Lock()
	users := make([]types.UID, 0, len(e.users))
	for uid := range e.users {
		users = append(users, uid)
	}
	s.mu.Unlock()
	slices.Sort(users)
	for _, tell := range s.told {
		tell(e.key, users)
	}
}

func immutable(o scheme.Object) bool {
	switch v := o.(type) {
	case *corev1.Secret:
		return v.Immutable != nil && *v.Immutable && v.DeletionTimestamp == nil
	case *corev1.ConfigMap:
		return v.Immutable != nil && *v.Immutable && v.DeletionTimestamp == nil
	}
	return false
}

func (e *entry) get() scheme.Object {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.value
}

// set reports whether the object is another than before.
func (e *entry) set(o scheme.Object) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	first := !e.told
	before := e.value
	e.value, e.err = o, nil
	e.tell()
	switch {
	case first:
		return e.missed // all others wait for it
	case before == nil || o == nil:
		return before != nil || o != nil
	}
	return before.GetResourceVersion() != o.GetResourceVersion() || before.GetUID() != o.GetUID()
}

func (e *entry) refuse(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
	e.tell()
}

// tell needs the lock.
func (e *entry) tell() {
	if !e.told {
		e.told = true
		close(e.synced)
	}
}
