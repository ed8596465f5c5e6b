package controllers

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (c *cluster) budget(t testing.TB, ns, what string, ok func(s *policyv1.PodDisruptionBudgetStatus) bool) *policyv1.PodDisruptionBudget {
	t.Helper()
	var last *policyv1.PodDisruptionBudget
	eventually(t, what, func() error {
		b, err := c.PolicyV1().PodDisruptionBudgets(ns).Get(t.Context(), "pdb", metav1.GetOptions{})
		if err == nil && !ok(&b.Status) {
			err = fmt.Errorf("status %+v", b.Status)
		}
		last = b
		return err
	})
	return last
}

func pdb(spec string) string {
	return `{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"pdb"},"spec":{"selector":{},` + spec + `}}`
}

// budgets: evictions are allowed as long as enough pods stay healthy.
func budgets(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.kubectl(t, ns, "", "scale", "deployment/web", "--replicas=3")
	c.kubectl(t, ns, pdb(`"maxUnavailable":1`), "apply", "-f", "-")
	allowed := func(s *policyv1.PodDisruptionBudgetStatus) bool {
		return s.DisruptionsAllowed == 1 && s.CurrentHealthy == 3 && s.DesiredHealthy == 2 && s.ExpectedPods == 3 && s.ObservedGeneration == 1
	}
	b := c.budget(t, ns, "one allowed", allowed)
	if x := meta.FindStatusCondition(b.Status.Conditions, policyv1.DisruptionAllowedCondition); x == nil || x.Status != metav1.ConditionTrue || x.Reason != policyv1.SufficientPodsReason {
		t.Errorf("conditions %+v", b.Status.Conditions)
	}
	pods, err := c.pods(t.Context(), ns, "")
	if err != nil || len(pods) < 3 {
		t.Fatalf("%d pods, error %v", len(pods), err)
	}
	// A pod that can't get ready takes the place of one that is: no more.
	c.kubectl(t, ns, "", "annotate", "pod/"+pods[0].Name, unreadyKey+"=")
	p, err := c.CoreV1().Pods(ns).Get(t.Context(), pods[0].Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Status.Conditions {
		p.Status.Conditions[i].Status = corev1.ConditionFalse
	}
	p.ResourceVersion = ""
	if _, err := c.CoreV1().Pods(ns).UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.budget(t, ns, "none allowed", func(s *policyv1.PodDisruptionBudgetStatus) bool {
		return s.DisruptionsAllowed == 0 && s.CurrentHealthy == 2
	})
	evict := func(pod string) error {
		return c.PolicyV1().Evictions(ns).Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: pod}})
	}
	if err := evict(pods[1].Name); !apierrors.IsTooManyRequests(err) {
		t.Errorf("an eviction beyond the budget: %v", err)
	}
	c.kubectl(t, ns, "", "delete", "pod/"+pods[0].Name)
	c.budget(t, ns, "one allowed again", allowed)
	if err := evict(pods[1].Name); err != nil {
		t.Error(err)
	}
	c.budget(t, ns, "one allowed once it is replaced", func(s *policyv1.PodDisruptionBudgetStatus) bool { return allowed(s) && len(s.DisruptedPods) == 0 })
}

// budgetScales: how many pods there should be is asked of whatever controls
// them, by its scale.
func budgetScales(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	own := func(name, apiVersion, kind, owner, uid string) {
		t.Helper()
		c.kubectl(t, ns, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"labels":{"a":"b"},"ownerReferences":[{"apiVersion":%q,"kind":%q,"name":%q,"uid":%q,"controller":true}]},
			"spec":{"containers":[{"name":"c","image":"x"}]}}`, name, apiVersion, kind, owner, uid), "apply", "-f", "-")
	}
	uid := func(what string) string { return c.kubectl(t, ns, "", "get", what, "-o=jsonpath={.metadata.uid}") }
	// The pod of a deployment without a replica set between.
	c.kubectl(t, ns, web, "apply", "-f", "-")
	own("one", "apps/v1", "Deployment", "web", uid("deployment/web"))
	c.kubectl(t, ns, `{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"pdb"},"spec":{"selector":{"matchLabels":{"a":"b"}},"maxUnavailable":"30%"}}`, "apply", "-f", "-")
	c.budget(t, ns, "four wanted", func(s *policyv1.PodDisruptionBudgetStatus) bool {
		return s.ExpectedPods == 4 && s.DesiredHealthy == 2 && s.CurrentHealthy == 1 && s.DisruptionsAllowed == 0
	})
	// What has no number to keep can't be asked.
	c.kubectl(t, ns, "", "create", "cronjob", "cron", "--image=x", "--schedule=0 0 1 1 *")
	own("two", "batch/v1", "CronJob", "cron", uid("cronjob/cron"))
	b := c.budget(t, ns, "failure", func(s *policyv1.PodDisruptionBudgetStatus) bool {
		x := meta.FindStatusCondition(s.Conditions, policyv1.DisruptionAllowedCondition)
		return x != nil && x.Reason == policyv1.SyncFailedReason
	})
	const want = "cronjobs.batch does not implement the scale subresource"
	if x := meta.FindStatusCondition(b.Status.Conditions, policyv1.DisruptionAllowedCondition); x.Message != want || b.Status.DisruptionsAllowed != 0 {
		t.Errorf("status %+v", b.Status)
	}
	c.event(t, ns, "pdb", "controllermanager", "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: "+want)
}
