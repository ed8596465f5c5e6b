package batch

import (
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/internalform"
)

func isTrue(s *batchv1.JobStatus, t batchv1.JobConditionType) bool {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return s.Conditions[i].Status == corev1.ConditionTrue
		}
	}
	return false
}

func isFinished(s *batchv1.JobStatus) bool {
	return isTrue(s, batchv1.JobComplete) || isTrue(s, batchv1.JobFailed)
}

// statusChange is a job with its status before. A rule holds when something it
// speaks of has changed: older servers let more pass, and what they stored has
// to stay writable.
type statusChange struct {
	spec                                       *batchv1.JobSpec
	now, old                                   *batchv1.JobStatus
	complete, failed, failureTarget, criteria  bool // changed
	startTime, completionTime                  bool
	active, ready, terminating, uncounted      bool
	completedIndexes, failedIndexes            bool
	isComplete, isFailed, isTarget, isCriteria bool // now
}

func newStatusChange(j, old *batchv1.Job) *statusChange {
	n, o := &j.Status, &old.Status
	changed := func(t batchv1.JobConditionType) bool { return isTrue(n, t) != isTrue(o, t) }
	return &statusChange{
		spec: &j.Spec, now: n, old: o,
		complete:         changed(batchv1.JobComplete),
		failed:           changed(batchv1.JobFailed),
		failureTarget:    changed(batchv1.JobFailureTarget),
		criteria:         changed(batchv1.JobSuccessCriteriaMet),
		startTime:        !n.StartTime.Equal(o.StartTime),
		completionTime:   !n.CompletionTime.Equal(o.CompletionTime),
		active:           n.Active != o.Active,
		ready:            valueOf(n.Ready) != valueOf(o.Ready),
		terminating:      valueOf(n.Terminating) != valueOf(o.Terminating),
		uncounted:        !apiequality.Semantic.DeepEqual(n.UncountedTerminatedPods, o.UncountedTerminatedPods),
		completedIndexes: n.CompletedIndexes != o.CompletedIndexes,
		failedIndexes:    valueOf(n.FailedIndexes) != valueOf(o.FailedIndexes) || (n.FailedIndexes == nil) != (o.FailedIndexes == nil),
		isComplete:       isTrue(n, batchv1.JobComplete),
		isFailed:         isTrue(n, batchv1.JobFailed),
		isTarget:         isTrue(n, batchv1.JobFailureTarget),
		isCriteria:       isTrue(n, batchv1.JobSuccessCriteriaMet),
	}
}

func validateJobStatusUpdate(j, old *batchv1.Job) field.ErrorList {
	errs := jobMetadata.ValidateMetadataUpdate(j, old)
	c := newStatusChange(j, old)
	errs = append(errs, validateStatusCounts(&j.Status)...)
	errs = append(errs, c.outcome()...)
	errs = append(errs, c.finished()...)
	errs = append(errs, c.indexes()...)
	if c.now.Ready != nil && *c.now.Ready > c.now.Active && (c.ready || c.active) {
		errs = append(errs, field.Invalid(statusPath.Child("ready"), *c.now.Ready, "cannot set more ready pods than active"))
	}
	errs = append(errs, c.success()...)
	errs = append(errs, c.counters()...)
	errs = append(errs, c.lasting()...)
	return append(errs, c.times()...)
}

func validateStatusCounts(s *batchv1.JobStatus) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, nonnegative(&s.Active, statusPath, "active")...)
	errs = append(errs, nonnegative(&s.Succeeded, statusPath, "succeeded")...)
	errs = append(errs, nonnegative(&s.Failed, statusPath, "failed")...)
	errs = append(errs, nonnegative(s.Ready, statusPath, "ready")...)
	errs = append(errs, nonnegative(s.Terminating, statusPath, "terminating")...)
	if s.UncountedTerminatedPods == nil {
		return errs
	}
	path := statusPath.Child("uncountedTerminatedPods")
	seen := map[types.UID]bool{}
	errs = append(errs, validateUIDs(s.UncountedTerminatedPods.Succeeded, seen, path.Child("succeeded"))...)
	return append(errs, validateUIDs(s.UncountedTerminatedPods.Failed, seen, path.Child("failed"))...)
}

func validateUIDs(uids []types.UID, seen map[types.UID]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, uid := range uids {
		switch {
		case uid == "":
			errs = append(errs, field.Invalid(path.Index(i), uid, "must not be empty"))
		case seen[uid]:
			errs = append(errs, field.Duplicate(path.Index(i), uid))
		}
		seen[uid] = true
	}
	return errs
}

func invalidConditions(text string) *field.Error {
	return field.Invalid(statusPath.Child("conditions"), field.OmitValueType{}, text)
}

// outcome checks that a job does not both succeed and fail, and that the steps
// towards its end have been taken.
func (c *statusChange) outcome() field.ErrorList {
	var errs field.ErrorList
	if c.isComplete && c.isFailed && (c.complete || c.failed) {
		errs = append(errs, invalidConditions("cannot set Complete=True and Failed=true conditions"))
	}
	if c.isComplete && c.isTarget && (c.complete || c.failureTarget) {
		errs = append(errs, invalidConditions("cannot set Complete=True and FailureTarget=true conditions"))
	}
	path, at := statusPath.Child("completionTime"), c.now.CompletionTime
	if at != nil && !c.isComplete && (c.complete || c.completionTime) {
		errs = append(errs, field.Invalid(path, at, "cannot set completionTime when there is no Complete=True condition"))
	}
	if at == nil && c.isComplete && (c.complete || c.completionTime) {
		errs = append(errs, field.Required(path, "completionTime is required for Complete jobs"))
	}
	if at != nil && c.now.StartTime != nil && at.Before(c.now.StartTime) && (c.startTime || c.completionTime) {
		errs = append(errs, field.Invalid(path, at, "completionTime cannot be set before startTime"))
	}
	if c.isFailed && !c.isTarget && (c.failed || c.failureTarget) {
		errs = append(errs, invalidConditions("cannot set Failed=True condition without the FailureTarget=true condition"))
	}
	if c.isComplete && !c.isCriteria && (c.complete || c.criteria) {
		errs = append(errs, invalidConditions("cannot set Complete=True condition without the SuccessCriteriaMet=true condition"))
	}
	return errs
}

// finished checks that nothing of a finished job goes on.
func (c *statusChange) finished() field.ErrorList {
	if !isFinished(c.now) {
		return nil
	}
	ends := c.complete || c.failed
	var errs field.ErrorList
	if c.now.Active > 0 && (ends || c.active) {
		errs = append(errs, field.Invalid(statusPath.Child("active"), c.now.Active, "active>0 is invalid for finished job"))
	}
	if n := valueOf(c.now.Terminating); n > 0 && (ends || c.terminating) {
		errs = append(errs, field.Invalid(statusPath.Child("terminating"), n, "terminating>0 is invalid for finished job"))
	}
	if c.now.StartTime == nil && (ends || c.startTime) && !c.neverStarts() {
		errs = append(errs, field.Required(statusPath.Child("startTime"), "startTime is required for finished job"))
	}
	if u := c.now.UncountedTerminatedPods; u != nil && len(u.Failed)+len(u.Succeeded) > 0 && (ends || c.uncounted) {
		errs = append(errs, field.Invalid(statusPath.Child("uncountedTerminatedPods"), internalform.Of(u), "uncountedTerminatedPods needs to be empty for finished job"))
	}
	return errs
}

// neverStarts is true for a suspended job that needs no pods: it completes
// without having run.
func (c *statusChange) neverStarts() bool {
	return valueOf(c.spec.Suspend) && c.spec.Completions != nil && *c.spec.Completions == 0
}

func (c *statusChange) indexes() field.ErrorList {
	var errs field.ErrorList
	indexed := valueOf(c.spec.CompletionMode) == batchv1.IndexedCompletion
	completed, failed := statusPath.Child("completedIndexes"), statusPath.Child("failedIndexes")
	completions := valueOf(c.spec.Completions)
	if indexed && c.completedIndexes && c.now.CompletedIndexes != "" {
		if _, err := countIndexes(c.now.CompletedIndexes, completions); err != nil {
			errs = append(errs, field.Invalid(completed, c.now.CompletedIndexes, "error parsing completedIndexes: "+err.Error()))
		}
	}
	if indexed && c.failedIndexes && c.spec.BackoffLimitPerIndex != nil && c.now.FailedIndexes != nil {
		if _, err := countIndexes(*c.now.FailedIndexes, completions); err != nil {
			errs = append(errs, field.Invalid(failed, *c.now.FailedIndexes, "error parsing failedIndexes: "+err.Error()))
		}
	}
	if !indexed && c.completedIndexes && c.now.CompletedIndexes != "" {
		errs = append(errs, field.Invalid(completed, c.now.CompletedIndexes, "cannot set non-empty completedIndexes when non-indexed completion mode"))
	}
	if c.spec.BackoffLimitPerIndex == nil && c.failedIndexes && c.now.FailedIndexes != nil {
		errs = append(errs, field.Invalid(failed, *c.now.FailedIndexes, "cannot set non-null failedIndexes when backoffLimitPerIndex is null"))
	}
	if c.spec.BackoffLimitPerIndex != nil && c.now.FailedIndexes != nil && (c.completedIndexes || c.failedIndexes) {
		if i, ok := commonIndex(c.now.CompletedIndexes, *c.now.FailedIndexes, completions); ok {
			errs = append(errs, field.Invalid(failed, *c.now.FailedIndexes, fmt.Sprintf("failedIndexes and completedIndexes overlap at index: %d", i)))
		}
	}
	return errs
}

func (c *statusChange) success() field.ErrorList {
	var errs field.ErrorList
	if c.isCriteria && c.isFailed && (c.criteria || c.failed) {
		errs = append(errs, invalidConditions("cannot set SuccessCriteriaMet=True and Failed=true conditions"))
	}
	if c.isCriteria && c.isTarget && (c.criteria || c.failureTarget) {
		errs = append(errs, invalidConditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"))
	}
	return errs
}

// counters checks what only grows. An indexed job that shrinks forgets the
// successes beyond its end.
func (c *statusChange) counters() field.ErrorList {
	var errs field.ErrorList
	if c.now.Failed < c.old.Failed {
		errs = append(errs, field.Invalid(statusPath.Child("failed"), c.now.Failed, "cannot decrease the failed counter"))
	}
	if c.now.Succeeded < c.old.Succeeded && valueOf(c.spec.CompletionMode) != batchv1.IndexedCompletion {
		errs = append(errs, field.Invalid(statusPath.Child("succeeded"), c.now.Succeeded, "cannot decrease the succeeded counter"))
	}
	return errs
}

// lasting checks that what a job has come to is not taken back.
func (c *statusChange) lasting() field.ErrorList {
	var errs field.ErrorList
	for _, l := range [...]struct {
		kind batchv1.JobConditionType
		text string
	}{
		{batchv1.JobFailed, "cannot disable the terminal Failed=True condition"},
		{batchv1.JobComplete, "cannot disable the terminal Complete=True condition"},
		{batchv1.JobFailureTarget, "cannot disable the FailureTarget=True condition"},
		{batchv1.JobSuccessCriteriaMet, "cannot disable the SuccessCriteriaMet=True condition"},
	} {
		if isTrue(c.old, l.kind) && !isTrue(c.now, l.kind) {
			errs = append(errs, invalidConditions(l.text))
		}
	}
	return errs
}

func (c *statusChange) times() field.ErrorList {
	var errs field.ErrorList
	if c.startTime && c.old.StartTime != nil && !valueOf(c.spec.Suspend) {
		errs = append(errs, field.Invalid(statusPath.Child("startTime"), orNull(c.now.StartTime), "field is immutable for unsuspended job once set"))
	}
	if c.completionTime && c.old.CompletionTime != nil {
		errs = append(errs, field.Invalid(statusPath.Child("completionTime"), orNull(c.now.CompletionTime), apivalidation.FieldImmutableErrorMsg))
	}
	return errs
}

// orNull keeps a nil time from being printed as a pointer's method would.
func orNull(t *metav1.Time) any {
	if t == nil {
		return nil
	}
	return t
}

// conditionStatus finds whether any of the types is true, in that order.
func conditionStatus(s *batchv1.JobStatus, kinds ...batchv1.JobConditionType) (batchv1.JobConditionType, bool) {
	i := slices.IndexFunc(kinds, func(t batchv1.JobConditionType) bool { return isTrue(s, t) })
	if i < 0 {
		return "", false
	}
	return kinds[i], true
}
