package rbac

import (
	"context"
	"errors"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

// Guard refuses writes of roles and bindings that would grant what the writer
// does not hold. It runs as the last mutator of admission: it must see what
// mutating webhooks made of the object, and its refusal comes before
// validation.
type Guard struct {
	rules *Authorizer
	// authorizer answers for the verbs escalate and bind: all modes count.
	authorizer authz.Authorizer
}

var _ admission.Mutator = (*Guard)(nil)

// NewGuard makes a guard over the rules of one RBAC authorizer.
func NewGuard(rules *Authorizer, authorizer authz.Authorizer) *Guard {
	return &Guard{rules: rules, authorizer: authorizer}
}

// Name implements admission.Plugin.
func (*Guard) Name() string { return "RBACEscalation" }

// Handles implements admission.Plugin.
func (*Guard) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Admit implements admission.Mutator.
func (g *Guard) Admit(ctx context.Context, a *admission.Attributes) error {
	if a.Resource == nil || a.Resource.Group != rbacv1.GroupName || a.Subresource != "" || a.User == nil {
		return nil
	}
	if has(a.User.Groups, authz.MastersGroup) || a.Old != nil && onlyForCollector(a.Object, a.Old) {
		return nil
	}
	switch o := a.Object.(type) {
	case *rbacv1.Role:
		return g.role(ctx, a, o.Rules, false)
	case *rbacv1.ClusterRole:
		old, _ := a.Old.(*rbacv1.ClusterRole)
		return g.role(ctx, a, o.Rules, o.AggregationRule != nil || old != nil && old.AggregationRule != nil)
	case *rbacv1.RoleBinding:
		return g.binding(ctx, a, o.RoleRef, o.Namespace)
	case *rbacv1.ClusterRoleBinding:
		return g.binding(ctx, a, o.RoleRef, "")
	}
	return nil
}

var everything = []rbacv1.PolicyRule{
	{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}},
	{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}},
}

func (g *Guard) role(ctx context.Context, a *admission.Attributes, rules []rbacv1.PolicyRule, aggregates bool) error {
	if g.permitted(ctx, a, "escalate", a.Resource.Plural, requestedName(ctx, a), a.Namespace) {
		return nil
	}
	if err := g.holds(a.User, a.Namespace, rules); err != nil {
		return forbidden(a, err)
	}
	// An aggregation rule gathers whatever appears later.
	if aggregates && g.holds(a.User, a.Namespace, everything) != nil {
		return forbidden(a, errors.New("must have cluster-admin privileges to use the aggregationRule"))
	}
	return nil
}

func (g *Guard) binding(ctx context.Context, a *admission.Attributes, ref rbacv1.RoleRef, namespace string) error {
	resource := "roles"
	if ref.Kind == "ClusterRole" {
		resource = "clusterroles"
	}
	if g.permitted(ctx, a, "bind", resource, ref.Name, namespace) {
		return nil
	}
	r := g.rules.index().role(namespace, &grant{cluster: ref.Kind == "ClusterRole", role: ref.Name})
	if r == nil {
		return apierrors.NewNotFound(groupResource(a), ref.Name)
	}
	rules := make([]rbacv1.PolicyRule, len(r.rules))
	for i := range r.rules {
		rules[i] = *r.rules[i].PolicyRule
	}
	if err := g.holds(a.User, namespace, rules); err != nil {
		return forbidden(a, err)
	}
	return nil
}

// holds is nil when the user's own rules in the namespace cover the others.
func (g *Guard) holds(u *request.User, namespace string, rules []rbacv1.PolicyRule) error {
	held, errs := g.rules.index().rules(u, namespace)
	ok, missing := Covers(held, rules)
	if ok {
		return nil
	}
	text := fmt.Sprintf("user %q (groups=%q) is attempting to grant RBAC permissions not currently held:\n%s", u.Name, u.Groups, describeRules(missing))
	if len(errs) > 0 {
		text += fmt.Sprintf("; resolution errors: %v", errs)
	}
	return errors.New(text)
}

func (g *Guard) permitted(ctx context.Context, a *admission.Attributes, verb, resource, name, namespace string) bool {
	d, _, _ := g.authorizer.Authorize(ctx, a.User, &request.Info{
		IsResource: true, Verb: verb, Prefix: "apis", Group: rbacv1.GroupName, Version: "v1",
		Resource: resource, Namespace: namespace, Name: name,
	})
	return d == authz.Allow
}

// requestedName is the name in the request's path: a create by POST has none,
// so that a grant of escalate by resourceNames does not reach new roles.
func requestedName(ctx context.Context, a *admission.Attributes) string {
	if r := request.From(ctx); r != nil {
		return r.Name
	}
	if a.Operation == admission.Create {
		return ""
	}
	return a.Name
}

func forbidden(a *admission.Attributes, err error) error {
	name := a.Name
	if o, e := meta.Accessor(a.Object); e == nil {
		name = o.GetName()
	}
	return apierrors.NewForbidden(groupResource(a), name, err)
}

func groupResource(a *admission.Attributes) schema.GroupResource {
	return schema.GroupResource{Group: a.Resource.Group, Resource: a.Resource.Plural}
}

// onlyForCollector is an update that changes nothing but what the garbage
// collector needs to remove the object: it must not need the object's rights.
func onlyForCollector(object, old runtime.Object) bool {
	c := object.DeepCopyObject()
	now, err := meta.Accessor(c)
	if err != nil {
		return false
	}
	before, err := meta.Accessor(old)
	if err != nil {
		return false
	}
	now.SetOwnerReferences(before.GetOwnerReferences())
	now.SetFinalizers(before.GetFinalizers())
	now.SetManagedFields(before.GetManagedFields())
	return equality.Semantic.DeepEqual(c, old)
}
