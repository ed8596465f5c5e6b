// Package claimstatus asks for more than resourceclaims/status of those who
// write the status of resource claims: resourceclaims/binding to allocate and
// reserve devices, resourceclaims/driver to report on a driver's devices. A
// driver on a node may so be kept to its own devices on its own node.
package claimstatus

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/authn/serviceaccount"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

// Plugin is always on: who writes a status is no matter of policy.
type Plugin struct{ Authorizer authz.Authorizer }

var _ admission.Validator = (*Plugin)(nil)

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "ResourceClaimStatus" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op == admission.Update }

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	claim, ok := a.Object.(*resourcev1.ResourceClaim)
	old, hasOld := a.Old.(*resourcev1.ResourceClaim)
	if !ok || !hasOld || a.Subresource != "status" || a.User == nil {
		return nil
	}
	verb := "update"
	if r := request.From(ctx); r != nil && r.Info.Verb == "patch" {
		verb = r.Info.Verb
	}
	w := writer{p.Authorizer, a.User, verb, claim.Namespace}
	var errs field.ErrorList
	path := field.NewPath("status")
	for _, f := range []struct {
		name     string
		now, was any
	}{{"allocation", claim.Status.Allocation, old.Status.Allocation}, {"reservedFor", claim.Status.ReservedFor, old.Status.ReservedFor}} {
		if apiequality.Semantic.DeepEqual(f.now, f.was) {
			continue
		}
		if refusal := w.refused(ctx, verb, resourcev1.SubresourceBinding, claim.Name); refusal != "" {
			errs = append(errs, field.Forbidden(path.Child(f.name), refusal))
		}
	}
	for _, driver := range changedDrivers(&claim.Status, &old.Status) {
		if refusal := w.mayReport(ctx, driver, nodeOf(claim, old)); refusal != "" {
			errs = append(errs, field.Forbidden(path.Child("devices"), refusal))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: resourcev1.GroupName, Kind: "ResourceClaim"}, claim.Name, errs)
}

// writer is who writes, and how.
type writer struct {
	authorizer      authz.Authorizer
	user            *request.User
	verb, namespace string
}

// refused says what the user may not do, "" when it may.
func (w writer) refused(ctx context.Context, verb, subresource, name string) string {
	i := request.Info{
		IsResource: true, Verb: verb, Group: resourcev1.GroupName, Version: "v1",
		Namespace: w.namespace, Resource: "resourceclaims", Subresource: subresource, Name: name,
	}
	if d, _, _ := w.authorizer.Authorize(ctx, w.user, &i); d == authz.Allow {
		return ""
	}
	return authz.Describe(w.user, &i)
}

// mayReport asks whether the user may report on a driver's devices: on the
// node it runs on, which is enough there, or on any.
func (w writer) mayReport(ctx context.Context, driver, node string) string {
	if node != "" && slices.Equal(w.user.Extra[serviceaccount.NodeNameKey], []string{node}) && isServiceAccount(w.user) {
		if w.refused(ctx, resourcev1.VerbPrefixAssociatedNode+w.verb, resourcev1.SubresourceDriver, driver) == "" {
			return ""
		}
	}
	return w.refused(ctx, resourcev1.VerbPrefixArbitraryNode+w.verb, resourcev1.SubresourceDriver, driver)
}

func isServiceAccount(u *request.User) bool {
	return slices.Contains(u.Groups, "system:serviceaccounts")
}

// nodeOf is the one node on which the devices of a claim are, "" when they are
// not on one.
func nodeOf(claims ...*resourcev1.ResourceClaim) string {
	for _, c := range claims {
		if a := c.Status.Allocation; a != nil && a.NodeSelector != nil && len(a.NodeSelector.NodeSelectorTerms) == 1 {
			for _, r := range a.NodeSelector.NodeSelectorTerms[0].MatchFields {
				if r.Key == "metadata.name" && r.Operator == corev1.NodeSelectorOpIn && len(r.Values) == 1 {
					return r.Values[0]
				}
			}
		}
	}
	return ""
}

type device struct{ driver, pool, name, share string }

// changedDrivers are the drivers on whose devices the update reports anew.
// What the server takes away with a device's allocation is nobody's report.
func changedDrivers(now, was *resourcev1.ResourceClaimStatus) []string {
	reports, before := reportsOf(now), reportsOf(was)
	allocated := allocatedOf(now)
	changed := map[string]bool{}
	for d, r := range reports {
		if !apiequality.Semantic.DeepEqual(r, before[d]) {
			changed[d.driver] = true
		}
	}
	for d := range before {
		if reports[d] == nil && allocated[d] {
			changed[d.driver] = true
		}
	}
	return slices.Sorted(maps.Keys(changed))
}

func reportsOf(s *resourcev1.ResourceClaimStatus) map[device]*resourcev1.AllocatedDeviceStatus {
	all := make(map[device]*resourcev1.AllocatedDeviceStatus, len(s.Devices))
	for i := range s.Devices {
		d := &s.Devices[i]
		id := device{driver: d.Driver, pool: d.Pool, name: d.Device}
		if d.ShareID != nil {
			id.share = *d.ShareID
		}
		all[id] = d
	}
	return all
}

func allocatedOf(s *resourcev1.ResourceClaimStatus) map[device]bool {
	all := map[device]bool{}
	if s.Allocation == nil {
		return all
	}
	for _, r := range s.Allocation.Devices.Results {
		id := device{driver: r.Driver, pool: r.Pool, name: r.Device}
		if r.ShareID != nil {
			id.share = string(*r.ShareID)
		}
		all[id] = true
	}
	return all
}
