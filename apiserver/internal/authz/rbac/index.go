package rbac

import (
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"

	"xebec.dev/api/scheme"
)

type key struct{ namespace, name string }

// role is a compiled Role or ClusterRole and the object it came from; an
// unchanged object keeps its compiled form across indexes.
type role struct {
	from  scheme.Object
	rules []rule
}

// grant is one subject of one binding.
type grant struct {
	// order is the binding's position among those of its namespace.
	order   int
	cluster bool // a ClusterRole, else a Role of the binding's namespace
	role    string
	// reason is the text for decisions this grant allows.
	reason string
}

// bindings are the grants of one namespace, or of the whole cluster.
type bindings struct {
	from   []scheme.Object
	users  map[string][]grant
	groups map[string][]grant
}

// index is an immutable snapshot of all four kinds.
type index struct {
	changed      [kinds]int64
	clusterRoles map[string]*role
	roles        map[key]*role
	cluster      *bindings
	namespaces   map[string]*bindings
}

const (
	clusterRoles = iota
	roles
	clusterRoleBindings
	roleBindings
	kinds
)

func (x *index) role(namespace string, g *grant) *role {
	if g.cluster {
		return x.clusterRoles[g.role]
	}
	return x.roles[key{namespace, g.role}]
}

// next makes the index for new contents; what did not change is shared with x.
func (x *index) next(changed [kinds]int64, list func(kind int) []scheme.Object) *index {
	n := *x
	n.changed = changed
	if changed[clusterRoles] != x.changed[clusterRoles] {
		n.clusterRoles = map[string]*role{}
		for _, o := range list(clusterRoles) {
			n.clusterRoles[o.GetName()] = compileRole(o, x.clusterRoles[o.GetName()])
		}
	}
	if changed[roles] != x.changed[roles] {
		n.roles = map[key]*role{}
		for _, o := range list(roles) {
			k := key{o.GetNamespace(), o.GetName()}
			n.roles[k] = compileRole(o, x.roles[k])
		}
	}
	if changed[clusterRoleBindings] != x.changed[clusterRoleBindings] {
		n.cluster = compileBindings(list(clusterRoleBindings), x.cluster)
	}
	if changed[roleBindings] != x.changed[roleBindings] {
		n.namespaces = map[string]*bindings{}
		for rest := list(roleBindings); len(rest) > 0; {
			ns, end := rest[0].GetNamespace(), 1
			for end < len(rest) && rest[end].GetNamespace() == ns {
				end++
			}
			n.namespaces[ns] = compileBindings(rest[:end:end], x.namespaces[ns])
			rest = rest[end:]
		}
	}
	return &n
}

func compileRole(o scheme.Object, old *role) *role {
	if old != nil && old.from == o {
		return old
	}
	switch o := o.(type) {
	case *rbacv1.ClusterRole:
		return &role{o, compile(o.Rules)}
	case *rbacv1.Role:
		return &role{o, compile(o.Rules)}
	}
	panic(fmt.Sprintf("rbac: %T among the roles", o))
}

func compileBindings(objects []scheme.Object, old *bindings) *bindings {
	if old != nil && same(objects, old.from) {
		return old
	}
	b := &bindings{from: objects, users: map[string][]grant{}, groups: map[string][]grant{}}
	for i, o := range objects {
		switch o := o.(type) {
		case *rbacv1.ClusterRoleBinding:
			b.add(i, fmt.Sprintf("ClusterRoleBinding %q", o.Name), "", o.RoleRef, o.Subjects)
		case *rbacv1.RoleBinding:
			b.add(i, fmt.Sprintf("RoleBinding %q", o.Name+"/"+o.Namespace), o.Namespace, o.RoleRef, o.Subjects)
		default:
			panic(fmt.Sprintf("rbac: %T among the bindings", o))
		}
	}
	return b
}

func (b *bindings) add(order int, binding, namespace string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
	for i := range subjects {
		s := &subjects[i]
		g := grant{order: order, cluster: ref.Kind == "ClusterRole", role: ref.Name}
		g.reason = fmt.Sprintf("RBAC: allowed by %s of %s %q to %s", binding, ref.Kind, ref.Name, describe(s, namespace))
		switch s.Kind {
		case rbacv1.UserKind:
			b.users[s.Name] = append(b.users[s.Name], g)
		case rbacv1.GroupKind:
			b.groups[s.Name] = append(b.groups[s.Name], g)
		case rbacv1.ServiceAccountKind:
			if ns := first(s.Namespace, namespace); ns != "" {
				user := "system:serviceaccount:" + ns + ":" + s.Name
				b.users[user] = append(b.users[user], g)
			}
		}
	}
}

func describe(s *rbacv1.Subject, namespace string) string {
	if s.Kind == rbacv1.ServiceAccountKind {
		return fmt.Sprintf("%s %q", s.Kind, s.Name+"/"+first(s.Namespace, namespace))
	}
	return fmt.Sprintf("%s %q", s.Kind, s.Name)
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func same(a, b []scheme.Object) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
