package e2e

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// rotating is a client-go program that lives on a token of the shortest life
// that the API gives, ten minutes; the kubelet gets another after eight.
const rotating = `
metadata: {name: rotating}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: ` + agent + `
    args: [token, /var/run/secrets/kubernetes.io/serviceaccount/token]
    volumeMounts: [{name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}]
  volumes:
  - name: token
    projected:
      sources:
      - serviceAccountToken: {path: token, expirationSeconds: 600}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
`

const rotatingSpace = "rotation"

// startToken starts the program at once: it needs longer than all else.
func startToken(ctx context.Context) error {
	meta := metav1.ObjectMeta{Name: "reader"}
	if _, err := api.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: rotatingSpace}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{Verbs: []string{"list"}, APIGroups: []string{""}, Resources: []string{"pods"}}}}
	if _, err := api.RbacV1().Roles(rotatingSpace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"}, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "default", Namespace: rotatingSpace}}}
	if _, err := api.RbacV1().RoleBindings(rotatingSpace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	p := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(rotating), p); err != nil {
		return err
	}
	// The fault tests leave the first node's network alone.
	p.Spec.NodeName = running.Members()[0].Name
	for deadline := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		_, err := api.CoreV1().Pods(rotatingSpace).Create(ctx, p, metav1.CreateOptions{})
		// A pod needs its account, which a controller makes.
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// TestTokenRotation: the file gets a new token in time, client-go goes over to
// it, and no request is refused, whatever else the tests break meanwhile.
func TestTokenRotation(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes eight minutes at least")
	}
	t.Parallel()
	told := regexp.MustCompile(`file has token (\S+) after (\S+)`)
	pods := api.CoreV1().Pods(rotatingSpace)
	var log string
	// renewed finds a token that came when the one before was nearly over, and
	// was sent.
	renewed := func() error {
		raw, err := pods.GetLogs("rotating", &corev1.PodLogOptions{}).DoRaw(t.Context())
		if err != nil {
			return err
		}
		log = string(raw)
		var before time.Duration
		for i, m := range told.FindAllStringSubmatch(log, -1) {
			after, err := time.ParseDuration(m[2])
			if err != nil {
				t.Fatal(err)
			}
			if life := after - before; i > 0 && life >= 6*time.Minute {
				if life >= 10*time.Minute {
					t.Fatalf("a token was held for %s, its whole life", life)
				}
				if !strings.Contains(log, "sends token "+m[1]) {
					return errNotYet // client-go looks at the file once a minute
				}
				t.Logf("a token was renewed after %s", life)
				return nil
			}
			before = after
		}
		return errNotYet
	}
	for begun := time.Now(); ; time.Sleep(time.Second) {
		err := renewed()
		if err == nil {
			break
		}
		if p, err := pods.Get(t.Context(), "rotating", metav1.GetOptions{}); err == nil && p.Status.Phase != corev1.PodRunning && p.Status.Phase != corev1.PodPending {
			t.Fatalf("the program is %s; its log:\n%s", p.Status.Phase, log)
		}
		if time.Since(begun) > 12*time.Minute {
			t.Fatalf("no token was renewed in its time: %v; the log:\n%s", err, log)
		}
	}
	if strings.Contains(log, "refused: 401") {
		t.Errorf("a request was refused; the log:\n%s", log)
	}
	if !regexp.MustCompile(`reads \d+ pods 1`).MatchString(log) {
		t.Errorf("it read no pods; the log:\n%s", log)
	}
}

// TestAccounts: what accounts have of tokens and authorities.
func TestAccounts(t *testing.T) {
	t.Parallel()
	u := newUser(t, "accounts")
	u.sub("AU-b714 a token that is asked for", func(u user) {
		token := u.run("create", "token", "default")
		review, err := api.AuthenticationV1().TokenReviews().Create(u.t.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
		if err != nil {
			u.t.Fatal(err)
		}
		s := review.Status
		groups := []string{"system:serviceaccounts", "system:serviceaccounts:accounts", "system:authenticated"}
		if !s.Authenticated || s.Error != "" || s.User.Username != "system:serviceaccount:accounts:default" || !slices.Equal(s.User.Groups, groups) {
			u.t.Errorf("status %+v", s)
		}
	})
	u.sub("AU-48ef the authority of each namespace", func(u user) {
		const ca = "configmap/kube-root-ca.crt"
		u.has(strings.TrimSpace(string(config.CAData)), ca, `{.data.ca\.crt}`)
		u.run("delete", ca)
		u.has(strings.TrimSpace(string(config.CAData)), ca, `{.data.ca\.crt}`)
		u.run("patch", ca, "-p", `{"data":{"ca.crt":"no"}}`)
		u.has(strings.TrimSpace(string(config.CAData)), ca, `{.data.ca\.crt}`)
	})
	const dir = "/var/run/secrets/kubernetes.io/serviceaccount"
	u.hear("token", `volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: deep/token, expirationSeconds: 43200}}]}}], securityContext: {runAsUser: 1000, fsGroup: 10000}`, 5, []said{
		{id: "AU-b521 what each pod has", script: "cd " + dir + "; ls; cat namespace; grep -c BEGIN ca.crt; tr . ' ' < token | wc -w", want: "ca.crt namespace token accounts1 3"},
		{id: "AU-0976 a token where it is wanted", container: "volumeMounts: [{name: t, mountPath: /t}]", script: "stat -L -c '%a %g' /t/deep/token; tr . ' ' < /t/deep/token | wc -w", want: "640 10000 3"},
	})
}
