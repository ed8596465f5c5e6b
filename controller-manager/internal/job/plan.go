// Package job runs Jobs to completion: pods that end are counted exactly once,
// through a finalizer that each pod has and is rid of when it is counted.
package job

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/controller-manager/internal/pod"
)

// Note is an event about the job.
type Note struct{ Type, Reason, Message string }

// Plan is what to do for one job, in this order: delete (pods that are not to
// be counted are released first), create, write the status, and then release
// the pods that the status counts.
type Plan struct {
	Delete []*corev1.Pod
	// Uncount releases pods before they are deleted: what is deleted for being
	// one too many has not failed.
	Uncount bool
	// Create are the new pods by index; -1 has none.
	Create  []int
	Status  batchv1.JobStatus
	Release []*corev1.Pod
	Notes   []Note
	Again   time.Duration
}

func (p Plan) String() string {
	var b strings.Builder
	for _, v := range p.Delete {
		fmt.Fprintf(&b, "delete %s counted=%t\n", v.Name, !p.Uncount)
	}
	for _, i := range p.Create {
		fmt.Fprintf(&b, "create %d\n", i)
	}
	s := &p.Status
	fmt.Fprintf(&b, "status active=%d ready=%d terminating=%d succeeded=%d failed=%d", s.Active, value(s.Ready), value(s.Terminating), s.Succeeded, s.Failed)
	if s.CompletedIndexes != "" {
		fmt.Fprintf(&b, " completed=%s", s.CompletedIndexes)
	}
	if s.FailedIndexes != nil && *s.FailedIndexes != "" {
		fmt.Fprintf(&b, " failedIndexes=%s", *s.FailedIndexes)
	}
	if u := s.UncountedTerminatedPods; u != nil && len(u.Succeeded)+len(u.Failed) > 0 {
		fmt.Fprintf(&b, " uncounted=%v/%v", u.Succeeded, u.Failed)
	}
	b.WriteString("\n")
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, "condition %s %s %s %q\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, v := range p.Release {
		fmt.Fprintf(&b, "release %s\n", v.Name)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "event %s %s %q\n", n.Type, n.Reason, n.Message)
	}
	if p.Again > 0 {
		fmt.Fprintf(&b, "again after %s\n", p.Again)
	}
	return b.String()
}

func value[V any](p *V) (v V) {
	if p != nil {
		return *p
	}
	return v
}

// planner is a plan in the making.
type planner struct {
	job  *batchv1.Job
	pods []*corev1.Pod
	now  time.Time

	indexed     bool
	completions int
	completed   indexSet
	failed      indexSet // by backoffLimitPerIndex
	active      []*corev1.Pod
	terminating int
	// verdicts of the podFailurePolicy about failed pods.
	verdicts map[types.UID]verdict
	plan     Plan
}

func plan(j *batchv1.Job, pods []*corev1.Pod, now time.Time) Plan {
	p := &planner{job: j, pods: pods, now: now, verdicts: map[types.UID]verdict{}, failed: indexSet{}, completed: indexSet{}}
	p.indexed = j.Spec.CompletionMode != nil && *j.Spec.CompletionMode == batchv1.IndexedCompletion
	p.completions = int(value(j.Spec.Completions))
	p.plan.Status = *j.Status.DeepCopy()
	if finished(&j.Status) || j.DeletionTimestamp != nil {
		p.releaseAll()
		return p.plan
	}
	p.sort()
	p.start()
	p.settle()
	end := p.outcome() // of what was known, and of what has ended since
	p.count(end)
	if end == nil {
		end = p.outcomeOfCounts()
	}
	if end == nil {
		p.manage()
	} else {
		p.plan.Delete = p.active
	}
	p.report(end)
	return p.plan
}

func finished(s *batchv1.JobStatus) bool {
	return isTrue(s, batchv1.JobComplete) || isTrue(s, batchv1.JobFailed)
}

func find(s *batchv1.JobStatus, t batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

func isTrue(s *batchv1.JobStatus, t batchv1.JobConditionType) bool {
	c := find(s, t)
	return c != nil && c.Status == corev1.ConditionTrue
}

func tracked(v *corev1.Pod) bool { return slices.Contains(v.Finalizers, batchv1.JobTrackingFinalizer) }

// releaseAll lets go of the pods of a job that is over.
func (p *planner) releaseAll() {
	for _, v := range p.pods {
		if tracked(v) {
			p.plan.Release = append(p.plan.Release, v)
		}
	}
}

func (p *planner) suspended() bool { return value(p.job.Spec.Suspend) }

// sort looks at the pods.
func (p *planner) sort() {
	for _, v := range p.pods {
		switch {
		case pod.Active(v):
			p.active = append(p.active, v)
		case pod.Terminating(v):
			p.terminating++
		}
		if v.Status.Phase == corev1.PodFailed {
			p.verdicts[v.UID] = judge(p.job.Spec.PodFailurePolicy, v)
		}
	}
	if p.indexed {
		p.completed = parseIndexes(p.job.Status.CompletedIndexes, p.completions)
		p.failed = parseIndexes(value(p.job.Status.FailedIndexes), p.completions)
	}
}

// start notes the time from which the job runs; a suspended one has none.
func (p *planner) start() {
	s := &p.plan.Status
	c := find(s, batchv1.JobSuspended)
	was := c != nil && c.Status == corev1.ConditionTrue
	switch {
	case p.suspended() && !was:
		p.set(batchv1.JobSuspended, corev1.ConditionTrue, "JobSuspended", "Job suspended")
		p.note(corev1.EventTypeNormal, "Suspended", "Job suspended")
		// It may change while the job is suspended only: resuming sets it anew.
		s.StartTime = nil
	case !p.suspended() && was:
		p.set(batchv1.JobSuspended, corev1.ConditionFalse, "JobResumed", "Job resumed")
		p.note(corev1.EventTypeNormal, "Resumed", "Job resumed")
		if s.StartTime == nil {
			now := metav1.NewTime(p.now)
			s.StartTime = &now
		}
	case !p.suspended() && s.StartTime == nil:
		now := metav1.NewTime(p.now)
		s.StartTime = &now
	}
}

func (p *planner) note(kind, reason, message string) {
	p.plan.Notes = append(p.plan.Notes, Note{kind, reason, message})
}

// set replaces a condition, or adds one.
func (p *planner) set(t batchv1.JobConditionType, status corev1.ConditionStatus, reason, message string) {
	now := metav1.NewTime(p.now)
	c := batchv1.JobCondition{Type: t, Status: status, LastProbeTime: now, LastTransitionTime: now, Reason: reason, Message: message}
	if have := find(&p.plan.Status, t); have != nil {
		*have = c
		return
	}
	p.plan.Status.Conditions = append(p.plan.Status.Conditions, c)
}

func (p *planner) again(d time.Duration) {
	if d > 0 && (p.plan.Again == 0 || d < p.plan.Again) {
		p.plan.Again = d
	}
}

func sameStatus(a, b *batchv1.JobStatus) bool { return apiequality.Semantic.DeepEqual(a, b) }
