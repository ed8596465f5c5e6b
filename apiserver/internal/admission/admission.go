// Package admission is the chain of plugins that may change or refuse a
// request after authorization, the same for REST and gRPC. One directory per
// plugin.
package admission

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/request"
)

// Operation is what is being done.
type Operation string

const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// Attributes is one request as plugins see it.
type Attributes struct {
	Operation   Operation
	Resource    *scheme.Resource
	Subresource string
	Namespace   string
	Name        string
	// Object is the new object (nil for Delete): the storage type, or the
	// subresource's own kind (Binding, Eviction, Scale, TokenRequest, PodExecOptions).
	Object runtime.Object
	// Old is the stored object before; nil for Create.
	Old runtime.Object
	// Options are the CreateOptions, UpdateOptions, PatchOptions or DeleteOptions.
	Options runtime.Object
	DryRun  bool
	User    *request.User
	// Receipt is shared by all attempts of one request.
	Receipt *Receipt
	// Warn adds a Warning header.
	Warn func(text string)
	// Annotate adds an audit annotation.
	Annotate func(key, value string)
}

// Receipt is what was charged for a request, which may take several attempts
// until it is stored.
type Receipt struct {
	// Paid is by the quota's name.
	Paid map[string]corev1.ResourceList
}

// Plugin has a name and handles some operations. It also implements Mutator,
// Validator or both.
type Plugin interface {
	Name() string
	// Handles is a cheap filter.
	Handles(op Operation) bool
}

// Mutator may change Attributes.Object.
type Mutator interface {
	Admit(ctx context.Context, a *Attributes) error
}

// Validator may refuse, and must not change anything.
type Validator interface {
	Validate(ctx context.Context, a *Attributes) error
}

// Chain runs plugins in order.
type Chain struct {
	plugins  []Plugin
	measures *measures // nil when nothing is measured
}

// NewChain makes a chain; the order is the order of calls.
func NewChain(plugins ...Plugin) *Chain { return &Chain{plugins: plugins} }

// Admit runs the mutators. The first error ends it; errors are API statuses.
func (c *Chain) Admit(ctx context.Context, a *Attributes) (err error) {
	l := c.measures.start(true, a.Operation)
	for i, p := range c.plugins {
		m, ok := p.(Mutator)
		if !ok || !p.Handles(a.Operation) {
			continue
		}
		err = m.Admit(ctx, a)
		if l.plugin(i, err); err != nil {
			break
		}
	}
	l.step(err)
	return err
}

// Validate runs the validators.
func (c *Chain) Validate(ctx context.Context, a *Attributes) (err error) {
	l := c.measures.start(false, a.Operation)
	for i, p := range c.plugins {
		v, ok := p.(Validator)
		if !ok || !p.Handles(a.Operation) {
			continue
		}
		err = v.Validate(ctx, a)
		if l.plugin(i, err); err != nil {
			break
		}
	}
	l.step(err)
	return err
}

// Names lists the plugins in order.
func (c *Chain) Names() []string {
	names := make([]string, len(c.plugins))
	for i, p := range c.plugins {
		names[i] = p.Name()
	}
	return names
}
