package job

import (
	"cmp"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/pod"
)

// ending is how a job ends.
type ending struct {
	well            bool
	reason, message string
}

// outcome is the end that the status announces already, or that a pod brings.
func (p *planner) outcome() *ending {
	s := &p.plan.Status
	if c := find(s, batchv1.JobFailureTarget); c != nil && c.Status == corev1.ConditionTrue {
		return &ending{reason: c.Reason, message: c.Message}
	}
	if c := find(s, batchv1.JobSuccessCriteriaMet); c != nil && c.Status == corev1.ConditionTrue {
		return &ending{well: true, reason: c.Reason, message: c.Message}
	}
	for _, v := range p.pods {
		if w := p.verdicts[v.UID]; w.action == batchv1.PodFailurePolicyActionFailJob && tracked(v) {
			return &ending{reason: batchv1.JobReasonPodFailurePolicy, message: w.message}
		}
	}
	return nil
}

// outcomeOfCounts is the end that counts and times bring.
func (p *planner) outcomeOfCounts() *ending {
	spec := &p.job.Spec
	switch {
	case p.pastBackoffLimit():
		return &ending{reason: batchv1.JobReasonBackoffLimitExceeded, message: "Job has reached the specified backoff limit"}
	case p.pastDeadline():
		return &ending{reason: batchv1.JobReasonDeadlineExceeded, message: "Job was active longer than specified deadline"}
	}
	if p.indexed {
		if spec.MaxFailedIndexes != nil && len(p.failed) > int(*spec.MaxFailedIndexes) {
			return &ending{reason: batchv1.JobReasonMaxFailedIndexesExceeded, message: "Job has exceeded the specified maximal number of failed indexes"}
		}
		if len(p.failed) > 0 && len(p.failed)+len(p.completed) >= p.completions {
			return &ending{reason: batchv1.JobReasonFailedIndexes, message: "Job has failed indexes"}
		}
		// What ends the job badly goes before its success policy.
		if message, ok := succeeds(spec.SuccessPolicy, p.completions, p.completed); ok {
			return &ending{well: true, reason: batchv1.JobReasonSuccessPolicy, message: message}
		}
	}
	return p.completion()
}

// completion is the ordinary good end. A job without a number of completions
// is done when one pod has succeeded and the others have ended.
func (p *planner) completion() *ending {
	done := p.succeeded() > 0 && len(p.active) == 0
	if p.job.Spec.Completions != nil {
		done = p.succeeded() >= p.completions && (p.indexed || len(p.active) == 0)
	}
	if !done || p.suspended() && p.completions != 0 {
		return nil
	}
	return &ending{well: true, reason: batchv1.JobReasonCompletionsReached, message: "Reached expected number of succeeded pods"}
}

func (p *planner) pastBackoffLimit() bool {
	limit := int(value(p.job.Spec.BackoffLimit))
	if p.job.Spec.BackoffLimit == nil {
		return false
	}
	if p.failures() > limit {
		return true
	}
	if p.job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		return false
	}
	restarts := 0
	for _, v := range p.active {
		for _, l := range [][]corev1.ContainerStatus{v.Status.InitContainerStatuses, v.Status.ContainerStatuses} {
			for i := range l {
				restarts += int(l[i].RestartCount)
			}
		}
	}
	if limit == 0 {
		return restarts > 0
	}
	return restarts >= limit
}

func (p *planner) pastDeadline() bool {
	seconds, started := p.job.Spec.ActiveDeadlineSeconds, p.plan.Status.StartTime
	if seconds == nil || started == nil || p.suspended() {
		return false
	}
	left := started.Add(time.Duration(*seconds) * time.Second).Sub(p.now)
	p.again(left)
	return left <= 0
}

// report makes the rest of the status. The last condition comes when all pods
// have ended and are counted; until then another announces it.
func (p *planner) report(end *ending) {
	s := &p.plan.Status
	ready, gone := int32(0), map[*corev1.Pod]bool{}
	for _, v := range p.plan.Delete {
		gone[v] = true
	}
	active := int32(0)
	for _, v := range p.active {
		if gone[v] {
			continue
		}
		active++
		if pod.Ready(v) {
			ready++
		}
	}
	terminating := int32(p.terminating + len(p.plan.Delete))
	s.Active, s.Ready, s.Terminating = active, &ready, &terminating
	if end == nil {
		return
	}
	announce, last := batchv1.JobFailureTarget, batchv1.JobFailed
	if end.well {
		announce, last = batchv1.JobSuccessCriteriaMet, batchv1.JobComplete
	}
	if !isTrue(s, announce) {
		p.set(announce, corev1.ConditionTrue, end.reason, end.message)
	}
	u := s.UncountedTerminatedPods
	if active+terminating > 0 || len(u.Succeeded)+len(u.Failed)+len(p.plan.Release) > 0 {
		return
	}
	p.set(last, corev1.ConditionTrue, end.reason, end.message)
	if end.well {
		now := metav1.NewTime(p.now)
		s.CompletionTime = &now
		p.note(corev1.EventTypeNormal, "Completed", "Job completed")
		return
	}
	p.note(corev1.EventTypeWarning, end.reason, cmp.Or(end.message, fmt.Sprintf("Job %s failed", p.job.Name)))
}
