// Package cronjob makes a Job at each moment of a schedule.
package cronjob

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/batch"
)

// note is an event about the cron job.
type note struct{ kind, reason, message string }

// Plan is what is to be done now.
type Plan struct {
	// At is the moment that a job is made for; zero for none.
	At time.Time
	// Delete are jobs that are too old to keep, or replaced.
	Delete []*batchv1.Job
	Status batchv1.CronJobStatus
	Notes  []note
	// Look says when to look again; zero: when something changes.
	Look time.Time
}

// String prints a plan for people and golden tests.
func (p *Plan) String() string {
	var b strings.Builder
	for _, j := range p.Delete {
		fmt.Fprintf(&b, "delete %s\n", j.Name)
	}
	if !p.At.IsZero() {
		fmt.Fprintf(&b, "create for %s\n", p.At.UTC().Format(time.RFC3339))
	}
	for _, a := range p.Status.Active {
		fmt.Fprintf(&b, "active %s\n", a.Name)
	}
	if t := p.Status.LastSuccessfulTime; t != nil {
		fmt.Fprintf(&b, "last success %s\n", t.UTC().Format(time.RFC3339))
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "%s %s: %s\n", n.kind, n.reason, n.message)
	}
	if !p.Look.IsZero() {
		fmt.Fprintf(&b, "look at %s\n", p.Look.UTC().Format(time.RFC3339))
	}
	return b.String()
}

func (p *Plan) note(kind, reason, format string, args ...any) {
	p.Notes = append(p.Notes, note{kind, reason, fmt.Sprintf(format, args...)})
}

// finished tells how a job ended.
func finished(j *batchv1.Job) (batchv1.JobConditionType, bool) {
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return c.Type, true
		}
	}
	return "", false
}

// plan decides, from a cron job and the jobs that it controls.
func plan(c *batchv1.CronJob, jobs []*batchv1.Job, now time.Time) *Plan {
	p := &Plan{Status: *c.Status.DeepCopy()}
	jobs = slices.SortedFunc(slices.Values(jobs), func(a, b *batchv1.Job) int {
		return cmp.Or(started(a).Compare(started(b)), cmp.Compare(a.Name, b.Name))
	})
	p.observe(jobs)
	p.trim(jobs, batchv1.JobComplete, c.Spec.SuccessfulJobsHistoryLimit)
	p.trim(jobs, batchv1.JobFailed, c.Spec.FailedJobsHistoryLimit)
	if c.DeletionTimestamp == nil && (c.Spec.Suspend == nil || !*c.Spec.Suspend) {
		p.schedule(c, jobs, now)
	}
	return p
}

func started(j *batchv1.Job) time.Time {
	if j.Status.StartTime != nil {
		return j.Status.StartTime.Time
	}
	return j.CreationTimestamp.Time
}

// observe brings the list of active jobs up to date.
func (p *Plan) observe(jobs []*batchv1.Job) {
	byUID := map[types.UID]*batchv1.Job{}
	for _, j := range jobs {
		byUID[j.UID] = j
		how, done := finished(j)
		listed := p.lists(j)
		switch {
		case !done && !listed:
			// Made by a call whose answer was lost; or by hand, and then the
			// policy about jobs at work is not about it.
			p.note(corev1.EventTypeWarning, "UnexpectedJob", "Saw a job that the controller did not create or forgot: %s", j.Name)
			if j.Annotations[scheduledAt] != "" {
				p.Status.Active = append(p.Status.Active, reference(j))
			}
		case done && listed:
			p.note(corev1.EventTypeNormal, "SawCompletedJob", "Saw completed job: %s, condition: %v", j.Name, how)
		}
		if at := j.Status.CompletionTime; done && how == batchv1.JobComplete && at != nil && (p.Status.LastSuccessfulTime == nil || p.Status.LastSuccessfulTime.Before(at)) {
			p.Status.LastSuccessfulTime = at.DeepCopy()
		}
	}
	p.Status.Active = slices.DeleteFunc(p.Status.Active, func(r corev1.ObjectReference) bool {
		j, ok := byUID[r.UID]
		if !ok {
			p.note(corev1.EventTypeNormal, "MissingJob", "Active job went missing: %v", r.Name)
			return true
		}
		_, done := finished(j)
		return done
	})
}

// lists reports whether a job is among the active ones.
func (p *Plan) lists(j *batchv1.Job) bool {
	return slices.ContainsFunc(p.Status.Active, func(r corev1.ObjectReference) bool { return r.UID == j.UID })
}

func reference(j *batchv1.Job) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Job", APIVersion: "batch/v1", Namespace: j.Namespace, Name: j.Name, UID: j.UID, ResourceVersion: j.ResourceVersion}
}

// trim deletes the oldest finished jobs of a kind beyond the limit.
func (p *Plan) trim(jobs []*batchv1.Job, how batchv1.JobConditionType, limit *int32) {
	if limit == nil {
		return
	}
	var done []*batchv1.Job
	for _, j := range jobs {
		if c, ok := finished(j); ok && c == how && j.DeletionTimestamp == nil {
			done = append(done, j)
		}
	}
	if n := len(done) - int(*limit); n > 0 {
		p.Delete = append(p.Delete, done[:n]...)
	}
}

// zoned is the schedule in its time zone.
func zoned(c *batchv1.CronJob) (schedule, *time.Location, error) {
	s, err := batch.ParseSchedule(c.Spec.Schedule)
	if err != nil {
		return nil, nil, err
	}
	if c.Spec.TimeZone == nil {
		return s, time.Local, nil
	}
	zone, err := time.LoadLocation(*c.Spec.TimeZone)
	return s, zone, err
}

// slack is how long after a moment to look, so that it has surely come.
const slack = 100 * time.Millisecond

func (p *Plan) schedule(c *batchv1.CronJob, jobs []*batchv1.Job, now time.Time) {
	s, zone, err := zoned(c)
	if s == nil {
		p.note(corev1.EventTypeWarning, "UnparseableSchedule", "unparseable schedule: %q : %s", c.Spec.Schedule, err)
		return
	}
	if err != nil {
		p.note(corev1.EventTypeWarning, "UnknownTimeZone", "invalid timeZone: %q: %s", *c.Spec.TimeZone, err)
		return
	}
	now = now.In(zone)
	since := c.CreationTimestamp.Time
	if c.Status.LastScheduleTime != nil {
		since = c.Status.LastScheduleTime.Time
	}
	deadline := time.Duration(-1)
	if d := c.Spec.StartingDeadlineSeconds; d != nil {
		deadline = time.Duration(*d) * time.Second
		if begin := now.Add(-deadline); begin.After(since) {
			since = begin
		}
	}
	if next := s.Next(now); !next.IsZero() {
		p.Look = next.Add(slack)
	}
	at, missed := latest(s, since.In(zone), now)
	if at.IsZero() {
		return
	}
	if missed > manyMissed {
		p.note(corev1.EventTypeWarning, "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	}
	if deadline >= 0 && at.Add(deadline).Before(now) {
		p.note(corev1.EventTypeWarning, "MissSchedule", "Missed scheduled time to start a job: %s", at.UTC().Format(time.RFC1123Z))
		return
	}
	p.start(c, jobs, at)
}

// start makes a job for a moment, if the policy lets it.
func (p *Plan) start(c *batchv1.CronJob, jobs []*batchv1.Job, at time.Time) {
	if slices.ContainsFunc(jobs, func(j *batchv1.Job) bool { return j.Name == jobName(c, at) }) {
		// It is there: its status was not written.
		p.Status.LastScheduleTime = &metav1.Time{Time: at}
		return
	}
	switch {
	case len(p.Status.Active) == 0:
	case c.Spec.ConcurrencyPolicy == batchv1.ForbidConcurrent:
		p.note(corev1.EventTypeNormal, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid")
		return
	case c.Spec.ConcurrencyPolicy == batchv1.ReplaceConcurrent:
		for _, j := range jobs {
			if _, done := finished(j); !done && p.lists(j) {
				p.Delete = append(p.Delete, j)
			}
		}
		p.Status.Active = nil
	}
	p.At = at
}

// jobName is the same for the same moment, so that a job is never made twice.
func jobName(c *batchv1.CronJob, at time.Time) string {
	return fmt.Sprintf("%s-%d", c.Name, at.Unix()/60)
}

// scheduledAt is the annotation with a job's moment.
const scheduledAt = "batch.kubernetes.io/cronjob-scheduled-timestamp"

func newJob(c *batchv1.CronJob, at time.Time) *batchv1.Job {
	t := c.Spec.JobTemplate.DeepCopy()
	j := &batchv1.Job{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
	j.Namespace, j.Name = c.Namespace, jobName(c, at)
	if j.Annotations == nil {
		j.Annotations = map[string]string{}
	}
	if c.Spec.TimeZone == nil {
		at = at.UTC()
	}
	j.Annotations[scheduledAt] = at.Format(time.RFC3339)
	j.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(c, batchv1.SchemeGroupVersion.WithKind("CronJob"))}
	return j
}
