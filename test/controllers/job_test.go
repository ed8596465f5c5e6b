package controllers

import (
	"fmt"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// job is one whose pods end with a code, or run when exit is empty.
func job(exit, extra string) string {
	annotations := ""
	if exit != "" {
		annotations = fmt.Sprintf(`"annotations":{"test/exit":%q}`, exit)
	}
	return fmt.Sprintf(`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"job"},"spec":{%s"template":{"metadata":{%s},
		"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"x"}]}}}}`, extra, annotations)
}

func (c *cluster) job(t testing.TB, ns, what string, ok func(j *batchv1.Job) bool) *batchv1.Job {
	t.Helper()
	var last *batchv1.Job
	eventually(t, what, func() error {
		j, err := c.BatchV1().Jobs(ns).Get(t.Context(), "job", metav1.GetOptions{})
		if err == nil && !ok(j) {
			err = fmt.Errorf("status %+v", j.Status)
		}
		last = j
		return err
	})
	return last
}

func jobCondition(j *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range j.Status.Conditions {
		if c := &j.Status.Conditions[i]; c.Type == kind && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

func (c *cluster) ends(t testing.TB, ns string, kind batchv1.JobConditionType, reason string) *batchv1.Job {
	t.Helper()
	j := c.job(t, ns, string(kind), func(j *batchv1.Job) bool { return jobCondition(j, kind) != nil })
	if got := jobCondition(j, kind).Reason; got != reason {
		t.Errorf("%s for %s, want %s", kind, got, reason)
	}
	if j.Status.Active != 0 || *j.Status.Terminating != 0 || len(j.Status.UncountedTerminatedPods.Failed)+len(j.Status.UncountedTerminatedPods.Succeeded) > 0 {
		t.Errorf("status of a finished job: %+v", j.Status)
	}
	// No pod is held any more.
	eventually(t, "released pods", func() error {
		pods, err := c.pods(t.Context(), ns, "job-name=job")
		for i := range pods {
			if slices.Contains(pods[i].Finalizers, batchv1.JobTrackingFinalizer) {
				return fmt.Errorf("%s is held", pods[i].Name)
			}
		}
		return err
	})
	return j
}

func jobCompletes(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, job("0", `"completions":20,"parallelism":5,`), "apply", "-f", "-")
	c.kubectl(t, ns, "", "wait", "--for=condition=complete", "job/job", "--timeout=60s")
	j := c.ends(t, ns, batchv1.JobComplete, "CompletionsReached")
	if j.Status.Succeeded != 20 || j.Status.Failed != 0 || j.Status.CompletionTime == nil || j.Status.StartTime == nil {
		t.Errorf("status %+v", j.Status)
	}
	if jobCondition(j, batchv1.JobSuccessCriteriaMet) == nil {
		t.Error("SuccessCriteriaMet is missing")
	}
	c.count(t, ns, "job-name=job", 20)
	c.event(t, ns, "job", "job-controller", "Completed", "Job completed")
}

func jobFails(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, job("1", `"backoffLimit":0,"completions":2,"parallelism":2,`), "apply", "-f", "-")
	j := c.ends(t, ns, batchv1.JobFailed, "BackoffLimitExceeded")
	if j.Status.Failed != 2 || jobCondition(j, batchv1.JobFailureTarget) == nil {
		t.Errorf("status %+v", j.Status)
	}
	c.event(t, ns, "job", "job-controller", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
	ns = c.namespace(t)
	c.kubectl(t, ns, job("", `"activeDeadlineSeconds":1,`), "apply", "-f", "-")
	c.ends(t, ns, batchv1.JobFailed, "DeadlineExceeded")
	c.count(t, ns, "job-name=job", 0)
}

func jobIndexes(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, job("", `"completionMode":"Indexed","completions":4,"parallelism":2,"backoffLimitPerIndex":0,"maxFailedIndexes":4,`), "apply", "-f", "-")
	end := func(index, code int) {
		t.Helper()
		eventually(t, fmt.Sprintf("pod of index %d", index), func() error {
			pods, err := c.pods(t.Context(), ns, fmt.Sprintf("batch.kubernetes.io/job-completion-index=%d", index))
			if err != nil || len(pods) != 1 {
				return fmt.Errorf("%d pods, error %w", len(pods), err)
			}
			p := &pods[0]
			if p.Spec.Hostname != fmt.Sprintf("job-%d", index) || p.Annotations["batch.kubernetes.io/job-completion-index"] != fmt.Sprint(index) {
				t.Errorf("pod of index %d: hostname %s, annotations %v", index, p.Spec.Hostname, p.Annotations)
			}
			if !slices.ContainsFunc(p.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "JOB_COMPLETION_INDEX" }) {
				t.Errorf("pod of index %d does not know it: %v", index, p.Spec.Containers[0].Env)
			}
			c.kubectl(t, ns, "", "annotate", "pod/"+p.Name, fmt.Sprintf("test/exit=%d", code))
			return nil
		})
	}
	end(0, 0)
	end(1, 1)
	end(2, 0)
	end(3, 0)
	j := c.ends(t, ns, batchv1.JobFailed, "FailedIndexes")
	if j.Status.CompletedIndexes != "0,2,3" || j.Status.FailedIndexes == nil || *j.Status.FailedIndexes != "1" || j.Status.Succeeded != 3 || j.Status.Failed != 1 {
		t.Errorf("status %+v", j.Status)
	}
}

func jobSuspends(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, job("", `"parallelism":2,"completions":2,"suspend":true,`), "apply", "-f", "-")
	j := c.job(t, ns, "suspended", func(j *batchv1.Job) bool { return jobCondition(j, batchv1.JobSuspended) != nil })
	if j.Status.StartTime != nil {
		t.Error("a job that never ran has a start time")
	}
	c.kubectl(t, ns, "", "patch", "job/job", "-p", `{"spec":{"suspend":false}}`)
	c.job(t, ns, "two active", func(j *batchv1.Job) bool {
		return j.Status.Active == 2 && j.Status.StartTime != nil && *j.Status.Ready == 2
	})
	c.kubectl(t, ns, "", "patch", "job/job", "-p", `{"spec":{"suspend":true}}`)
	c.count(t, ns, "job-name=job", 0)
	j = c.job(t, ns, "none active", func(j *batchv1.Job) bool { return j.Status.Active == 0 && jobCondition(j, batchv1.JobSuspended) != nil })
	if j.Status.Failed != 0 {
		t.Errorf("suspending failed %d pods", j.Status.Failed)
	}
	c.kubectl(t, ns, "", "patch", "job/job", "-p", `{"spec":{"suspend":false}}`)
	c.job(t, ns, "two active again", func(j *batchv1.Job) bool { return j.Status.Active == 2 })
	for _, n := range c.podNames(t, ns, "job-name=job") {
		c.kubectl(t, ns, "", "annotate", "pod/"+n, "test/exit=0")
	}
	c.ends(t, ns, batchv1.JobComplete, "CompletionsReached")
}

func jobPolicies(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, job("42", `"podFailurePolicy":{"rules":[{"action":"Ignore","onPodConditions":[{"type":"DisruptionTarget"}]},
		{"action":"FailJob","onExitCodes":{"operator":"In","values":[42]}}]},`), "apply", "-f", "-")
	j := c.ends(t, ns, batchv1.JobFailed, "PodFailurePolicy")
	pod := c.podNames(t, ns, "job-name=job")[0]
	want := fmt.Sprintf("Container c for pod %s/%s failed with exit code 42 matching FailJob rule at index 1", ns, pod)
	if got := jobCondition(j, batchv1.JobFailed).Message; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	ns = c.namespace(t)
	c.kubectl(t, ns, job("", `"completionMode":"Indexed","completions":3,"parallelism":3,"successPolicy":{"rules":[{"succeededIndexes":"1"}]},`), "apply", "-f", "-")
	c.count(t, ns, "job-name=job", 3)
	c.job(t, ns, "three ready", func(j *batchv1.Job) bool { return j.Status.Ready != nil && *j.Status.Ready == 3 })
	pods, err := c.pods(t.Context(), ns, "batch.kubernetes.io/job-completion-index=1")
	if err != nil || len(pods) != 1 {
		t.Fatalf("%d pods of index 1, error %v", len(pods), err)
	}
	c.kubectl(t, ns, "", "annotate", "pod/"+pods[0].Name, "test/exit=0")
	j = c.ends(t, ns, batchv1.JobComplete, "SuccessPolicy")
	if j.Status.Succeeded != 1 || j.Status.CompletedIndexes != "1" {
		t.Errorf("status %+v", j.Status)
	}
}

// jobDeleted: what a deleted job leaves is not held by it.
func jobDeleted(t *testing.T, c *cluster) {
	for _, mode := range []string{"background", "foreground", "orphan"} {
		ns := c.namespace(t)
		c.kubectl(t, ns, job("", `"parallelism":3,`), "apply", "-f", "-")
		c.job(t, ns, "three active", func(j *batchv1.Job) bool { return j.Status.Active == 3 })
		c.kubectl(t, ns, "", "delete", "job/job", "--cascade="+mode)
		if mode != "orphan" {
			c.count(t, ns, "job-name=job", 0)
			continue
		}
		eventually(t, "released orphans", func() error {
			pods, err := c.pods(t.Context(), ns, "job-name=job")
			for i := range pods {
				if len(pods[i].Finalizers)+len(pods[i].OwnerReferences) > 0 {
					return fmt.Errorf("%s has finalizers %v and owners %v", pods[i].Name, pods[i].Finalizers, pods[i].OwnerReferences)
				}
			}
			if err == nil && len(pods) != 3 {
				err = fmt.Errorf("%d pods", len(pods))
			}
			return err
		})
		always(t, "orphans stay", 300*time.Millisecond, func() error {
			if n := len(c.podNames(t, ns, "job-name=job")); n != 3 {
				return fmt.Errorf("%d pods", n)
			}
			return nil
		})
	}
}
