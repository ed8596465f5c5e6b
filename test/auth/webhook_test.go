package auth

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"xebec.dev/test/apiservertest"
)

func TestTokenWebhook(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "hooks")
	h := newHook(t, a, func(spec map[string]any) map[string]any {
		switch spec["token"] {
		case "jane":
			return map[string]any{"authenticated": true, "user": map[string]any{
				"username": "jane", "uid": "42", "groups": []string{"dev"}, "extra": map[string]any{"example.com/k": []string{"v"}},
			}}
		case "elsewhere":
			return map[string]any{"authenticated": true, "user": map[string]any{"username": "x"}, "audiences": []string{"elsewhere"}}
		case "broken":
			return map[string]any{"authenticated": false, "error": "it broke"}
		}
		return map[string]any{"authenticated": false}
	})
	s := apiservertest.Start(t, "--authentication-token-webhook-config-file="+h.kubeconfig(t, a), "--authentication-token-webhook-version=v1",
		"--authentication-token-webhook-cache-ttl=1m")
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		got, err := who(s, bearer("jane"))
		want := user("jane", "dev")
		want.UID, want.Extra = "42", map[string]authenticationv1.ExtraValue{"example.com/k": {"v"}}
		isUser(t, got, err, want)
		for _, token := range []string{"nobody", "elsewhere", "broken"} {
			_, err := who(s, bearer(token))
			unauthorized(t, err)
		}
	})
	h.set(func(h *hook) {
		spec, _ := h.last["spec"].(map[string]any)
		if h.last["apiVersion"] != "authentication.k8s.io/v1" || h.last["kind"] != "TokenReview" || !reflect.DeepEqual(spec["audiences"], []any{"https://kubernetes.default.svc"}) {
			t.Errorf("the review was %v", h.last)
		}
	})
	t.Run("remembered", func(t *testing.T) {
		before := h.asked.Load()
		for range 3 {
			for _, token := range []string{"jane", "nobody"} {
				_, _ = doors[0].who(t, s, bearer(token)) // only the webhook's count matters
			}
		}
		if n := h.asked.Load() - before; n != 0 {
			t.Errorf("%d more reviews of the same tokens", n)
		}
	})
	t.Run("reviews", func(t *testing.T) {
		// Others ask this server, which asks the webhook.
		var r authenticationv1.TokenReview
		ask := func(token string, audiences ...string) *authenticationv1.TokenReviewStatus {
			r = authenticationv1.TokenReview{}
			if err := call(t, s, admin(t, s), http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews",
				&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}, &r); err != nil {
				t.Fatal(err)
			}
			return &r.Status
		}
		if st := ask("jane"); !st.Authenticated || st.User.Username != "jane" || !reflect.DeepEqual(st.Audiences, []string{"https://kubernetes.default.svc"}) {
			t.Errorf("jane: %+v", st)
		}
		if st := ask("elsewhere", "elsewhere"); !st.Authenticated || st.User.Username != "x" || !reflect.DeepEqual(st.Audiences, []string{"elsewhere"}) {
			t.Errorf("elsewhere: %+v", st)
		}
		if st := ask("broken"); st.Authenticated || st.Error != "[invalid bearer token, it broke]" {
			t.Errorf("broken: %+v", st)
		}
		if st := ask("nobody"); st.Authenticated || st.Error != "invalid bearer token" {
			t.Errorf("nobody: %+v", st)
		}
	})
	t.Run("down", func(t *testing.T) {
		h.set(func(h *hook) { h.down = true })
		defer h.set(func(h *hook) { h.down = false })
		start, before := time.Now(), h.asked.Load()
		_, err := doors[0].who(t, s, bearer("somebody"))
		unauthorized(t, err)
		if n := h.asked.Load() - before; n != 5 {
			t.Errorf("%d tries in %v, want 5", n, time.Since(start))
		}
		// Who is remembered, or shows something else, is not concerned.
		if _, err := doors[0].who(t, s, bearer("jane")); err != nil {
			t.Error(err)
		}
		if _, err := doors[0].who(t, s, admin(t, s)); err != nil {
			t.Error(err)
		}
	})
}

// Answers are forgotten after their time, also those that say no.
func TestTokenWebhookTTL(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "hooks")
	h := newHook(t, a, func(map[string]any) map[string]any { return map[string]any{"authenticated": false} })
	s := apiservertest.Start(t, "--authentication-token-webhook-config-file="+h.kubeconfig(t, a), "--authentication-token-webhook-cache-ttl=500ms")
	_, err := doors[0].who(t, s, bearer("late"))
	unauthorized(t, err)
	h.set(func(h *hook) {
		if h.last["apiVersion"] != "authentication.k8s.io/v1beta1" {
			t.Errorf("%v, want v1beta1, the default", h.last["apiVersion"])
		}
		h.answer = func(map[string]any) map[string]any {
			return map[string]any{"authenticated": true, "user": map[string]any{"username": "late"}}
		}
	})
	eventually(t, "the other answer", func() error { _, err := doors[0].who(t, s, bearer("late")); return err })
}

// sar answers reviews: what the user "ok" asks is allowed, what "bad" asks is
// denied, of the others there is no opinion.
func sar(spec map[string]any) map[string]any {
	switch spec["user"] {
	case "ok":
		return map[string]any{"allowed": true, "reason": "ok may"}
	case "bad":
		return map[string]any{"allowed": false, "denied": true, "reason": "bad may not"}
	case "both":
		return map[string]any{"allowed": true, "denied": true}
	}
	return map[string]any{"allowed": false, "reason": "never heard of it"}
}

func tokens(t testing.TB) string {
	return write(t, filepath.Join(t.TempDir(), "tokens.csv"), "ok,ok,1\nbad,bad,2,system:masters-not\nboth,both,3\nother,other,4,\"g1,g2\"\n")
}

const secrets = "/api/v1/namespaces/default/secrets"

func TestAuthorizationWebhook(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "hooks")
	h := newHook(t, a, sar)
	s := apiservertest.Start(t, "--token-auth-file="+tokens(t), "--authorization-mode=Webhook,RBAC", "--authorization-webhook-version=v1",
		"--authorization-webhook-config-file="+h.kubeconfig(t, a))
	get := func(token string) error { return call(t, s, bearer(token), http.MethodGet, secrets, nil, nil) }
	const forbidden = `secrets is forbidden: User %q cannot list resource "secrets" in API group "" in the namespace "default": %s`
	if err := get("ok"); err != nil {
		t.Error(err)
	}
	h.set(func(h *hook) {
		want := map[string]any{"user": "ok", "uid": "1", "group": []any{"system:authenticated"}, "resourceAttributes": map[string]any{
			"namespace": "default", "verb": "list", "version": "v1", "resource": "secrets",
		}}
		got, _ := h.last["spec"].(map[string]any)
		if groups, ok := got["groups"]; ok { // v1's name
			got["group"] = groups
			delete(got, "groups")
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("asked %v, want %v", got, want)
		}
	})
	is(t, get("bad"), 403, fmt.Sprintf(forbidden, "bad", "bad may not"))
	is(t, get("other"), 403, fmt.Sprintf(forbidden, "other", "never heard of it"))
	// Contradiction is trouble of the webhook's, not leave.
	is(t, get("both"), 500, "Internal error occurred: webhook subject access review returned both allow and deny response")
	before := h.asked.Load()
	for range 3 {
		if err := get("ok"); err != nil {
			t.Error(err)
		}
	}
	if n := h.asked.Load() - before; n != 0 {
		t.Errorf("%d reviews of what is remembered", n)
	}
	if n := metric(t, s, `apiserver_authorization_decisions_total{decision="denied",name="webhook",type="Webhook"}`); n < 1 {
		t.Errorf("denials counted: %v", n)
	}
	// Masters are not asked about, and whom RBAC allows gets in although the
	// webhook is down.
	h.set(func(h *hook) { h.down = true })
	if err := call(t, s, admin(t, s), http.MethodGet, "/api/v1/nodes", nil, nil); err != nil {
		t.Error(err)
	}
	if _, err := doors[1].who(t, s, bearer("other")); err != nil {
		t.Error(err)
	}
}

func authorizationConfig(webhook, conditions, kubeconfig string) string {
	return fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- type: Webhook
  name: hook
  webhook:
    timeout: 1s
    authorizedTTL: 1s
    unauthorizedTTL: 1s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: %s
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: %s}
    matchConditions:
%s- {type: Node, name: node}
- {type: RBAC, name: rbac}
`, webhook, kubeconfig, conditions)
}

func TestAuthorizationConfiguration(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "hooks")
	h := newHook(t, a, sar)
	kubeconfig := h.kubeconfig(t, a)
	conditions := `    - expression: has(request.resourceAttributes)
    - expression: request.resourceAttributes.resource == 'secrets'
    - expression: "!('g2' in request.groups)"
    - expression: request.user != 'both' || request.resourceAttributes.labelSelector.requirements[0].key == 'x'
`
	path := write(t, filepath.Join(t.TempDir(), "authz.yaml"), authorizationConfig("Deny", conditions, kubeconfig))
	s := apiservertest.Start(t, "--token-auth-file="+tokens(t), "--authorization-config="+path)
	get := func(token, path string) error { return call(t, s, bearer(token), http.MethodGet, path, nil, nil) }
	if err := get("ok", secrets); err != nil {
		t.Error(err)
	}
	before := h.asked.Load()
	is(t, get("ok", "/api/v1/namespaces/default/configmaps"), 403, `configmaps is forbidden: User "ok" cannot list resource "configmaps" in API group "" in the namespace "default"`)
	is(t, get("ok", "/metrics"), 403, `forbidden: User "ok" cannot get path "/metrics"`)
	is(t, get("other", secrets), 403, `secrets is forbidden: User "other" cannot list resource "secrets" in API group "" in the namespace "default"`)
	if n := h.asked.Load() - before; n != 0 {
		t.Errorf("the webhook was asked %d times about what its conditions exclude", n)
	}
	// A condition that fails, and no other that excludes: the failure policy.
	err := get("both", secrets)
	var status interface{ Error() string }
	if !errors.As(err, &status) || h.asked.Load() != before {
		t.Errorf("a failing condition: %v", err)
	}
	if err := get("both", secrets+"?labelSelector=x%3Dy"); err == nil {
		t.Error("a contradiction allowed")
	}
	if n := h.asked.Load() - before; n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
	for series, least := range map[string]float64{
		`apiserver_authorization_match_condition_evaluation_errors_total{name="hook",type="Webhook"}`: 1,
		`apiserver_authorization_match_condition_exclusions_total{name="hook",type="Webhook"}`:        3,
		`apiserver_authorization_webhook_evaluations_total{name="hook",result="success"}`:             1,
		`apiserver_authorization_decisions_total{decision="allowed",name="hook",type="Webhook"}`:      1,
	} {
		if n := metric(t, s, series); n < least {
			t.Errorf("%s is %v", series, n)
		}
	}
	t.Run("down", func(t *testing.T) {
		h.set(func(h *hook) { h.down = true })
		defer h.set(func(h *hook) { h.down = false })
		eventually(t, "the memory's end", func() error {
			if err := get("ok", secrets); err == nil {
				return errors.New("still allowed")
			}
			return nil
		})
		if err := call(t, s, admin(t, s), http.MethodGet, secrets, nil, nil); err != nil {
			t.Errorf("masters: %v", err)
		}
	})
	t.Run("reload", func(t *testing.T) {
		write(t, path, "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: []\n")
		eventually(t, "the count of failures", func() error {
			if n := metric(t, s, reloads("authorization", "failure")); n < 1 {
				return fmt.Errorf("%v", n)
			}
			return nil
		})
		if err := get("ok", secrets); err != nil {
			t.Error(err)
		}
		write(t, path, authorizationConfig("NoOpinion", "    - expression: has(request.nonResourceAttributes)\n", kubeconfig))
		eventually(t, "the new conditions", func() error { return get("ok", "/metrics") })
		if err := get("ok", secrets); err == nil {
			t.Error("secrets are still asked about")
		}
		if n := metric(t, s, reloads("authorization", "success")); n != 1 {
			t.Errorf("reloads counted: %v", n)
		}
	})
	t.Run("reviews", func(t *testing.T) {
		var r authorizationv1.SubjectAccessReview
		ask := func(user, path string) *authorizationv1.SubjectAccessReviewStatus {
			r = authorizationv1.SubjectAccessReview{}
			if err := call(t, s, admin(t, s), http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: user, NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"}},
			}, &r); err != nil {
				t.Fatal(err)
			}
			return &r.Status
		}
		if st := ask("ok", "/x"); !st.Allowed || st.Reason != "ok may" {
			t.Errorf("%+v", st)
		}
		if st := ask("bad", "/x"); st.Allowed || !st.Denied || st.Reason != "bad may not" {
			t.Errorf("%+v", st)
		}
		if st := ask("other", "/x"); st.Allowed || st.Denied || st.Reason != "never heard of it" {
			t.Errorf("%+v", st)
		}
	})
}
