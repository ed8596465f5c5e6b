// Package ownerreferences lets only those tie an object to an owner who could
// delete the object, and only those hold an owner back who may finalize it.
package ownerreferences

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

// Plugin implements OwnerReferencesPermissionEnforcement.
type Plugin struct {
	Authorizer authz.Authorizer
	Scheme     *scheme.Scheme
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "OwnerReferencesPermissionEnforcement" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Subresource == "status" {
		return nil // metadata stays as it was
	}
	object, ok := a.Object.(metav1.Object)
	if !ok {
		return nil
	}
	refs := object.GetOwnerReferences()
	var before []metav1.OwnerReference
	if old, ok := a.Old.(metav1.Object); ok {
		before = old.GetOwnerReferences()
	}
	if len(refs) == 0 && len(before) == 0 {
		return nil
	}
	// Whoever creates an object may say to whom it belongs.
	if a.Operation == admission.Update && !sameOwners(refs, before) {
		if ok, why := p.mayDelete(ctx, a); !ok {
			return a.Forbid(fmt.Errorf("cannot set an ownerRef on a resource you can't delete: %s", why))
		}
	}
	for i := range refs {
		if !newlyBlocks(&refs[i], before) {
			continue
		}
		if err := p.mayFinalize(ctx, a, &refs[i]); err != nil {
			return a.Forbid(err)
		}
	}
	return nil
}

func sameOwners(a, b []metav1.OwnerReference) bool {
	ids := func(refs []metav1.OwnerReference) []types.UID {
		out := make([]types.UID, len(refs))
		for i := range refs {
			out[i] = refs[i].UID
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(ids(a), ids(b))
}

func newlyBlocks(r *metav1.OwnerReference, before []metav1.OwnerReference) bool {
	if r.BlockOwnerDeletion == nil || !*r.BlockOwnerDeletion {
		return false
	}
	return !slices.ContainsFunc(before, func(o metav1.OwnerReference) bool {
		return o.UID == r.UID && o.APIVersion == r.APIVersion && o.Kind == r.Kind && o.BlockOwnerDeletion != nil && *o.BlockOwnerDeletion
	})
}

func (p *Plugin) mayDelete(ctx context.Context, a *admission.Attributes) (bool, string) {
	return p.allowed(ctx, a, &request.Info{
		Verb: "delete", Group: a.Resource.Group, Version: a.Resource.Version, Resource: a.Resource.Plural,
		Namespace: a.Namespace, Name: a.Name,
	})
}

func (p *Plugin) mayFinalize(ctx context.Context, a *admission.Attributes, r *metav1.OwnerReference) error {
	gv, err := schema.ParseGroupVersion(r.APIVersion)
	if err != nil {
		return fmt.Errorf("cannot set blockOwnerDeletion to true because %w", err)
	}
	served, ok := p.Scheme.Kind(gv.WithKind(r.Kind))
	if !ok {
		return fmt.Errorf("cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion %s Kind %s", r.APIVersion, r.Kind)
	}
	i := &request.Info{
		Verb: "update", Group: gv.Group, Version: gv.Version, Resource: served.Plural, Subresource: "finalizers", Name: r.Name,
	}
	if served.Namespaced {
		i.Namespace = a.Namespace
	}
	if ok, why := p.allowed(ctx, a, i); !ok {
		return fmt.Errorf("cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: %s", why)
	}
	return nil
}

// allowed also says why not: the authorizer's reason and error, as Kubernetes
// shows them.
func (p *Plugin) allowed(ctx context.Context, a *admission.Attributes, i *request.Info) (bool, string) {
	i.IsResource, i.Prefix = true, "apis"
	if i.Group == "" {
		i.Prefix = "api"
	}
	d, reason, err := p.Authorizer.Authorize(ctx, a.User, i)
	if d == authz.Allow {
		return true, ""
	}
	return false, fmt.Sprintf("%v, %v", reason, err)
}
