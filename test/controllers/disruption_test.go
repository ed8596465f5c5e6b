package controllers

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
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

const scaled = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"herds.pdb.example"},"spec":{
	"group":"pdb.example","scope":"Namespaced","names":{"plural":"herds","singular":"herd","kind":"Herd"},
	"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"scale":{"specReplicasPath":".spec.size","statusReplicasPath":".status.size"}},
	"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`

// budgetScales: who wants how many pods is asked of any controller.
func budgetScales(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, "", scaled, "apply", "-f", "-")
	eventually(t, "a herd", func() error {
		out, err := c.tryKubectl(t.Context(), ns, `{"apiVersion":"pdb.example/v1","kind":"Herd","metadata":{"name":"herd"},"spec":{"size":7}}`, "apply", "-f", "-")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
	owned := func(name, apiVersion, kind, owner, uid string) {
		t.Helper()
		c.kubectl(t, ns, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"labels":{"a":"b"},"ownerReferences":[{"apiVersion":%q,"kind":%q,"name":%q,"uid":%q,"controller":true}]},
			"spec":{"containers":[{"name":"c","image":"x"}]}}`, name, apiVersion, kind, owner, uid), "apply", "-f", "-")
	}
	owned("one", "pdb.example/v1", "Herd", "herd", c.kubectl(t, ns, "", "get", "herd/herd", "-o=jsonpath={.metadata.uid}"))
	c.kubectl(t, ns, pdb(`"maxUnavailable":"50%"`), "apply", "-f", "-")
	c.budget(t, ns, "seven wanted", func(s *policyv1.PodDisruptionBudgetStatus) bool {
		return s.ExpectedPods == 7 && s.DesiredHealthy == 3 && s.CurrentHealthy == 1 && s.DisruptionsAllowed == 0
	})
	// A job's pods have no number to keep.
	c.kubectl(t, ns, job("", `"parallelism":1,`), "apply", "-f", "-")
	c.job(t, ns, "active", func(j *batchv1.Job) bool { return j.Status.Active == 1 })
	b := c.budget(t, ns, "failure", func(s *policyv1.PodDisruptionBudgetStatus) bool {
		x := meta.FindStatusCondition(s.Conditions, policyv1.DisruptionAllowedCondition)
		return x != nil && x.Reason == policyv1.SyncFailedReason
	})
	if x := meta.FindStatusCondition(b.Status.Conditions, policyv1.DisruptionAllowedCondition); x.Message != "jobs.batch does not implement the scale subresource" {
		t.Errorf("message %q", x.Message)
	}
	c.event(t, ns, "pdb", "controllermanager", "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: jobs.batch does not implement the scale subresource")
	always(t, "no eviction is allowed", 100*time.Millisecond, func() error {
		b, err := c.PolicyV1().PodDisruptionBudgets(ns).Get(t.Context(), "pdb", metav1.GetOptions{})
		if err == nil && b.Status.DisruptionsAllowed != 0 {
			err = fmt.Errorf("%d are", b.Status.DisruptionsAllowed)
		}
		return err
	})
}
