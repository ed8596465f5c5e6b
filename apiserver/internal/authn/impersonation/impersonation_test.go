package impersonation

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"xebec.dev/apiserver/internal/authn/authntest"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/request"
)

// rights are lines "verb resource[.group][/sub] [ns/]name"; * is any name.
type rights []string

func (r rights) Authorize(_ context.Context, _ *request.User, a *request.Info) (authz.Decision, string, error) {
	resource := a.Resource
	if a.Group != "" {
		resource += "." + a.Group
	}
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	for _, line := range r {
		f := append(strings.Fields(line), "")
		if f[0] == a.Verb && (f[1] == resource || !a.IsResource && f[1] == a.Path) && (f[2] == "*" || f[2] == a.Namespace+"/"+a.Name || f[2] == a.Name || f[2] == a.Namespace+"/") {
			return authz.Allow, "", nil
		}
	}
	return authz.NoOpinion, "", nil
}

func listPods() request.Info {
	return request.Info{IsResource: true, Verb: "list", Resource: "pods", Namespace: "ns"}
}

func TestImpersonate(t *testing.T) {
	node := func(name string) map[string][]string {
		return map[string][]string{"authentication.kubernetes.io/node-name": {name}}
	}
	for name, c := range map[string]struct {
		rights  rights
		who     request.User
		headers []string
		user    *request.User
		err     string
	}{
		"no headers":      {nil, request.User{}, nil, nil, ""},
		"an empty header": {nil, request.User{}, []string{"Impersonate-User:"}, nil, ""},
		"group alone":     {nil, request.User{}, []string{"Impersonate-Group: a"}, nil, `requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"a"}, Extra:map[string][]string(nil)} without impersonating a user name`},
		"extra alone":     {nil, request.User{}, []string{"Impersonate-Extra-a: a"}, nil, `requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string(nil), Extra:map[string][]string{"a":[]string{"a"}}} without impersonating a user name`},
		"uid alone":       {nil, request.User{}, []string{"Impersonate-Uid: 7"}, nil, `requested &user.DefaultInfo{Name:"", UID:"7", Groups:[]string(nil), Extra:map[string][]string(nil)} without impersonating a user name`},
		"no right to a user": {nil, request.User{}, []string{"Impersonate-User: bob"}, nil,
			`pods is forbidden: User "alice" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "ns"`},
		"no right to a service account": {nil, request.User{}, []string{"Impersonate-User: system:serviceaccount:ns:x"}, nil,
			`pods is forbidden: User "alice" cannot impersonate-on:serviceaccount:list resource "pods" in API group "" in the namespace "ns"`},
		"no right to a node": {nil, request.User{}, []string{"Impersonate-User: system:node:n1"}, nil,
			`pods is forbidden: User "alice" cannot impersonate-on:arbitrary-node:list resource "pods" in API group "" in the namespace "ns"`},
		"legacy user": {rights{"impersonate users bob"}, request.User{}, []string{"Impersonate-User: bob"},
			&request.User{Name: "bob", Groups: []string{"system:authenticated"}}, ""},
		"legacy everything": {rights{"impersonate users *", "impersonate groups *", "impersonate uids.authentication.k8s.io 7", "impersonate userextras.authentication.k8s.io/scopes view"},
			request.User{}, []string{"Impersonate-User: bob", "Impersonate-Group: g", "Impersonate-Uid: 7", "Impersonate-Extra-Scopes: view"},
			&request.User{Name: "bob", UID: "7", Groups: []string{"g", "system:authenticated"}, Extra: map[string][]string{"scopes": {"view"}}}, ""},
		"legacy service account": {rights{"impersonate serviceaccounts ns/x"}, request.User{}, []string{"Impersonate-User: system:serviceaccount:ns:x"},
			&request.User{Name: "system:serviceaccount:ns:x", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"}}, ""},
		"legacy anonymous": {rights{"impersonate users *"}, request.User{}, []string{"Impersonate-User: system:anonymous"},
			&request.User{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}, ""},
		"legacy keeps unauthenticated": {rights{"impersonate users *", "impersonate groups *"}, request.User{}, []string{"Impersonate-User: u", "Impersonate-Group: system:unauthenticated"},
			&request.User{Name: "u", Groups: []string{"system:unauthenticated"}}, ""},
		"constrained user": {rights{"impersonate-on:user-info:list pods ns/", "impersonate:user-info users.authentication.k8s.io bob"}, request.User{}, []string{"Impersonate-User: bob"},
			&request.User{Name: "bob", Groups: []string{"system:authenticated"}}, ""},
		"constrained user, another action": {rights{"impersonate-on:user-info:get pods ns/", "impersonate:user-info users.authentication.k8s.io bob"}, request.User{}, []string{"Impersonate-User: bob"}, nil,
			`pods is forbidden: User "alice" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "ns"`},
		"constrained user, another identity": {rights{"impersonate-on:user-info:list pods ns/"}, request.User{}, []string{"Impersonate-User: bob"}, nil,
			`users.authentication.k8s.io "bob" is forbidden: User "alice" cannot impersonate:user-info resource "users" in API group "authentication.k8s.io" at the cluster scope`},
		"constrained never masters": {rights{"impersonate-on:user-info:list pods ns/", "impersonate:user-info users.authentication.k8s.io *", "impersonate:user-info groups.authentication.k8s.io *"},
			request.User{}, []string{"Impersonate-User: bob", "Impersonate-Group: system:masters"}, nil,
			`users "bob" is forbidden: User "alice" cannot impersonate resource "users" in API group "" at the cluster scope`},
		"constrained service account": {rights{"impersonate-on:serviceaccount:list pods ns/", "impersonate:serviceaccount serviceaccounts.authentication.k8s.io o/x"},
			request.User{}, []string{"Impersonate-User: system:serviceaccount:o:x"},
			&request.User{Name: "system:serviceaccount:o:x", Groups: []string{"system:serviceaccounts", "system:serviceaccounts:o", "system:authenticated"}}, ""},
		"any node": {rights{"impersonate-on:arbitrary-node:list pods ns/", "impersonate:arbitrary-node nodes.authentication.k8s.io n1"},
			request.User{}, []string{"Impersonate-User: system:node:n1"}, &request.User{Name: "system:node:n1", Groups: []string{"system:nodes", "system:authenticated"}}, ""},
		"its own node": {rights{"impersonate-on:associated-node:list pods ns/", "impersonate:associated-node nodes.authentication.k8s.io *"},
			request.User{Name: "system:serviceaccount:ns:agent", Extra: node("n1")}, []string{"Impersonate-User: system:node:n1"},
			&request.User{Name: "system:node:n1", Groups: []string{"system:nodes", "system:authenticated"}}, ""},
		"not its own node": {rights{"impersonate-on:associated-node:list pods ns/", "impersonate:associated-node nodes.authentication.k8s.io *"},
			request.User{Name: "system:serviceaccount:ns:agent", Extra: node("n2")}, []string{"Impersonate-User: system:node:n1"}, nil,
			`pods is forbidden: User "system:serviceaccount:ns:agent" cannot impersonate-on:arbitrary-node:list resource "pods" in API group "" in the namespace "ns"`},
		"a user that claims a node": {rights{"impersonate-on:associated-node:list pods ns/", "impersonate:associated-node nodes.authentication.k8s.io *"},
			request.User{Extra: node("n1")}, []string{"Impersonate-User: system:node:n1"}, nil,
			`pods is forbidden: User "alice" cannot impersonate-on:arbitrary-node:list resource "pods" in API group "" in the namespace "ns"`},
	} {
		t.Run(name, func(t *testing.T) {
			if c.who.Name == "" {
				c.who.Name = "alice"
			}
			r := &request.Request{Info: listPods(), User: c.who}
			err := New(c.rights).Impersonate(context.Background(), r, authntest.Credentials(nil, c.headers...))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.err {
				t.Fatalf("%q\nwant %q", got, c.err)
			}
			switch {
			case c.user == nil && (r.Impersonator != nil || !reflect.DeepEqual(r.User, c.who)):
				t.Errorf("the user changed: %+v", r.User)
			case c.user != nil && (!reflect.DeepEqual(r.User, *c.user) || r.Impersonator == nil || r.Impersonator.Name != c.who.Name):
				t.Errorf("%+v by %+v, want %+v", r.User, r.Impersonator, c.user)
			}
		})
	}
}

// Who has succeeded by one mode hears of that mode's refusals.
func TestRefusalOfTheLastMode(t *testing.T) {
	m := New(rights{"impersonate users *"})
	try := func(headers ...string) string {
		r := &request.Request{Info: listPods(), User: request.User{Name: "alice"}}
		if err := m.Impersonate(context.Background(), r, authntest.Credentials(nil, headers...)); err != nil {
			return err.Error()
		}
		return ""
	}
	group := []string{"Impersonate-User: bob", "Impersonate-Group: g"}
	if got := try(group...); !strings.Contains(got, "impersonate-on:user-info:list") {
		t.Error(got)
	}
	if got := try("Impersonate-User: bob"); got != "" {
		t.Error(got)
	}
	if got := try(group...); got != `groups "g" is forbidden: User "alice" cannot impersonate resource "groups" in API group "" at the cluster scope` {
		t.Error(got)
	}
}

// Whatever the headers, the outcome is no change, a refusal, or another user.
func FuzzImpersonate(f *testing.F) {
	f.Add("Impersonate-User: a\nImpersonate-Extra-a%2Fb: c")
	f.Add("Impersonate-User: system:serviceaccount:a:b\nImpersonate-Group: g")
	f.Fuzz(func(t *testing.T, lines string) {
		c := authntest.Credentials(nil, strings.Split(lines, "\n")...)
		r := &request.Request{Info: listPods(), User: request.User{Name: "alice"}}
		err := New(authz.AlwaysAllow{}).Impersonate(context.Background(), r, c)
		wanted := Wanted(c)
		if err == nil && (wanted.Name != "") != (r.Impersonator != nil) {
			t.Errorf("%q: %+v", lines, r.User)
		}
		if err == nil && wanted.Name != "" && r.User.Name != wanted.Name {
			t.Errorf("%q: became %q", lines, r.User.Name)
		}
	})
}
