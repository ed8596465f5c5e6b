package auth

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/test/apiservertest"
)

// accounts is a server with objects that tokens are bound to.
func accounts(t *testing.T, args ...string) *apiservertest.Server {
	t.Helper()
	s := apiservertest.Start(t, args...)
	post := func(path string, o any) {
		t.Helper()
		if err := call(t, s, admin(t, s), http.MethodPost, path, o, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"robot", "other"} {
		post("/api/v1/namespaces/default/serviceaccounts", &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	for _, name := range []string{"n1", "n2"} {
		post("/api/v1/nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	post("/api/v1/namespaces/default/secrets", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s1"}})
	post("/api/v1/namespaces/default/pods", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p1"}, Spec: corev1.PodSpec{
		ServiceAccountName: "robot", NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "i"}},
	}})
	return s
}

func request(t testing.TB, s *apiservertest.Server, account string, spec authenticationv1.TokenRequestSpec) (*authenticationv1.TokenRequest, error) {
	t.Helper()
	var r authenticationv1.TokenRequest
	err := call(t, s, admin(t, s), http.MethodPost, "/api/v1/namespaces/default/serviceaccounts/"+account+"/token", &authenticationv1.TokenRequest{Spec: spec}, &r)
	return &r, err
}

func bind(kind, name string, uid types.UID) *authenticationv1.BoundObjectReference {
	return &authenticationv1.BoundObjectReference{Kind: kind, APIVersion: "v1", Name: name, UID: uid}
}

func TestBoundTokens(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "audit.log")
	policy := write(t, filepath.Join(t.TempDir(), "policy.yaml"), "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
	s := accounts(t, "--audit-policy-file="+policy, "--audit-log-path="+log, "--service-account-max-token-expiration=2h")
	token := func(ref *authenticationv1.BoundObjectReference) string {
		t.Helper()
		r, err := request(t, s, "robot", authenticationv1.TokenRequestSpec{BoundObjectRef: ref})
		if err != nil {
			t.Fatal(err)
		}
		return r.Status.Token
	}
	var uids struct{ pod, node types.UID }
	var pod corev1.Pod
	var node corev1.Node
	for path, into := range map[string]any{"/api/v1/namespaces/default/pods/p1": &pod, "/api/v1/nodes/n1": &node} {
		if err := call(t, s, admin(t, s), http.MethodGet, path, nil, into); err != nil {
			t.Fatal(err)
		}
	}
	uids.pod, uids.node = pod.UID, node.UID
	plain, podBound, nodeBound, secretBound := token(nil), token(bind("Pod", "p1", "")), token(bind("Node", "n2", "")), token(bind("Secret", "s1", ""))
	var account corev1.ServiceAccount
	if err := call(t, s, admin(t, s), http.MethodGet, "/api/v1/namespaces/default/serviceaccounts/robot", nil, &account); err != nil {
		t.Fatal(err)
	}
	robot := func() authenticationv1.UserInfo {
		u := user("system:serviceaccount:default:robot", "system:serviceaccounts", "system:serviceaccounts:default")
		u.UID = string(account.UID)
		return u
	}
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		for _, token := range []string{plain, secretBound} {
			got, err := who(s, bearer(token))
			isUser(t, got, err, robot())
		}
		got, err := who(s, bearer(podBound))
		want := robot()
		want.Extra = map[string]authenticationv1.ExtraValue{
			"authentication.kubernetes.io/pod-name": {"p1"}, "authentication.kubernetes.io/pod-uid": {string(uids.pod)},
			"authentication.kubernetes.io/node-name": {"n1"}, "authentication.kubernetes.io/node-uid": {string(uids.node)},
		}
		isUser(t, got, err, want)
		got, err = who(s, bearer(nodeBound))
		if err != nil || got.Extra["authentication.kubernetes.io/node-name"][0] != "n2" {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("gRPC's own", func(t *testing.T) {
		r, err := client.CreateSubresource[*corev1.ServiceAccount](t.Context(), dial(t, s, admin(t, s)), "default", "robot", "token", &authenticationv1.TokenRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := doors[1].who(t, s, bearer(r.Status.Token))
		isUser(t, got, err, robot())
	})
	t.Run("refused", func(t *testing.T) {
		seconds := func(n int64) *int64 { return &n }
		for message, spec := range map[string]authenticationv1.TokenRequestSpec{
			`pods "p9" not found`: {BoundObjectRef: bind("Pod", "p9", "")},
			`cannot bind token to object of type /v1, Kind=ConfigMap`:                                                                                                                                         {BoundObjectRef: bind("ConfigMap", "x", "")},
			`TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes`:                                                    {ExpirationSeconds: seconds(60)},
			fmt.Sprintf(`Operation cannot be fulfilled on Pod "p1": the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated`, "u"): {BoundObjectRef: bind("Pod", "p1", "u")},
		} {
			_, err := request(t, s, "robot", spec)
			if err == nil || err.Error() != message {
				t.Errorf("%v, want %s", err, message)
			}
		}
		_, err := request(t, s, "other", authenticationv1.TokenRequestSpec{BoundObjectRef: bind("Pod", "p1", "")})
		is(t, err, 400, `cannot bind token for serviceaccount "other" to pod running with different serviceaccount name.`)
		r, err := request(t, s, "robot", authenticationv1.TokenRequestSpec{ExpirationSeconds: seconds(9999999)})
		if err != nil || *r.Spec.ExpirationSeconds != 7200 {
			t.Errorf("%+v, %v: want 7200 s, the most", r.Spec, err)
		}
	})
	t.Run("audiences", func(t *testing.T) {
		r, err := request(t, s, "robot", authenticationv1.TokenRequestSpec{Audiences: []string{"vault"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range doors {
			_, err := d.who(t, s, bearer(r.Status.Token))
			unauthorized(t, err)
		}
		review := func(audiences ...string) authenticationv1.TokenReviewStatus {
			var out authenticationv1.TokenReview
			if err := call(t, s, admin(t, s), http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews",
				&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: r.Status.Token, Audiences: audiences}}, &out); err != nil {
				t.Fatal(err)
			}
			return out.Status
		}
		if st := review("x", "vault"); !st.Authenticated || !reflect.DeepEqual(st.Audiences, []string{"vault"}) {
			t.Errorf("%+v", st)
		}
		const other = `[invalid bearer token, token audiences ["vault"] is invalid for the target audiences ["https://kubernetes.default.svc"]]`
		if st := review(); st.Authenticated || st.Error != other {
			t.Errorf("%+v, want %s", st, other)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		for path, token := range map[string]string{
			"/api/v1/namespaces/default/pods/p1?gracePeriodSeconds=0": podBound, "/api/v1/nodes/n2": nodeBound, "/api/v1/namespaces/default/secrets/s1": secretBound,
		} {
			if err := call(t, s, admin(t, s), http.MethodDelete, path, nil, nil); err != nil {
				t.Fatal(err)
			}
			for _, d := range doors {
				eventually(t, "the end of a token bound to "+path, func() error {
					_, err := d.who(t, s, bearer(token))
					if err == nil {
						return errors.New("still good")
					}
					unauthorized(t, err)
					return nil
				})
			}
		}
		if _, err := doors[0].who(t, s, bearer(plain)); err != nil {
			t.Error(err)
		}
		// Another of the same name is not the same.
		if err := call(t, s, admin(t, s), http.MethodDelete, "/api/v1/namespaces/default/serviceaccounts/robot", nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := call(t, s, admin(t, s), http.MethodPost, "/api/v1/namespaces/default/serviceaccounts", &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of the account's tokens", func() error {
			if _, err := doors[1].who(t, s, bearer(plain)); err == nil {
				return errors.New("still good")
			}
			return nil
		})
	})
	t.Run("audit", func(t *testing.T) {
		// The token made and the token used have one id.
		made, used := map[string]bool{}, map[string]bool{}
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			var e struct {
				Stage       string
				User        authenticationv1.UserInfo
				Annotations map[string]string
			}
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if id := e.Annotations["authentication.kubernetes.io/issued-credential-id"]; id != "" {
				made[id] = true
			}
			if strings.HasPrefix(e.User.Username, "system:serviceaccount:default:robot") {
				used[e.User.Extra["authentication.kubernetes.io/credential-id"][0]] = true
			}
		}
		for id := range used {
			if !made[id] {
				t.Errorf("token %s was used and never issued", id)
			}
		}
		if len(used) < 4 || len(made) < len(used) {
			t.Errorf("%d tokens used, %d made", len(used), len(made))
		}
	})
}

// Others find our keys as OpenID Connect says, and verify tokens with them.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	s := accounts(t, "--service-account-issuer=https://issuer.example.com", "--service-account-issuer=https://kubernetes.default.svc", "--api-audiences=api,https://issuer.example.com",
		"--service-account-jwks-uri=https://issuer.example.com/keys")
	r, err := request(t, s, "robot", authenticationv1.TokenRequestSpec{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"api", "https://issuer.example.com"}; !reflect.DeepEqual(r.Spec.Audiences, want) {
		t.Errorf("audiences %q, want %q", r.Spec.Audiences, want)
	}
	var document, keys map[string]any
	c := bearer(r.Status.Token)
	if err := call(t, s, c, http.MethodGet, "/.well-known/openid-configuration", nil, &document); err != nil {
		t.Fatal(err)
	}
	if want := (map[string]any{
		"issuer": "https://issuer.example.com", "jwks_uri": "https://issuer.example.com/keys", "response_types_supported": []any{"id_token"},
		"subject_types_supported": []any{"public"}, "id_token_signing_alg_values_supported": document["id_token_signing_alg_values_supported"],
	}); !reflect.DeepEqual(document, want) {
		t.Errorf("%v, want %v", document, want)
	}
	if err := call(t, s, c, http.MethodGet, "/openid/v1/jwks", nil, &keys); err != nil {
		t.Fatal(err)
	}
	header, err := base64.RawURLEncoding.DecodeString(strings.Split(r.Status.Token, ".")[0])
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Alg, Kid string }
	if err := json.Unmarshal(header, &h); err != nil {
		t.Fatal(err)
	}
	list, _ := keys["keys"].([]any)
	if k, _ := list[0].(map[string]any); len(list) != 1 || k["kid"] != h.Kid || k["alg"] != h.Alg || k["use"] != "sig" || k["d"] != nil {
		t.Errorf("%v, want the public key %+v", keys, h)
	}
	// Not for everybody, unless it is granted.
	is(t, call(t, s, credential{}, http.MethodGet, "/openid/v1/jwks", nil, nil), 403, `forbidden: User "system:anonymous" cannot get path "/openid/v1/jwks"`)
	t.Run("headers", func(t *testing.T) {
		config := s.TLS(t)
		resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: config.RootCAs, Certificates: config.Certificates}}}).Get(s.URL + "/openid/v1/jwks")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body) // only the header counts
		if resp.Header.Get("Content-Type") != "application/jwk-set+json" || resp.Header.Get("Cache-Control") != "public, max-age=3600" {
			t.Errorf("%v", resp.Header)
		}
	})
}
