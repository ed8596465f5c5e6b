package rbac

import (
	"encoding/json"
	"os"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
)

// recorded are the objects that Kubernetes creates at start.
type recorded struct {
	ClusterRoles        []*rbacv1.ClusterRole
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding
	Roles               []*rbacv1.Role
	RoleBindings        []*rbacv1.RoleBinding
}

func TestPolicyIsAsRecorded(t *testing.T) {
	raw, err := os.ReadFile("../../../../test/observed/static/bootstrap.json")
	if err != nil {
		t.Fatal(err)
	}
	var want recorded
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	have := map[string]scheme.Object{}
	for _, o := range Objects() {
		have[id(o)] = o
	}
	count := 0
	check := func(w scheme.Object) {
		count++
		h := have[id(w)]
		if h == nil {
			t.Errorf("%s is missing", id(w))
		} else if !equality.Semantic.DeepEqual(h, w) {
			t.Errorf("%s differs:\n have %v\n want %v", id(w), h, w)
		}
	}
	for _, o := range want.ClusterRoles {
		check(o)
	}
	for _, o := range want.ClusterRoleBindings {
		check(o)
	}
	for _, o := range want.Roles {
		check(o)
	}
	for _, o := range want.RoleBindings {
		check(o)
	}
	if count < 69+50+7+7 {
		t.Errorf("only %d objects recorded", count)
	}
}

func id(o scheme.Object) string {
	kind := ""
	switch o.(type) {
	case *rbacv1.ClusterRole:
		kind = "ClusterRole"
	case *rbacv1.ClusterRoleBinding:
		kind = "ClusterRoleBinding"
	case *rbacv1.Role:
		kind = "Role"
	case *rbacv1.RoleBinding:
		kind = "RoleBinding"
	}
	return kind + " " + o.GetNamespace() + "/" + o.GetName()
}

func TestReconcile(t *testing.T) {
	wantRole := (&role{name: "r", rules: []rbacv1.PolicyRule{on("", "pods", "get,list")}}).clusterRole()
	wantBinding := (&binding{name: "b", subjects: []rbacv1.Subject{user("u")}}).clusterRoleBinding()
	edit := func(o scheme.Object, f func(scheme.Object)) scheme.Object {
		c := o.DeepCopyObject().(scheme.Object)
		f(c)
		return c
	}
	cases := []struct {
		name string
		have scheme.Object
		want scheme.Object
		do   Action
		then func(t *testing.T, o scheme.Object)
	}{
		{"absent", nil, wantRole, Create, nil},
		{"as it should be", wantRole, wantRole, Keep, nil},
		{"protected", edit(wantRole, func(o scheme.Object) {
			o.SetAnnotations(map[string]string{Autoupdate: "false"})
			o.(*rbacv1.ClusterRole).Rules = nil
		}), wantRole, Keep, nil},
		{"a verb is gone", edit(wantRole, func(o scheme.Object) {
			o.(*rbacv1.ClusterRole).Rules = []rbacv1.PolicyRule{on("", "pods", "get")}
		}), wantRole, Update, func(t *testing.T, o scheme.Object) {
			if r := o.(*rbacv1.ClusterRole).Rules; len(r) != 2 || r[1].Verbs[0] != "list" {
				t.Errorf("rules %v", r)
			}
		}},
		{"wider rules cover", edit(wantRole, func(o scheme.Object) {
			o.(*rbacv1.ClusterRole).Rules = []rbacv1.PolicyRule{on("*", "*", "*")}
		}), wantRole, Keep, nil},
		{"a label is gone, another added", edit(wantRole, func(o scheme.Object) {
			o.SetLabels(map[string]string{"mine": "1"})
		}), wantRole, Update, func(t *testing.T, o scheme.Object) {
			if l := o.GetLabels(); l["mine"] != "1" || l[bootstrapping] == "" {
				t.Errorf("labels %v", l)
			}
		}},
		{"a subject is gone, another added", edit(wantBinding, func(o scheme.Object) {
			o.(*rbacv1.ClusterRoleBinding).Subjects = []rbacv1.Subject{user("v")}
		}), wantBinding, Update, func(t *testing.T, o scheme.Object) {
			if s := o.(*rbacv1.ClusterRoleBinding).Subjects; len(s) != 2 {
				t.Errorf("subjects %v", s)
			}
		}},
		{"another role", edit(wantBinding, func(o scheme.Object) {
			o.(*rbacv1.ClusterRoleBinding).RoleRef.Name = "x"
			o.SetUID("1")
		}), wantBinding, Recreate, func(t *testing.T, o scheme.Object) {
			if o.GetUID() != "" || o.(*rbacv1.ClusterRoleBinding).RoleRef.Name != "b" {
				t.Errorf("%v", o)
			}
		}},
		{"rules of an aggregating role are left", edit((&role{name: "view", aggregates: "view"}).clusterRole(), func(o scheme.Object) {
			o.(*rbacv1.ClusterRole).Rules = []rbacv1.PolicyRule{on("x", "y", "get")}
			o.(*rbacv1.ClusterRole).AggregationRule.ClusterRoleSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"a": "b"}}}
		}), (&role{name: "view", aggregates: "view"}).clusterRole(), Update, func(t *testing.T, o scheme.Object) {
			if r := o.(*rbacv1.ClusterRole); len(r.AggregationRule.ClusterRoleSelectors) != 2 || len(r.Rules) != 1 {
				t.Errorf("%v", r)
			}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			do, o := Reconcile(c.have, c.want)
			if do != c.do {
				t.Fatalf("%v, want %v", do, c.do)
			}
			if c.then != nil {
				c.then(t, o)
			}
		})
	}
}
