package job

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

func newJob() *batchv1.Job {
	parallel, completions, limit := int32(1), int32(1), int32(6)
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "job", UID: "job"},
		Spec:       batchv1.JobSpec{Parallelism: &parallel, Completions: &completions, BackoffLimit: &limit, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever}}},
	}
}

func readJob(t *testing.T, j *batchv1.Job, pairs map[string]string) {
	for k, v := range pairs {
		switch k {
		case "parallelism":
			*j.Spec.Parallelism = podtest.Int(t, v)
		case "completions":
			*j.Spec.Completions = podtest.Int(t, v)
		case "queue":
			j.Spec.Completions = nil
		case "indexed":
			m := batchv1.IndexedCompletion
			j.Spec.CompletionMode = &m
		case "backoff":
			*j.Spec.BackoffLimit = podtest.Int(t, v)
		case "perIndex":
			n := podtest.Int(t, v)
			j.Spec.BackoffLimitPerIndex = &n
		case "maxFailed":
			n := podtest.Int(t, v)
			j.Spec.MaxFailedIndexes = &n
		case "suspend":
			yes := true
			j.Spec.Suspend = &yes
		case "onlyFailed":
			f := batchv1.Failed
			j.Spec.PodReplacementPolicy = &f
		case "deadline":
			n := int64(podtest.Int(t, v))
			j.Spec.ActiveDeadlineSeconds = &n
		case "started":
			n := podtest.Int(t, v)
			at := metav1.NewTime(podtest.Now.Add(-time.Duration(n) * time.Second))
			j.Status.StartTime = &at
		case "succeeded":
			j.Status.Succeeded = podtest.Int(t, v)
		case "failed":
			j.Status.Failed = podtest.Int(t, v)
		case "completed":
			j.Status.CompletedIndexes = v
		case "failedIndexes":
			j.Status.FailedIndexes = &v
		case "success":
			j.Spec.SuccessPolicy = &batchv1.SuccessPolicy{Rules: []batchv1.SuccessPolicyRule{{SucceededIndexes: &v}}}
		case "deleted":
			at := metav1.NewTime(podtest.Now)
			j.DeletionTimestamp = &at
		}
	}
}

func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		j := newJob()
		var pods []*corev1.Pod
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "job":
				readJob(t, j, pairs)
			case "condition":
				j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{
					Type: batchv1.JobConditionType(words[1]), Status: corev1.ConditionStatus(words[2]), Reason: words[3],
				})
			case "uncounted":
				j.Status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
				for _, w := range words[1:] {
					kind, uid, _ := strings.Cut(w, ":")
					l := &j.Status.UncountedTerminatedPods.Succeeded
					if kind == "failed" {
						l = &j.Status.UncountedTerminatedPods.Failed
					}
					*l = append(*l, types.UID(uid))
				}
			case "rule":
				if j.Spec.PodFailurePolicy == nil {
					j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{}
				}
				r := batchv1.PodFailurePolicyRule{Action: batchv1.PodFailurePolicyAction(words[1])}
				if v := pairs["exit"]; v != "" {
					r.OnExitCodes = &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{podtest.Int(t, v)}}
				} else {
					r.OnPodConditions = []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}
				}
				j.Spec.PodFailurePolicy.Rules = append(j.Spec.PodFailurePolicy.Rules, r)
			case "pod":
				p := podtest.Pod(t, words[1], pairs)
				if pairs["released"] == "" {
					p.Finalizers = []string{batchv1.JobTrackingFinalizer}
				}
				if v := pairs["index"]; v != "" {
					p.Annotations[batchv1.JobCompletionIndexAnnotation] = v
				}
				if v := pairs["failures"]; v != "" {
					p.Annotations[batchv1.JobIndexFailureCountAnnotation] = v
				}
				if pairs["disrupted"] != "" {
					p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue})
				}
				pods = append(pods, p)
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		return plan(j, pods, podtest.Now).String()
	})
}

func TestIndexes(t *testing.T) {
	for text, want := range map[string]string{"": "", "0": "0", "0,1": "0,1", "0-2": "0-2", "5-7,9": "5-7,9", "0-1,2": "0-2", "8-12": "8,9", "x,1": "1"} {
		if got := parseIndexes(text, 10).String(); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// TestCountsOnce: whatever happens in between — the manager dies after any of
// its writes, pods are seen late — each pod is counted once.
func TestCountsOnce(t *testing.T) {
	j := newJob()
	*j.Spec.Completions, *j.Spec.Parallelism = 5, 5
	pods := map[types.UID]*corev1.Pod{}
	list := func() (out []*corev1.Pod) {
		for _, p := range pods {
			out = append(out, p)
		}
		return out
	}
	n := 0
	for step := 0; step < 200 && !finished(&j.Status); step++ {
		p := plan(j, list(), podtest.Now.Add(time.Duration(step)*time.Hour))
		for _, i := range p.Create {
			n++
			v := newPod(j, i, nil)
			v.Name, v.UID = string(rune('a'+n)), types.UID(rune('a'+n))
			v.Status.Phase = corev1.PodRunning
			pods[v.UID] = v
		}
		if step%3 == 1 {
			continue // it died before the status
		}
		j.Status = p.Status
		for k, v := range p.Release {
			if step%5 == 2 && k%2 == 1 {
				continue // it died amid the releases
			}
			v.Finalizers = nil
			if step%2 == 0 {
				delete(pods, v.UID) // and was deleted at once
			}
		}
		for _, v := range list() {
			if v.Status.Phase == corev1.PodRunning {
				v.Status.Phase = corev1.PodSucceeded
				break
			}
		}
	}
	if !isTrue(&j.Status, batchv1.JobComplete) || j.Status.Succeeded != 5 || j.Status.Failed != 0 {
		t.Errorf("status %+v", j.Status)
	}
}
