package controllers

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (c *cluster) slices(t testing.TB, ns, svc, what string, ok func([]discoveryv1.EndpointSlice) bool) {
	t.Helper()
	eventually(t, what, func() error {
		l, err := c.DiscoveryV1().EndpointSlices(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + svc})
		if err == nil && !ok(l.Items) {
			err = fmt.Errorf("slices %+v", l.Items)
		}
		return err
	})
}

func readyOf(l []discoveryv1.EndpointSlice) (ready, all int) {
	for i := range l {
		for _, e := range l[i].Endpoints {
			all++
			if *e.Conditions.Ready {
				ready++
			}
		}
	}
	return ready, all
}

func endpoints(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","labels":{"team":"a"}},"spec":{"selector":{"app":"web"},"ports":[{"name":"http","port":80,"targetPort":8080}]}}`, "apply", "-f", "-")
	c.slices(t, ns, "web", "an empty slice", func(l []discoveryv1.EndpointSlice) bool { return len(l) == 1 && len(l[0].Endpoints) == 0 })
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.slices(t, ns, "web", "4 ready", func(l []discoveryv1.EndpointSlice) bool {
		ready, all := readyOf(l)
		return len(l) == 1 && ready == 4 && all == 4 && *l[0].Ports[0].Port == 8080 && l[0].Labels["team"] == "a" &&
			l[0].Labels["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io" && l[0].Endpoints[0].NodeName != nil
	})
	eventually(t, "endpoints of the old form", func() error {
		e, err := c.CoreV1().Endpoints(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if err == nil && (len(e.Subsets) != 1 || len(e.Subsets[0].Addresses) != 4 || e.Subsets[0].Ports[0].Port != 8080) {
			err = fmt.Errorf("subsets %+v", e.Subsets)
		}
		return err
	})
	pod := c.podNames(t, ns, "app=web")[0]
	c.kubectl(t, ns, "", "annotate", "pod/"+pod, "test/unready=")
	c.slices(t, ns, "web", "3 of 4 ready", func(l []discoveryv1.EndpointSlice) bool {
		ready, all := readyOf(l)
		return ready == 3 && all == 4
	})
	c.kubectl(t, ns, "", "delete", "service/web")
	c.slices(t, ns, "web", "no slices", func(l []discoveryv1.EndpointSlice) bool { return len(l) == 0 })
	eventually(t, "no endpoints", func() error {
		_, err := c.CoreV1().Endpoints(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there, error %w", err)
	})
}

func mirrored(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"ext"},"spec":{"ports":[{"port":80}]}}`, "apply", "-f", "-")
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"ext"},"subsets":[{"addresses":[{"ip":"10.9.8.7"}],"notReadyAddresses":[{"ip":"10.9.8.6"}],"ports":[{"port":80}]}]}`, "apply", "-f", "-")
	c.slices(t, ns, "ext", "the mirror", func(l []discoveryv1.EndpointSlice) bool {
		ready, all := readyOf(l)
		return len(l) == 1 && ready == 1 && all == 2 && l[0].Labels["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
	})
	c.kubectl(t, ns, "", "label", "endpoints/ext", "endpointslice.kubernetes.io/skip-mirror=true")
	c.slices(t, ns, "ext", "no mirror", func(l []discoveryv1.EndpointSlice) bool { return len(l) == 0 })
}

func ephemeral(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"x"}],"volumes":[{"name":"v","ephemeral":
		{"volumeClaimTemplate":{"metadata":{"labels":{"a":"b"}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Mi"}}}}}}]}}`, "apply", "-f", "-")
	eventually(t, "the claim", func() error {
		claim, err := c.CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "p-v", metav1.GetOptions{})
		if err == nil && (claim.Labels["a"] != "b" || metav1.GetControllerOf(claim) == nil || metav1.GetControllerOf(claim).Kind != "Pod") {
			err = fmt.Errorf("labels %v, owners %v", claim.Labels, claim.OwnerReferences)
		}
		return err
	})
}

// accounts: what every namespace has comes back when it is taken away.
func accounts(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	authority := func() error {
		m, err := c.CoreV1().ConfigMaps(ns).Get(t.Context(), "kube-root-ca.crt", metav1.GetOptions{})
		if err == nil && !strings.Contains(m.Data["ca.crt"], "BEGIN CERTIFICATE") {
			err = fmt.Errorf("data %v", m.Data)
		}
		return err
	}
	eventually(t, "the authority", authority)
	c.kubectl(t, ns, "", "delete", "configmap/kube-root-ca.crt", "serviceaccount/default", "--wait=false")
	eventually(t, "the authority again", authority)
	eventually(t, "the account again", func() error {
		_, err := c.CoreV1().ServiceAccounts(ns).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	c.kubectl(t, ns, "", "patch", "configmap/kube-root-ca.crt", "-p", `{"data":{"ca.crt":"mine"}}`)
	eventually(t, "the authority repaired", authority)
}

// tokenSecret: a token that the API server takes, gone with its account.
func tokenSecret(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, "", "create", "serviceaccount", "bot")
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"Secret","type":"kubernetes.io/service-account-token","metadata":{"name":"bot","annotations":{"kubernetes.io/service-account.name":"bot"}}}`, "apply", "-f", "-")
	var token string
	eventually(t, "the token", func() error {
		s, err := c.CoreV1().Secrets(ns).Get(t.Context(), "bot", metav1.GetOptions{})
		if err != nil {
			return err
		}
		token = string(s.Data["token"])
		if token == "" || string(s.Data["namespace"]) != ns || len(s.Data["ca.crt"]) == 0 || s.Annotations["kubernetes.io/service-account.uid"] == "" {
			return fmt.Errorf("incomplete: %v", s.Annotations)
		}
		return nil
	})
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var parsed map[string]string
	if err := json.Unmarshal(claims, &parsed); err != nil || parsed["sub"] != "system:serviceaccount:"+ns+":bot" {
		t.Errorf("claims %s, error %v", claims, err)
	}
	review, err := c.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil || !review.Status.Authenticated || review.Status.User.Username != "system:serviceaccount:"+ns+":bot" {
		t.Errorf("review: %+v, error %v", review.Status, err)
	}
	c.kubectl(t, ns, "", "delete", "serviceaccount/bot")
	eventually(t, "the secret gone", func() error {
		_, err := c.CoreV1().Secrets(ns).Get(t.Context(), "bot", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there, error %w", err)
	})
}

func aggregatedRole(t *testing.T, c *cluster) {
	c.kubectl(t, "default", `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sum}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {test/sum: "true"}}]}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: part, labels: {test/sum: "true"}}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
`, "apply", "-f", "-")
	rules := func(want ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("rules of %v", want), func() error {
			r, err := c.RbacV1().ClusterRoles().Get(t.Context(), "sum", metav1.GetOptions{})
			if err != nil {
				return err
			}
			var got []string
			for _, x := range r.Rules {
				got = append(got, x.Resources...)
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("there are %v", got)
			}
			return nil
		})
	}
	rules("pods")
	c.kubectl(t, "default", "", "patch", "clusterrole/part", "-p", `{"rules":[{"apiGroups":[""],"resources":["nodes"],"verbs":["get"]}]}`)
	rules("nodes")
	c.kubectl(t, "default", "", "delete", "clusterrole/part")
	rules()
}
