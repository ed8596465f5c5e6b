// Package impersonation lets a user act as another, if it may.
//
// There are constrained modes, each for one kind of identity, which need a
// right to the identity and a right to the action; and the plain right to
// impersonate, which needs none to the action. Any of them is enough.
package impersonation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/apiserver/internal/authn"
	"xebec.dev/apiserver/internal/authn/frontproxy"
	"xebec.dev/apiserver/internal/authn/serviceaccount"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

const (
	userHeader  = "Impersonate-User"
	uidHeader   = "Impersonate-Uid"
	groupHeader = "Impersonate-Group"
	extraPrefix = "Impersonate-Extra-"

	authenticationGroup = "authentication.k8s.io"
	nodePrefix          = "system:node:"
)

// Impersonator checks and does it.
type Impersonator struct {
	authorizer authz.Authorizer

	mu sync.Mutex
	// last, guarded by mu, is the mode by which a user last succeeded: it is
	// tried first, and its refusal is the one the user hears of.
	last map[string]int
}

// maxRemembered bounds last; when full it is emptied.
const maxRemembered = 4096

// New makes an impersonator.
func New(authorizer authz.Authorizer) *Impersonator {
	return &Impersonator{authorizer: authorizer, last: map[string]int{}}
}

// Impersonate replaces r.User when the headers ask for it. Errors are API
// statuses: 400 for headers that make no sense, 403 when it may not.
func (m *Impersonator) Impersonate(ctx context.Context, r *request.Request, c *request.Credentials) error {
	wanted := Wanted(c)
	if wanted.Name == "" {
		if len(wanted.Groups) > 0 || wanted.UID != "" || len(wanted.Extra) > 0 {
			return apierrors.NewBadRequest(fmt.Sprintf("requested &user.DefaultInfo{Name:%q, UID:%q, Groups:%#v, Extra:%#v} without impersonating a user name",
				wanted.Name, wanted.UID, wanted.Groups, wanted.Extra))
		}
		return nil
	}
	user, by, err := m.decide(ctx, &wanted, r)
	if err != nil {
		return err
	}
	who := r.User
	r.Impersonator, r.User, r.ImpersonationConstraint = &who, *user, constraints[by]
	return nil
}

// Wanted is the user that the headers describe; Name is empty when there is
// nobody to impersonate.
func Wanted(c *request.Credentials) request.User {
	var u request.User
	if v := c.Header(userHeader); len(v) > 0 {
		u.Name = v[0]
	}
	if v := c.Header(uidHeader); len(v) > 0 {
		u.UID = v[0]
	}
	if v := c.Header(groupHeader); len(v) > 0 {
		u.Groups = slices.Clone(v)
	}
	for _, name := range c.Headers(extraPrefix) {
		if u.Extra == nil {
			u.Extra = map[string][]string{}
		}
		key := frontproxy.ExtraKey(name[len(extraPrefix):])
		u.Extra[key] = append(u.Extra[key], c.Header(name)...)
	}
	return u
}

// mode is one way to be allowed. It gives the user to become, an error when
// refused, neither when it does not apply.
type mode func(ctx context.Context, m *Impersonator, wanted *request.User, r *request.Request) (*request.User, error)

var modes = []mode{associatedNode, arbitraryNode, account, userInfo, legacy}

// constraints are the verbs of the modes.
var constraints = []string{"impersonate:associated-node", "impersonate:arbitrary-node", "impersonate:serviceaccount", "impersonate:user-info", ""}

// decide also tells which mode it was.
func (m *Impersonator) decide(ctx context.Context, wanted *request.User, r *request.Request) (*request.User, int, error) {
	key := identity(&r.User)
	m.mu.Lock()
	last, remembered := m.last[key]
	m.mu.Unlock()
	var first error
	try := func(i int) (*request.User, bool) {
		u, err := modes[i](ctx, m, wanted, r)
		if err != nil && first == nil {
			first = err
		}
		return u, err == nil && u != nil
	}
	if remembered {
		if u, ok := try(last); ok {
			return u, last, nil
		}
	}
	for i := range modes {
		if remembered && i == last {
			continue
		}
		if u, ok := try(i); ok {
			m.remember(key, i)
			return u, i, nil
		}
	}
	return nil, 0, first
}

func (m *Impersonator) remember(key string, i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.last) >= maxRemembered {
		clear(m.last)
	}
	m.last[key] = i
}

// identity tells users apart.
func identity(u *request.User) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q", u.Name, u.UID, u.Groups)
	for _, k := range slices.Sorted(maps.Keys(u.Extra)) {
		if k != authn.CredentialIDKey {
			fmt.Fprintf(&b, " %q=%q", k, u.Extra[k])
		}
	}
	return b.String()
}

func onlyName(u *request.User) bool {
	return u.UID == "" && len(u.Groups) == 0 && len(u.Extra) == 0
}

// associatedNode is for an agent that acts as the node its pod runs on.
func associatedNode(ctx context.Context, m *Impersonator, wanted *request.User, r *request.Request) (*request.User, error) {
	node, ok := strings.CutPrefix(wanted.Name, nodePrefix)
	if !ok || !onlyName(wanted) {
		return nil, nil
	}
	if _, _, ok := serviceaccount.SplitUsername(r.User.Name); !ok {
		return nil, nil
	}
	if on := r.User.Extra[serviceaccount.NodeNameKey]; len(on) != 1 || on[0] != node {
		return nil, nil
	}
	// The node is known from the requester, so a right is to "*", not to a name.
	return m.constrained(ctx, "associated-node", r, asNode(wanted), what{resource: "nodes", name: "*"})
}

func arbitraryNode(ctx context.Context, m *Impersonator, wanted *request.User, r *request.Request) (*request.User, error) {
	node, ok := strings.CutPrefix(wanted.Name, nodePrefix)
	if !ok || !onlyName(wanted) {
		return nil, nil
	}
	return m.constrained(ctx, "arbitrary-node", r, asNode(wanted), what{resource: "nodes", name: node})
}

func asNode(wanted *request.User) *request.User {
	return &request.User{Name: wanted.Name, Groups: []string{"system:nodes", authn.Authenticated}}
}

func account(ctx context.Context, m *Impersonator, wanted *request.User, r *request.Request) (*request.User, error) {
	namespace, name, ok := serviceaccount.SplitUsername(wanted.Name)
	if !ok || !onlyName(wanted) {
		return nil, nil
	}
	u := &request.User{Name: wanted.Name, Groups: append(serviceaccount.Groups(namespace), authn.Authenticated)}
	return m.constrained(ctx, "serviceaccount", r, u, what{resource: "serviceaccounts", namespace: namespace, name: name})
}

func userInfo(ctx context.Context, m *Impersonator, wanted *request.User, r *request.Request) (*request.User, error) {
	if strings.HasPrefix(wanted.Name, nodePrefix) || strings.HasPrefix(wanted.Name, "system:serviceaccount:") {
		return nil, nil
	}
	// A right to groups in general must not come to mean everything.
	if slices.Contains(wanted.Groups, "system:masters") {
		return nil, nil
	}
	return m.constrained(ctx, "user-info", r, withGroups(wanted, wanted.Groups), attributes(wanted, authenticationGroup)...)
}

// legacy is the right to impersonate, whatever is then done.
func legacy(ctx context.Context, m *Impersonator, wanted *request.User, r *request.Request) (*request.User, error) {
	groups := wanted.Groups
	if namespace, _, ok := serviceaccount.SplitUsername(wanted.Name); ok && len(groups) == 0 {
		groups = serviceaccount.Groups(namespace)
	}
	if err := m.each(ctx, "impersonate", &r.User, attributes(wanted, "")); err != nil {
		return nil, err
	}
	return withGroups(wanted, groups), nil
}

// what is one attribute of an identity, as a resource.
type what struct{ group, resource, subresource, namespace, name string }

// attributes are all of an identity's; group is the API group of those that
// have been in the core group since the beginning.
func attributes(wanted *request.User, group string) []what {
	var out []what
	if namespace, name, ok := serviceaccount.SplitUsername(wanted.Name); ok {
		out = append(out, what{group: group, resource: "serviceaccounts", namespace: namespace, name: name})
	} else {
		out = append(out, what{group: group, resource: "users", name: wanted.Name})
	}
	for _, g := range wanted.Groups {
		out = append(out, what{group: group, resource: "groups", name: g})
	}
	for _, k := range slices.Sorted(maps.Keys(wanted.Extra)) {
		for _, v := range wanted.Extra[k] {
			out = append(out, what{group: authenticationGroup, resource: "userextras", subresource: k, name: v})
		}
	}
	if wanted.UID != "" {
		out = append(out, what{group: authenticationGroup, resource: "uids", name: wanted.UID})
	}
	return out
}

// constrained asks for the action first, then for the identity.
func (m *Impersonator) constrained(ctx context.Context, mode string, r *request.Request, u *request.User, identity ...what) (*request.User, error) {
	on := r.Info
	on.Verb = "impersonate-on:" + mode + ":" + r.Verb
	if err := m.allowed(ctx, &r.User, &on); err != nil {
		return nil, err
	}
	for i := range identity {
		identity[i].group = authenticationGroup
	}
	if err := m.each(ctx, "impersonate:"+mode, &r.User, identity); err != nil {
		return nil, err
	}
	return u, nil
}

func (m *Impersonator) each(ctx context.Context, verb string, u *request.User, identity []what) error {
	for _, w := range identity {
		if err := m.allowed(ctx, u, &request.Info{
			IsResource: true, Verb: verb, Group: w.group, Version: "v1",
			Resource: w.resource, Subresource: w.subresource, Namespace: w.namespace, Name: w.name,
		}); err != nil {
			return err
		}
	}
	return nil
}

func (m *Impersonator) allowed(ctx context.Context, u *request.User, a *request.Info) error {
	d, reason, err := m.authorizer.Authorize(ctx, u, a)
	if d == authz.Allow {
		return nil
	}
	if err != nil && reason == "" {
		reason = err.Error()
	}
	return authz.Forbidden(u, a, reason)
}

// withGroups is the user with the group that says whether it is anonymous.
func withGroups(wanted *request.User, groups []string) *request.User {
	u := *wanted
	u.Groups = slices.Clone(groups)
	switch {
	case u.Name == authn.Anonymous:
		if !slices.Contains(u.Groups, authn.Unauthenticated) {
			u.Groups = append(u.Groups, authn.Unauthenticated)
		}
	case !slices.Contains(u.Groups, authn.Authenticated) && !slices.Contains(u.Groups, authn.Unauthenticated):
		u.Groups = append(u.Groups, authn.Authenticated)
	}
	return &u
}
