// Package noderestriction narrows what a node may write, beyond what
// authorization can tell: the node's own objects, in the ways that a kubelet
// needs, so that a node that was broken into does not give away others.
package noderestriction

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

const (
	userPrefix     = "system:node:"
	nodesGroup     = "system:nodes"
	leaseNamespace = corev1.NamespaceNodeLease
)

// Plugin implements NodeRestriction.
type Plugin struct {
	reader     storage.Reader
	store      storage.Store
	authorizer authz.Authorizer

	nodes, pods, accounts, claims, volumes, drivers *scheme.Resource
}

// New makes the plugin. resource finds a resource of the table.
func New(reader storage.Reader, store storage.Store, authorizer authz.Authorizer, resource func(group, plural string) *scheme.Resource) *Plugin {
	return &Plugin{
		reader: reader, store: store, authorizer: authorizer,
		nodes: resource("", "nodes"), pods: resource("", "pods"), accounts: resource("", "serviceaccounts"),
		claims: resource("", "persistentvolumeclaims"), volumes: resource("", "persistentvolumes"),
		drivers: resource(storagev1.GroupName, "csidrivers"),
	}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "NodeRestriction" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool { return op != admission.Connect }

// identity is the node that asks; isNode is true also for a node that does not
// say which.
func identity(u *request.User) (name string, isNode bool) {
	name, ok := strings.CutPrefix(u.Name, userPrefix)
	if !ok || !slices.Contains(u.Groups, nodesGroup) {
		return "", false
	}
	return name, true
}

// Admit implements admission.Mutator, so that its refusal comes before what
// validation finds; it changes nothing.
func (p *Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	node, ok := identity(a.User)
	if !ok {
		return nil
	}
	if node == "" {
		return a.Forbid(fmt.Errorf("could not determine node from user %q", a.User.Name))
	}
	if a.Operation == admission.Delete && a.Old == nil {
		return nil // a collection: each of its objects comes by itself
	}
	if err := p.check(ctx, node, a); err != nil {
		return a.Forbid(err)
	}
	return nil
}

func (p *Plugin) check(ctx context.Context, node string, a *admission.Attributes) error {
	switch key := a.Resource.Plural; a.Resource.Group {
	case "":
		switch key {
		case "pods":
			return p.pod(ctx, node, a)
		case "nodes":
			return checkNode(node, a)
		case "persistentvolumeclaims":
			return checkClaim(node, a)
		case "serviceaccounts":
			return p.token(ctx, node, a)
		}
	case coordinationv1.GroupName:
		if key == "leases" {
			return checkLease(node, a)
		}
	case storagev1.GroupName:
		if key == "csinodes" && a.ObjectName() != node {
			return errors.New("can only access CSINode with the same name as the requesting node")
		}
	case resourcev1.GroupName:
		if key == "resourceslices" {
			return checkSlice(node, a)
		}
	case certificatesv1.GroupName:
		switch key {
		case "certificatesigningrequests":
			return checkRequest(node, a)
		case "podcertificaterequests":
			return p.podCertificate(ctx, node, a)
		}
	}
	return nil
}

func checkLease(node string, a *admission.Attributes) error {
	if a.Namespace != leaseNamespace {
		return fmt.Errorf("can only access leases in the %q system namespace", leaseNamespace)
	}
	if a.ObjectName() != node {
		return errors.New("can only access node lease with the same name as the requesting node")
	}
	return nil
}

func checkSlice(node string, a *admission.Attributes) error {
	object, verb := a.Object, "create"
	switch a.Operation {
	case admission.Update:
		verb = "update"
	case admission.Delete:
		object, verb = a.Old, "delete"
	}
	s, ok := object.(*resourcev1.ResourceSlice)
	if !ok {
		return fmt.Errorf("unexpected type %T", object)
	}
	old, _ := a.Old.(*resourcev1.ResourceSlice)
	if !ownSlice(s, node) || old != nil && !ownSlice(old, node) {
		return fmt.Errorf("can only %s ResourceSlice with the same NodeName as the requesting node", verb)
	}
	return nil
}

func ownSlice(s *resourcev1.ResourceSlice, node string) bool {
	return s.Spec.NodeName != nil && *s.Spec.NodeName == node
}

// checkClaim lets a node tell what came of an expansion.
func checkClaim(node string, a *admission.Attributes) error {
	if a.Subresource != "status" {
		return errors.New("may only update PVC status")
	}
	if a.Operation != admission.Update {
		return fmt.Errorf("unexpected operation %q", a.Operation)
	}
	now, ok := a.Object.(*corev1.PersistentVolumeClaim)
	before, ok2 := a.Old.(*corev1.PersistentVolumeClaim)
	if !ok || !ok2 {
		return fmt.Errorf("unexpected type %T", a.Object)
	}
	if !onlyExpansion(now, before) {
		return fmt.Errorf("node %q is not allowed to update fields other than status.capacity and status.conditions", node)
	}
	return nil
}

func onlyExpansion(now, before *corev1.PersistentVolumeClaim) bool {
	now, before = now.DeepCopy(), before.DeepCopy()
	for _, c := range []*corev1.PersistentVolumeClaim{now, before} {
		// The server keeps these, whatever is sent.
		c.TypeMeta, c.ResourceVersion, c.ManagedFields = metav1.TypeMeta{}, "", nil
		s := &c.Status
		s.Capacity, s.Conditions, s.AllocatedResources, s.AllocatedResourceStatuses = nil, nil, nil, nil
		s.CurrentVolumeAttributesClassName, s.ModifyVolumeStatus = nil, nil
	}
	return equal(now, before)
}
