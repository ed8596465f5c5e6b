// Package rbac decides by Roles, ClusterRoles and their bindings, and guards
// those objects against users who would grant what they do not hold.
//
// The objects are compiled into an immutable index, which a request checks to
// be current by four counters; a change recompiles only what it touches.
package rbac

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

// Authorizer is the RBAC mode.
type Authorizer struct {
	reader    storage.Reader
	resources [kinds]*scheme.Resource
	current   atomic.Pointer[index]
	mu        sync.Mutex // one rebuild at a time
}

// New makes an authorizer over the objects in the reader.
func New(reader storage.Reader, s *scheme.Scheme) *Authorizer {
	a := &Authorizer{reader: reader}
	for i, plural := range [kinds]string{"clusterroles", "roles", "clusterrolebindings", "rolebindings"} {
		r, ok := s.Resource(rbacv1.GroupName, plural)
		if !ok {
			panic("rbac: the table has no " + plural)
		}
		a.resources[i] = r
	}
	none := &index{cluster: &bindings{}}
	for i := range none.changed {
		none.changed[i] = -1 // a Changed of 0 is not yet indexed
	}
	a.current.Store(none)
	return a
}

func (z *Authorizer) changes() (c [kinds]int64) {
	for i, r := range z.resources {
		c[i] = z.reader.Changed(r)
	}
	return c
}

func (z *Authorizer) index() *index {
	x, c := z.current.Load(), z.changes()
	if x.changed == c {
		return x
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	// The counters are read before the lists: a change in between costs one
	// more rebuild, and is never missed.
	x, c = z.current.Load(), z.changes()
	if x.changed == c {
		return x
	}
	x = x.next(c, func(kind int) []scheme.Object { return z.reader.List(z.resources[kind], "") })
	z.current.Store(x)
	return x
}

// Authorize implements authz.Authorizer.
func (z *Authorizer) Authorize(_ context.Context, u *request.User, a *request.Info) (authz.Decision, string, error) {
	x := z.index()
	var missing []error
	if g := x.find(x.cluster, u, a, "", &missing); g != nil {
		return authz.Allow, g.reason, nil
	}
	if a.Namespace != "" {
		if g := x.find(x.namespaces[a.Namespace], u, a, a.Namespace, &missing); g != nil {
			return authz.Allow, g.reason, nil
		}
	}
	if len(missing) > 0 {
		return authz.NoOpinion, fmt.Sprintf("RBAC: %v", utilerrors.NewAggregate(missing)), nil
	}
	return authz.NoOpinion, "", nil
}

func (x *index) find(b *bindings, u *request.User, a *request.Info, namespace string, missing *[]error) *grant {
	if b == nil {
		return nil
	}
	if g := x.among(b.users[u.Name], a, namespace, missing); g != nil {
		return g
	}
	for _, group := range u.Groups {
		if g := x.among(b.groups[group], a, namespace, missing); g != nil {
			return g
		}
	}
	return nil
}

func (x *index) among(grants []grant, a *request.Info, namespace string, missing *[]error) *grant {
	for i := range grants {
		g := &grants[i]
		r := x.role(namespace, g)
		if r == nil {
			*missing = append(*missing, g.notFound())
			continue
		}
		for j := range r.rules {
			if r.rules[j].allows(a) {
				return g
			}
		}
	}
	return nil
}

func (g *grant) notFound() error {
	kind := "role"
	if g.cluster {
		kind = "clusterrole"
	}
	return fmt.Errorf("%s.%s %q not found", kind, rbacv1.GroupName, g.role)
}

// rules are all rules that a user holds in a namespace ("" is cluster-wide),
// in the order of the bindings, with errors for roles that do not exist.
func (x *index) rules(u *request.User, namespace string) ([]rbacv1.PolicyRule, []error) {
	out, errs := x.held(x.cluster, u, "")
	if namespace != "" {
		more, moreErrs := x.held(x.namespaces[namespace], u, namespace)
		out, errs = append(out, more...), append(errs, moreErrs...)
	}
	return out, errs
}

func (x *index) held(b *bindings, u *request.User, namespace string) (out []rbacv1.PolicyRule, errs []error) {
	if b == nil {
		return nil, nil
	}
	grants := slices.Clone(b.users[u.Name])
	for _, group := range u.Groups {
		grants = append(grants, b.groups[group]...)
	}
	slices.SortStableFunc(grants, func(a, b grant) int { return a.order - b.order })
	grants = slices.CompactFunc(grants, func(a, b grant) bool { return a.order == b.order })
	for i := range grants {
		r := x.role(namespace, &grants[i])
		if r == nil {
			errs = append(errs, grants[i].notFound())
			continue
		}
		for j := range r.rules {
			out = append(out, *r.rules[j].PolicyRule)
		}
	}
	return out, errs
}

// RulesFor implements authz.Resolver.
func (z *Authorizer) RulesFor(_ context.Context, u *request.User, namespace string) (authz.Rules, error) {
	rules, errs := z.index().rules(u, namespace)
	var out authz.Rules
	for i := range rules {
		r := &rules[i]
		if len(r.Resources) > 0 {
			out.Resource = append(out.Resource, authorizationv1.ResourceRule{
				Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames,
			})
		}
		if len(r.NonResourceURLs) > 0 {
			out.NonResource = append(out.NonResource, authorizationv1.NonResourceRule{
				Verbs: r.Verbs, NonResourceURLs: r.NonResourceURLs,
			})
		}
	}
	if len(errs) > 0 {
		out.Incomplete = true
		return out, utilerrors.NewAggregate(errs)
	}
	return out, nil
}
