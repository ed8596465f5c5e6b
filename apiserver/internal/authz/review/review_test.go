package review

import (
	"context"
	"encoding/json"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/apiserver/internal/authn/token"
	"xebec.dev/apiserver/internal/authz"
	"xebec.dev/apiserver/internal/authz/authztest"
	"xebec.dev/apiserver/internal/authz/node"
	"xebec.dev/apiserver/internal/authz/rbac"
	"xebec.dev/apiserver/internal/request"
)

func reviewer() *Reviewer {
	r := authztest.NewReader(
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "basic"}, Rules: []rbacv1.PolicyRule{
			{Verbs: []string{"create"}, APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"selfsubjectaccessreviews"}},
			{Verbs: []string{"get"}, NonResourceURLs: []string{"/api"}},
		}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "basic"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "basic"},
			Subjects: []rbacv1.Subject{{Kind: "Group", Name: "system:authenticated"}}},
	)
	own := []string{"api"}
	s := authztest.Scheme()
	return &Reviewer{
		Authorizer: authz.Union{authz.Masters{}, node.New(r, s), rbac.New(r, s)}, Own: own,
		Tokens: token.Agnostic{Own: own, Tokens: token.Fixed("usertoken", request.User{Name: "alice", Groups: []string{"devs"}})},
	}
}

func TestReview(t *testing.T) {
	fred := &request.User{Name: "fred", Groups: []string{"system:authenticated"}}
	for _, c := range []struct {
		plural string
		obj    runtime.Object
		body   string
		want   string // status, or the error
	}{
		{"subjectaccessreviews", &authorizationv1.SubjectAccessReview{}, `{"spec":{"user":"x","groups":["system:masters"],"resourceAttributes":{"verb":"get","resource":"pods"}}}`, `{"allowed":true}`},
		{"subjectaccessreviews", &authorizationv1.SubjectAccessReview{}, `{"spec":{"user":"x","resourceAttributes":{"verb":"get","resource":"pods"}}}`, `{"allowed":false}`},
		{"subjectaccessreviews", &authorizationv1.SubjectAccessReview{}, `{"spec":{"user":"system:node:zz","groups":["system:nodes"],"resourceAttributes":{"verb":"list","resource":"pods"}}}`,
			`{"allowed":false,"reason":"can only list/watch pods with spec.nodeName field selector"}`},
		{"subjectaccessreviews", &authorizationv1.SubjectAccessReview{}, `{"spec":{"user":"system:node:zz","groups":["system:nodes"],"resourceAttributes":{"verb":"list","resource":"pods","fieldSelector":{"requirements":[{"key":"spec.nodeName","operator":"In","values":["zz"]}]}}}}`, `{"allowed":true}`},
		{"subjectaccessreviews", &authorizationv1.SubjectAccessReview{}, `{"spec":{"user":"system:node:zz","groups":["system:nodes"],"resourceAttributes":{"verb":"list","resource":"pods","fieldSelector":{"rawSelector":"spec.nodeName=zz"}}}}`, `{"allowed":true}`},
		{"subjectaccessreviews", &authorizationv1.SubjectAccessReview{}, `{"spec":{"user":"x","resourceAttributes":{"verb":"list","resource":"pods","fieldSelector":{"rawSelector":"a=b=c,,"}}}}`,
			`{"allowed":false,"evaluationError":"spec.resourceAttributes.fieldSelector ignored due to parse error"}`},
		{"subjectaccessreviews", &authorizationv1.SubjectAccessReview{}, `{"spec":{}}`,
			`.authorization.k8s.io "" is invalid: [spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified, spec.user: Invalid value: "": at least one of user or group must be specified]`},
		{"selfsubjectaccessreviews", &authorizationv1.SelfSubjectAccessReview{}, `{"spec":{"nonResourceAttributes":{"verb":"get","path":"/api"}}}`,
			`{"allowed":true,"reason":"RBAC: allowed by ClusterRoleBinding \"basic\" of ClusterRole \"basic\" to Group \"system:authenticated\""}`},
		{"localsubjectaccessreviews", &authorizationv1.LocalSubjectAccessReview{}, `{"metadata":{"namespace":"n"},"spec":{"user":"x","resourceAttributes":{"verb":"get","resource":"pods","namespace":"m"}}}`,
			`.authorization.k8s.io "" is invalid: spec.resourceAttributes.namespace: Invalid value: "m": must match metadata.namespace`},
		{"selfsubjectrulesreviews", &authorizationv1.SelfSubjectRulesReview{}, `{"spec":{"namespace":"n"}}`,
			`{"resourceRules":[{"verbs":["create"],"apiGroups":["authorization.k8s.io"],"resources":["selfsubjectaccessreviews"]}],"nonResourceRules":[{"verbs":["get"],"nonResourceURLs":["/api"]}],"incomplete":false}`},
		{"selfsubjectrulesreviews", &authorizationv1.SelfSubjectRulesReview{}, `{"spec":{}}`, `no namespace on request`},
		{"tokenreviews", &authenticationv1.TokenReview{}, `{"spec":{"token":"usertoken"}}`, `{"authenticated":true,"user":{"username":"alice","groups":["devs","system:authenticated"]},"audiences":["api"]}`},
		{"tokenreviews", &authenticationv1.TokenReview{}, `{"spec":{"token":"usertoken","audiences":["a"]}}`, `{"user":{},"error":"invalid bearer token"}`},
		{"tokenreviews", &authenticationv1.TokenReview{}, `{"spec":{"token":"a.b.c"}}`, `{"user":{},"error":"invalid bearer token"}`},
		{"tokenreviews", &authenticationv1.TokenReview{}, `{"spec":{}}`, `token is required for TokenReview in authentication`},
		{"selfsubjectreviews", &authenticationv1.SelfSubjectReview{}, `{}`, `{"userInfo":{"username":"fred","groups":["system:authenticated"]}}`},
	} {
		group := "authorization.k8s.io"
		if c.plural == "tokenreviews" || c.plural == "selfsubjectreviews" {
			group = "authentication.k8s.io"
		}
		res, _ := authztest.Scheme().Resource(group, c.plural)
		if err := json.Unmarshal([]byte(c.body), c.obj); err != nil {
			t.Fatal(err)
		}
		answer, err := reviewer().Review(context.Background(), res, fred, c.obj)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			raw, _ := json.Marshal(answer)
			var m struct {
				Spec   json.RawMessage `json:"spec"`
				Status json.RawMessage `json:"status"`
			}
			_ = json.Unmarshal(raw, &m)
			got = string(m.Status)
			if c.plural == "selfsubjectrulesreviews" && string(m.Spec) != "{}" {
				t.Errorf("spec %s", m.Spec)
			}
		}
		if got != c.want {
			t.Errorf("%s\n%s\nwant\n%s", c.body, got, c.want)
		}
	}
}
