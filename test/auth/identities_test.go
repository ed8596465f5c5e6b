package auth

import (
	"crypto/x509/pkix"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/apiservertest"
)

func TestFrontProxy(t *testing.T) {
	t.Parallel()
	proxies, clients := newAuthority(t, "proxies"), newAuthority(t, "clients")
	dir := t.TempDir()
	s := apiservertest.Start(t, "--requestheader-client-ca-file="+write(t, filepath.Join(dir, "proxies.crt"), string(proxies.pem)),
		"--requestheader-allowed-names=front,second", "--requestheader-username-headers=X-Remote-User,X-Other-User", "--requestheader-uid-headers=X-Remote-Uid",
		"--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--client-ca-file="+write(t, filepath.Join(dir, "clients.crt"), string(clients.pem)))
	front := proxies.client(t, pkix.Name{CommonName: "front"})
	// A name with a percent sign is no metadata of gRPC.
	got, err := doors[0].who(t, s, front.with("X-Remote-User", "jane", "X-Remote-Extra-Example.com%2Fk", "v"))
	escaped := user("jane")
	escaped.Extra = map[string]authenticationv1.ExtraValue{"example.com/k": {"v"}}
	isUser(t, got, err, escaped)
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		got, err := who(s, front.with("X-Remote-User", "jane", "X-Remote-Group", "a", "X-Remote-Group", "b", "X-Remote-Uid", "7",
			"X-Remote-Extra-Scopes", "read", "X-Remote-Extra-Scopes", "write"))
		want := user("jane", "a", "b")
		want.UID, want.Extra = "7", map[string]authenticationv1.ExtraValue{"scopes": {"read", "write"}}
		isUser(t, got, err, want)
		got, err = who(s, proxies.client(t, pkix.Name{CommonName: "second"}).with("X-Other-User", "joe"))
		isUser(t, got, err, user("joe"))
		for name, c := range map[string]credential{
			"not an allowed name":  proxies.client(t, pkix.Name{CommonName: "third"}).with("X-Remote-User", "jane"),
			"no name of a user":    front.with("X-Remote-Group", "system:masters"),
			"a stranger's":         newAuthority(t, "proxies").client(t, pkix.Name{CommonName: "front"}).with("X-Remote-User", "jane"),
			"a bad token after it": proxies.client(t, pkix.Name{CommonName: "third"}).with("X-Remote-User", "jane", "Authorization", "Bearer x"),
		} {
			t.Run(name, func(t *testing.T) {
				_, err := who(s, c)
				unauthorized(t, err)
			})
		}
		// Of others than proxies the headers say nothing.
		got, err = who(s, clients.client(t, pkix.Name{CommonName: "ann", Organization: []string{"dev"}}).with("X-Remote-User", "root", "X-Remote-Group", "system:masters"))
		isUser(t, got, err, user("ann", "dev"))
		_, err = who(s, credential{}.with("X-Remote-User", "root", "X-Remote-Group", "system:masters"))
		is(t, err, 403, `selfsubjectreviews.authentication.k8s.io is forbidden: User "system:anonymous" cannot create resource "selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope`)
	})
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	old, fresh := newAuthority(t, "old"), newAuthority(t, "fresh")
	path := write(t, filepath.Join(t.TempDir(), "ca.crt"), string(old.pem))
	s := apiservertest.Start(t, "--client-ca-file="+path)
	before, after := old.client(t, pkix.Name{CommonName: "ann", Organization: []string{"a", "b"}}), fresh.client(t, pkix.Name{CommonName: "bob"})
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		got, err := who(s, before)
		isUser(t, got, err, user("ann", "a", "b"))
		_, err = who(s, after)
		unauthorized(t, err)
		// A certificate without a name is nobody's.
		_, err = who(s, old.client(t, pkix.Name{Organization: []string{"a"}}))
		if err == nil {
			t.Error("a certificate without a common name is somebody")
		}
	})
	// Both authorities for a while, as in a rotation, then the new one only.
	write(t, path, string(old.pem)+string(fresh.pem))
	eventually(t, "the new authority", func() error { _, err := doors[0].who(t, s, after); return err })
	got, err := doors[1].who(t, s, before)
	isUser(t, got, err, user("ann", "a", "b"))
	write(t, path, string(fresh.pem))
	eventually(t, "the old authority's end", func() error {
		if _, err := doors[0].who(t, s, before); err == nil {
			return errors.New("still believed")
		}
		return nil
	})
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		_, err := who(s, before)
		unauthorized(t, err)
		got, err := who(s, after)
		isUser(t, got, err, user("bob"))
	})
}

func TestTokenFileAndBootstrapTokens(t *testing.T) {
	t.Parallel()
	s := apiservertest.Start(t, "--token-auth-file="+tokens(t), "--enable-bootstrap-token-auth")
	secret := func(id string, data map[string]string) {
		t.Helper()
		o := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-" + id}, Type: "bootstrap.kubernetes.io/token",
			StringData: map[string]string{"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}}
		for k, v := range data {
			o.StringData[k] = v
		}
		if err := call(t, s, admin(t, s), http.MethodPost, "/api/v1/namespaces/kube-system/secrets", o, nil); err != nil {
			t.Fatal(err)
		}
	}
	secret("aaaaaa", map[string]string{"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token", "expiration": time.Now().Add(time.Hour).Format(time.RFC3339)})
	secret("bbbbbb", map[string]string{"expiration": time.Now().Add(-time.Hour).Format(time.RFC3339)})
	secret("cccccc", map[string]string{"usage-bootstrap-authentication": "false"})
	secret("dddddd", map[string]string{"auth-extra-groups": "system:masters"})
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		got, err := who(s, bearer("other"))
		want := user("other", "g1", "g2")
		want.UID = "4"
		isUser(t, got, err, want)
		got, err = who(s, bearer("aaaaaa.0123456789abcdef"))
		isUser(t, got, err, user("system:bootstrap:aaaaaa", "system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"))
		for _, bad := range []string{"aaaaaa.0123456789abcdeg", "bbbbbb.0123456789abcdef", "cccccc.0123456789abcdef", "dddddd.0123456789abcdef", "eeeeee.0123456789abcdef", "othe", "other2"} {
			_, err := who(s, bearer(bad))
			unauthorized(t, err)
		}
	})
	if err := call(t, s, admin(t, s), http.MethodDelete, "/api/v1/namespaces/kube-system/secrets/bootstrap-token-aaaaaa", nil, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the token's end", func() error {
		if _, err := doors[0].who(t, s, bearer("aaaaaa.0123456789abcdef")); err == nil {
			return errors.New("still good")
		}
		return nil
	})
}

// grant lets users do something everywhere.
func grant(t testing.TB, s *apiservertest.Server, name string, users []string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: name}
	if err := call(t, s, admin(t, s), http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterroles", &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, nil); err != nil {
		t.Fatal(err)
	}
	b := &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: name}}
	for _, u := range users {
		b.Subjects = append(b.Subjects, rbacv1.Subject{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: u})
	}
	if err := call(t, s, admin(t, s), http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", b, nil); err != nil {
		t.Fatal(err)
	}
}

func rule(verb, group, resource string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: names}
}

func TestImpersonation(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "audit.log")
	policy := write(t, filepath.Join(t.TempDir(), "policy.yaml"), "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
	s := apiservertest.Start(t, "--token-auth-file="+tokens(t), "--audit-policy-file="+policy, "--audit-log-path="+log)
	const authentication = "authentication.k8s.io"
	grant(t, s, "impersonator", []string{"other"},
		rule("impersonate", "", "users", "jane", "system:anonymous"), rule("impersonate", "", "groups", "dev"), rule("impersonate", authentication, "userextras/scopes", "view"),
		rule("impersonate", authentication, "uids", "7"), rule("impersonate", "", "serviceaccounts", "robot"))
	// The right to be somebody and to do one thing as him, and no more.
	grant(t, s, "constrained", []string{"ok"}, rule("impersonate:user-info", authentication, "users", "jane"),
		rule("impersonate-on:user-info:create", authentication, "selfsubjectreviews"))
	o := bearer("other")
	each(t, func(t *testing.T, who func(*apiservertest.Server, credential) (*authenticationv1.UserInfo, error)) {
		got, err := who(s, o.with("Impersonate-User", "jane", "Impersonate-Group", "dev", "Impersonate-Uid", "7", "Impersonate-Extra-Scopes", "view"))
		want := user("jane", "dev")
		want.UID, want.Extra = "7", map[string]authenticationv1.ExtraValue{"scopes": {"view"}}
		isUser(t, got, err, want)
		got, err = who(s, o.with("Impersonate-User", "system:serviceaccount:default:robot"))
		isUser(t, got, err, user("system:serviceaccount:default:robot", "system:serviceaccounts", "system:serviceaccounts:default"))
		got, err = who(s, bearer("ok").with("Impersonate-User", "jane"))
		isUser(t, got, err, user("jane"))
		const at = ` at the cluster scope`
		for _, c := range []struct {
			c       credential
			code    int32
			message string
		}{
			{o.with("Impersonate-User", "joe"), 403, `users "joe" is forbidden: User "other" cannot impersonate resource "users" in API group ""` + at},
			{o.with("Impersonate-User", "jane", "Impersonate-Group", "system:masters"), 403, `groups "system:masters" is forbidden: User "other" cannot impersonate resource "groups" in API group ""` + at},
			{o.with("Impersonate-User", "jane", "Impersonate-Uid", "8"), 403, `uids.authentication.k8s.io "8" is forbidden: User "other" cannot impersonate resource "uids" in API group "authentication.k8s.io"` + at},
			{o.with("Impersonate-User", "jane", "Impersonate-Extra-Scopes", "edit"), 403, `userextras.authentication.k8s.io "edit" is forbidden: User "other" cannot impersonate resource "userextras/scopes" in API group "authentication.k8s.io"` + at},
			{o.with("Impersonate-User", "system:serviceaccount:default:x"), 403, `serviceaccounts "x" is forbidden: User "other" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "default"`},
			{o.with("Impersonate-Group", "dev"), 400, `requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"dev"}, Extra:map[string][]string(nil)} without impersonating a user name`},
			{bearer("x").with("Impersonate-User", "jane"), 401, "Unauthorized"},
		} {
			_, err := who(s, c.c)
			is(t, err, c.code, c.message)
		}
		// What one becomes decides, not who one was.
		_, err = who(s, o.with("Impersonate-User", "system:anonymous"))
		is(t, err, 403, `selfsubjectreviews.authentication.k8s.io is forbidden: User "system:anonymous" cannot create resource "selfsubjectreviews" in API group "authentication.k8s.io"`+at)
	})
	// Constrained: jane may be it for the review, not for the list.
	grant(t, s, "janes", []string{"jane"}, rule("list", "", "configmaps"))
	if err := call(t, s, o.with("Impersonate-User", "jane"), http.MethodGet, "/api/v1/configmaps", nil, nil); err != nil {
		t.Error(err)
	}
	if err := call(t, s, bearer("ok").with("Impersonate-User", "jane"), http.MethodGet, "/api/v1/configmaps", nil, nil); err == nil {
		t.Error("constrained impersonation did what it was not granted")
	}
	for _, part := range []string{
		`"user":{"username":"ok","uid":"1","groups":["system:authenticated"]},"impersonatedUser":{"username":"jane","groups":["system:authenticated"]},"authenticationMetadata":{"impersonationConstraint":"impersonate:user-info"}`,
		`"impersonatedUser":{"username":"jane","uid":"7","groups":["dev","system:authenticated"],"extra":{"scopes":["view"]}},"sourceIPs"`,
	} {
		if !strings.Contains(string(read(t, log)), part) {
			t.Errorf("the audit log has no %s", part)
		}
	}
}
