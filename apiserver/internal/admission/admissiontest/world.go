// Package admissiontest has a small cluster's state for tests of admission
// plugins: the real cache over a store in memory.
package admissiontest

import (
	"context"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/memory"
	"xebec.dev/apiserver/internal/watchcache"
)

// World is a cluster's state.
type World struct {
	*watchcache.Store
	Scheme *scheme.Scheme
	t      testing.TB
	kv     *memory.Store
}

// New is a world with some objects in it.
func New(t testing.TB, objects ...scheme.Object) *World {
	w := &World{Scheme: builtin.Scheme(), t: t, kv: memory.New()}
	w.Store = w.open()
	w.Put(objects...)
	return w
}

// Again is another server's cache over the same state.
func (w *World) Again() *World {
	c := *w
	c.Store = w.open()
	return &c
}

func (w *World) open() *watchcache.Store {
	s := watchcache.New(w.kv, w.Scheme.Resources(), watchcache.Options{Wait: time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
	for deadline := time.Now().Add(10 * time.Second); s.Ready(ctx) != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("not ready: %v", s.Ready(ctx))
		}
	}
	return s
}

// Resource is the table's resource.
func (w *World) Resource(group, plural string) *scheme.Resource {
	r, ok := w.Scheme.Resource(group, plural)
	if !ok {
		w.t.Fatalf("no %s in %q", plural, group)
	}
	return r
}

// Of is the resource of an object by its Go type.
func (w *World) Of(o runtime.Object) *scheme.Resource {
	for _, r := range w.Scheme.Resources() {
		if r.StoragePrefix != "" && sameType(r.New(), o) {
			return r
		}
	}
	w.t.Fatalf("no resource for %T", o)
	return nil
}

// Put creates or replaces objects, and waits until the cache has them.
func (w *World) Put(objects ...scheme.Object) {
	w.t.Helper()
	for _, o := range objects {
		r := w.Of(o)
		c := w.Collection(r)
		raw, err := o.Marshal()
		if err != nil {
			w.t.Fatal(err)
		}
		ctx := context.Background()
		current, err := c.Get(ctx, o.GetNamespace(), o.GetName(), storage.Fresh, 0)
		var stored *storage.Object
		if err == nil {
			stored, err = c.Update(ctx, current, raw, 0)
		} else {
			stored, err = c.Create(ctx, o.GetNamespace(), o.GetName(), raw, 0)
		}
		if err != nil {
			w.t.Fatalf("put %s: %v", o.GetName(), err)
		}
		for c.Changed() < stored.Revision {
			time.Sleep(100 * time.Microsecond)
		}
	}
}

// Read reads an object fresh.
func Read[T scheme.Object](w *World, r *scheme.Resource, namespace, name string) T {
	w.t.Helper()
	stored, err := w.Collection(r).Get(context.Background(), namespace, name, storage.Fresh, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	o := r.New().(T)
	if err := o.Unmarshal(stored.Raw); err != nil {
		w.t.Fatal(err)
	}
	return o
}

// Request is a request's attributes with what plugins said of it.
type Request struct {
	*admission.Attributes
	Warnings    []string
	Annotations map[string]string
}

// Admin is who asks unless a test says otherwise.
var Admin = &request.User{Name: "admin", Groups: []string{authz.MastersGroup}}

// Create is a request that creates an object.
func (w *World) Create(o scheme.Object) *Request { return w.request(admission.Create, o, o, nil, "") }

// Update is a request that changes an object, or a subresource of it.
func (w *World) Update(o, old scheme.Object, subresource string) *Request {
	old.SetResourceVersion("1")
	return w.request(admission.Update, o, o, old, subresource)
}

// Delete is a request that deletes an object.
func (w *World) Delete(o scheme.Object) *Request {
	return w.request(admission.Delete, o, nil, o, "")
}

// Sub is a request that creates a subresource of an object.
func (w *World) Sub(of scheme.Object, subresource string, body runtime.Object) *Request {
	return w.request(admission.Create, of, body, nil, subresource)
}

func (w *World) request(op admission.Operation, about scheme.Object, o, old runtime.Object, subresource string) *Request {
	r := &Request{Annotations: map[string]string{}}
	r.Attributes = &admission.Attributes{
		Operation: op, Resource: w.Of(about), Subresource: subresource, Namespace: about.GetNamespace(), Name: about.GetName(),
		Object: o, Old: old, User: Admin,
		Warn: func(text string) {
			if !slices.Contains(r.Warnings, text) {
				r.Warnings = append(r.Warnings, text)
			}
		},
		Annotate: func(key, value string) { r.Annotations[key] = value },
	}
	return r
}

// As makes somebody else ask.
func (r *Request) As(name string, groups ...string) *Request {
	r.User = &request.User{Name: name, Groups: groups}
	return r
}

// Run puts a request to a plugin as a chain would.
func Run(p admission.Plugin, r *Request) error {
	c := admission.NewChain(p)
	ctx := context.Background()
	if err := c.Admit(ctx, r.Attributes); err != nil {
		return err
	}
	return c.Validate(ctx, r.Attributes)
}

// Refused checks that an error is nil or ends in a text.
func Refused(t testing.TB, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && err == nil:
		t.Errorf("let through, want %q", want)
	case want != "" && !hasSuffix(err.Error(), want):
		t.Errorf("refused with\n%s\nwant\n%s", err, want)
	}
}

// Authorizer lets who is in it do what it says: "user verb resource name".
type Authorizer map[string]bool

// Authorize implements authz.Authorizer.
func (a Authorizer) Authorize(_ context.Context, u *request.User, i *request.Info) (authz.Decision, string, error) {
	if a[u.Name+" "+i.Verb+" "+i.CombinedResource()+" "+i.Name] {
		return authz.Allow, "", nil
	}
	return authz.NoOpinion, "", nil
}
