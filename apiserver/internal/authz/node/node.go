// Package node decides what kubelets may do: what their own Node and the pods
// bound to it need. It only allows; what it refuses, other authorizers may
// still allow.
//
// There is no graph of the cluster: a node's pods are few, and are walked when
// a request names an object.
package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

const (
	userPrefix = "system:node:"
	group      = "system:nodes"
)

// Of is the node that a user is; ok is false for users that are no node. The
// name may be empty.
func Of(u *request.User) (name string, ok bool) {
	name, ok = strings.CutPrefix(u.Name, userPrefix)
	return name, ok && slices.Contains(u.Groups, group)
}

// Authorizer is the Node mode.
type Authorizer struct {
	links links
	rules map[thing]rule
}

type thing struct{ group, resource string }

// rule decides about one resource: "" and true to allow, or the reason not to.
type rule func(node string, a *request.Info) (reason string, allowed bool)

// New makes an authorizer over the objects in the reader.
func New(reader storage.Reader, s *scheme.Scheme) *Authorizer {
	z := &Authorizer{links: newLinks(reader, s)}
	z.rules = map[thing]rule{
		{"", "secrets"}:                                       z.readOne("secrets"),
		{"", "configmaps"}:                                    z.readOne("configmaps"),
		{"", "persistentvolumeclaims"}:                        z.claim,
		{"", "persistentvolumes"}:                             z.get("persistentvolumes"),
		{"", "serviceaccounts"}:                               z.account,
		{"", "nodes"}:                                         self,
		{"", "pods"}:                                          z.pod,
		{"coordination.k8s.io", "leases"}:                     lease,
		{"storage.k8s.io", "csinodes"}:                        csiNode,
		{"storage.k8s.io", "volumeattachments"}:               z.get("volumeattachments"),
		{"resource.k8s.io", "resourceclaims"}:                 z.get("resourceclaims"),
		{"resource.k8s.io", "resourceslices"}:                 z.slice,
		{"certificates.k8s.io", "podcertificaterequests"}:     z.certificateRequest,
		{"authentication.k8s.io", "tokenreviews"}:             verbs("create"),
		{"authorization.k8s.io", "subjectaccessreviews"}:      verbs("create"),
		{"authorization.k8s.io", "localsubjectaccessreviews"}: verbs("create"),
		{"", "services"}:                                      verbs("get", "list", "watch"),
		{"", "endpoints"}:                                     verbs("get"),
		{"", "events"}:                                        verbs("create", "patch", "update"),
		{"events.k8s.io", "events"}:                           verbs("create", "patch", "update"),
		{"certificates.k8s.io", "certificatesigningrequests"}: verbs("create", "get", "list", "watch"),
		{"certificates.k8s.io", "clustertrustbundles"}:        verbs("get", "list", "watch"),
		{"storage.k8s.io", "csidrivers"}:                      verbs("get", "list", "watch"),
		{"node.k8s.io", "runtimeclasses"}:                     verbs("get", "list", "watch"),
	}
	return z
}

// Authorize implements authz.Authorizer.
func (z *Authorizer) Authorize(_ context.Context, u *request.User, a *request.Info) (authz.Decision, string, error) {
	node, ok := Of(u)
	if !ok {
		return authz.NoOpinion, "", nil
	}
	if node == "" {
		return authz.NoOpinion, fmt.Sprintf("unknown node for user %q", u.Name), nil
	}
	if !a.IsResource {
		return authz.NoOpinion, "", nil
	}
	r := z.rules[thing{a.Group, a.Resource}]
	if r == nil {
		return authz.NoOpinion, "", nil
	}
	reason, allowed := r(node, a)
	if allowed {
		return authz.Allow, "", nil
	}
	return authz.NoOpinion, reason, nil
}

var errNoRules = errors.New("node authorizer does not support user rule resolution")

// RulesFor implements authz.Resolver: a node's rights depend on its pods.
func (z *Authorizer) RulesFor(_ context.Context, u *request.User, _ string) (authz.Rules, error) {
	if _, ok := Of(u); ok {
		return authz.Rules{Incomplete: true}, errNoRules
	}
	return authz.Rules{}, nil
}

func oneOf(s string, set ...string) bool { return slices.Contains(set, s) }

// verbs are rights that every node has on the main resource.
func verbs(set ...string) rule {
	return func(_ string, a *request.Info) (string, bool) {
		return "", a.Subresource == "" && slices.Contains(set, a.Verb)
	}
}

// linked allows when the object is linked to the node.
func (z *Authorizer) linked(kind, node string, a *request.Info) (string, bool) {
	if a.Name == "" {
		return "No Object name found", false
	}
	if !z.links.has(kind, node, a.Namespace, a.Name) {
		return fmt.Sprintf("no relationship found between node '%s' and this object", node), false
	}
	return "", true
}

// readOne allows to read, list and watch one linked object by name.
func (z *Authorizer) readOne(kind string) rule {
	return func(node string, a *request.Info) (string, bool) {
		switch {
		case !oneOf(a.Verb, "get", "list", "watch"):
			return "can only read resources of this type", false
		case a.Subresource != "":
			return "cannot read subresource", false
		case a.Namespace == "":
			return "can only read namespaced object of this type", false
		}
		return z.linked(kind, node, a)
	}
}

// get allows to get a linked object.
func (z *Authorizer) get(kind string) rule {
	return func(node string, a *request.Info) (string, bool) {
		switch {
		case a.Verb != "get":
			return "can only get individual resources of this type", false
		case a.Subresource != "":
			return "cannot get subresource", false
		}
		return z.linked(kind, node, a)
	}
}

func (z *Authorizer) claim(node string, a *request.Info) (string, bool) {
	if a.Subresource != "status" {
		return z.get("persistentvolumeclaims")(node, a)
	}
	if !oneOf(a.Verb, "get", "update", "patch") {
		return "can only get/update/patch this type", false
	}
	return z.linked("persistentvolumeclaims", node, a)
}

// account allows to create tokens for the service accounts of pods, and to
// read those, which credential providers for images need.
func (z *Authorizer) account(node string, a *request.Info) (string, bool) {
	token := a.Verb == "create" && a.Subresource == "token"
	if !token && (a.Verb != "get" || a.Subresource != "") || a.Name == "" {
		return "can only create tokens for individual service accounts", false
	}
	return z.linked("serviceaccounts", node, a)
}

// self narrows reads to the node's own; admission narrows the writes.
func self(node string, a *request.Info) (string, bool) {
	switch a.Subresource {
	case "":
	case "status":
		return "", oneOf(a.Verb, "update", "patch")
	default:
		return "", false
	}
	switch a.Verb {
	case "create", "update", "patch":
		return "", true
	case "get", "list", "watch":
	default:
		return "", false
	}
	switch a.Name {
	case node:
		return "", true
	case "":
		return fmt.Sprintf("node '%s' cannot read all nodes, only its own Node object", node), false
	}
	return fmt.Sprintf("node '%s' cannot read '%s', only its own Node object", node, a.Name), false
}

func (z *Authorizer) pod(node string, a *request.Info) (string, bool) {
	switch a.Subresource {
	case "":
	case "status":
		return "", oneOf(a.Verb, "update", "patch")
	case "eviction":
		return "", a.Verb == "create"
	default:
		return "", false
	}
	switch a.Verb {
	case "create", "delete":
		return "", true
	case "get":
		return z.linked("pods", node, a)
	case "list", "watch":
		if a.Name != "" {
			return z.linked("pods", node, a)
		}
		if !selects(a, "spec.nodeName", node) {
			return "can only list/watch pods with spec.nodeName field selector", false
		}
		return "", true
	}
	return "", false
}

func lease(node string, a *request.Info) (string, bool) {
	switch {
	case !oneOf(a.Verb, "get", "create", "update", "patch", "delete"):
		return "can only get, create, update, patch, or delete a node lease", false
	case a.Namespace != corev1.NamespaceNodeLease:
		return fmt.Sprintf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease), false
	case a.Verb != "create" && a.Name != node: // a create has no name yet: admission sees it
		return "can only access node lease with the same name as the requesting node", false
	}
	return "", true
}

func csiNode(node string, a *request.Info) (string, bool) {
	switch {
	case !oneOf(a.Verb, "get", "create", "update", "patch", "delete"):
		return "can only get, create, update, patch, or delete a CSINode", false
	case a.Subresource != "":
		return "cannot authorize CSINode subresources", false
	case a.Verb != "create" && a.Name != node:
		return "can only access CSINode with the same name as the requesting node", false
	}
	return "", true
}

func (z *Authorizer) slice(node string, a *request.Info) (string, bool) {
	if a.Subresource != "" {
		return "cannot authorize ResourceSlice subresources", false
	}
	switch a.Verb {
	case "create":
		return "", true
	case "get", "update", "patch", "delete":
		return z.linked("resourceslices", node, a)
	case "list", "watch", "deletecollection":
		if selects(a, "spec.nodeName", node) {
			return "", true
		}
		return "can only list/watch/deletecollection resourceslices with nodeName field selector", false
	}
	return "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection", false
}

func (z *Authorizer) certificateRequest(node string, a *request.Info) (string, bool) {
	if a.Subresource != "" {
		return "nodes may not access the status subresource of PodCertificateRequests", false
	}
	switch a.Verb {
	case "create":
		return "", true
	case "get":
		return z.linked("podcertificaterequests", node, a)
	case "list", "watch":
		if selects(a, "spec.nodeName", node) {
			return "", true
		}
		return "can only list/watch PodCertificateRequests with nodeName field selector", false
	}
	return fmt.Sprintf("nodes may not %s PodCertificateRequests", a.Verb), false
}

// selects reports whether the field selector demands that value.
func selects(a *request.Info, label, value string) bool {
	if a.FieldSelector == "" {
		return false
	}
	s, err := fields.ParseSelector(a.FieldSelector)
	if err != nil {
		return false
	}
	v, ok := s.RequiresExactMatch(label)
	return ok && v == value
}
