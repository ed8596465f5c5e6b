package batch

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
)

func newJob(change func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "j", Namespace: "n", UID: "u"},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers:    []corev1.Container{{Name: "c", Image: "i"}},
		}}},
	}
	if change != nil {
		change(j)
	}
	defaultJob(j)
	prepareJob(scheme.Context{}, j)
	return j
}

func at(minute int) *metav1.Time {
	t := metav1.Date(2026, 1, 1, 0, minute, 0, 0, metav1.Now().Location())
	return &t
}

func indexed(completions int32) func(*batchv1.Job) {
	return func(j *batchv1.Job) {
		setDefault(&j.Spec.CompletionMode, batchv1.IndexedCompletion)
		setDefault(&j.Spec.Completions, completions)
	}
}

func TestJobInvalid(t *testing.T) {
	exitCodes := func(op batchv1.PodFailurePolicyOnExitCodesOperator, values ...int32) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
				Action:      batchv1.PodFailurePolicyActionFailJob,
				OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: op, Values: values},
			}}}
		}
	}
	const codes = "spec.podFailurePolicy.rules[0].onExitCodes"
	for name, c := range map[string]struct {
		change func(*batchv1.Job)
		want   string
	}{
		"valid":             {nil, ""},
		"labels of its own": {func(j *batchv1.Job) { j.Spec.Template.Labels = map[string]string{"a": "b"} }, ""},
		"no values":         {exitCodes("In"), codes + ".values: Invalid value: null: at least one value is required"},
		"zero in":           {exitCodes("In", 0, 1), codes + ".values[0]: Invalid value: 0: must not be 0 for the In operator"},
		"twice":             {exitCodes("In", 1, 1), codes + ".values[1]: Duplicate value: 1"},
		"operator":          {exitCodes("Is", 1), codes + `.operator: Unsupported value: "Is": supported values: "In", "NotIn"`},
		"per index, not indexed": {func(j *batchv1.Job) { setDefault(&j.Spec.BackoffLimitPerIndex, 1) },
			"spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"},
		"too parallel": {func(j *batchv1.Job) { indexed(3)(j); setDefault(&j.Spec.Parallelism, 100001) },
			"spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"},
	} {
		if got := text(validateJob(newJob(c.change))); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestGeneratedLabelsAreTheJobs(t *testing.T) {
	j := newJob(func(j *batchv1.Job) { j.Spec.Template.Labels = map[string]string{"a": "b"} })
	if len(j.Labels) != 5 || j.Labels[batchv1.JobNameLabel] != "j" || j.Labels["a"] != "b" {
		t.Errorf("labels %v", j.Labels)
	}
	j = newJob(func(j *batchv1.Job) { j.Labels = map[string]string{"own": "1"} })
	if len(j.Labels) != 1 {
		t.Errorf("labels %v", j.Labels)
	}
}

func TestJobUpdate(t *testing.T) {
	const immutable = "field is immutable"
	suspended := func(j *batchv1.Job) { setDefault(&j.Spec.Suspend, true) }
	running := func(j *batchv1.Job) {}
	move := func(j *batchv1.Job) { j.Spec.Template.Spec.NodeSelector = map[string]string{"a": "b"} }
	grow := func(j *batchv1.Job) {
		j.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": resource.MustParse("2")}
	}
	image := func(j *batchv1.Job) { j.Spec.Template.Spec.Containers[0].Image = "other" }
	near := func(j *batchv1.Job) {
		j.Spec.Template.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}
	}
	apart := func(j *batchv1.Job) {
		j.Spec.Template.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{}}
	}
	for name, c := range map[string]struct {
		old, status, change func(*batchv1.Job)
		want                string
	}{
		"move a suspended job": {suspended, running, move, ""},
		"move a running job":   {running, running, move, immutable},
		"move a job that ran":  {suspended, func(j *batchv1.Job) { j.Status.StartTime = at(0) }, move, immutable},
		"move a drained job": {suspended, func(j *batchv1.Job) {
			j.Status.StartTime = at(0)
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue}}
		}, move, ""},
		"move a draining job": {suspended, func(j *batchv1.Job) {
			j.Status.StartTime, j.Status.Active = at(0), 1
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue}}
		}, move, immutable},
		"grow a suspended job":      {suspended, running, grow, ""},
		"another image":             {suspended, running, image, immutable},
		"node affinity":             {suspended, running, near, ""},
		"pod affinity":              {suspended, running, apart, immutable},
		"node affinity goes":        {func(j *batchv1.Job) { suspended(j); near(j) }, running, func(j *batchv1.Job) { j.Spec.Template.Spec.Affinity = nil }, ""},
		"pod affinity goes":         {func(j *batchv1.Job) { suspended(j); apart(j) }, running, func(j *batchv1.Job) { j.Spec.Template.Spec.Affinity = nil }, immutable},
		"completions of an indexed": {indexed(3), running, func(j *batchv1.Job) { *j.Spec.Completions, *j.Spec.Parallelism = 5, 5 }, ""},
		"completions alone":         {indexed(3), running, func(j *batchv1.Job) { *j.Spec.Completions = 5 }, "can only be modified in tandem with spec.parallelism"},
	} {
		old := newJob(c.old)
		old.ResourceVersion = "1"
		c.status(old)
		j := old.DeepCopy()
		c.change(j)
		got := text(validateJobUpdate(j, old))
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestJobStatusUpdate(t *testing.T) {
	true_ := func(kinds ...batchv1.JobConditionType) []batchv1.JobCondition {
		var out []batchv1.JobCondition
		for _, k := range kinds {
			out = append(out, batchv1.JobCondition{Type: k, Status: corev1.ConditionTrue})
		}
		return out
	}
	failed := true_(batchv1.JobFailureTarget, batchv1.JobFailed)
	complete := true_(batchv1.JobSuccessCriteriaMet, batchv1.JobComplete)
	one, none := "1", ""
	for name, c := range map[string]struct {
		spec     func(*batchv1.Job)
		old, now batchv1.JobStatus
		want     string
	}{
		"failed":              {nil, batchv1.JobStatus{}, batchv1.JobStatus{StartTime: at(0), Conditions: failed}, ""},
		"failed, not started": {nil, batchv1.JobStatus{}, batchv1.JobStatus{Conditions: failed}, "status.startTime: Required value: startTime is required for finished job"},
		"complete without pods": {func(j *batchv1.Job) {
			setDefault(&j.Spec.Suspend, true)
			setDefault(&j.Spec.Completions, 0)
		}, batchv1.JobStatus{}, batchv1.JobStatus{CompletionTime: at(1), Conditions: complete}, ""},
		"ends before it starts": {nil, batchv1.JobStatus{}, batchv1.JobStatus{StartTime: at(2), CompletionTime: at(1), Conditions: complete},
			"completionTime cannot be set before startTime"},
		"uncounted": {nil, batchv1.JobStatus{}, batchv1.JobStatus{StartTime: at(0), Conditions: failed,
			UncountedTerminatedPods: &batchv1.UncountedTerminatedPods{Failed: nil, Succeeded: []types.UID{"a"}}},
			"uncountedTerminatedPods needs to be empty for finished job"},
		"old failure without target stays": {nil,
			batchv1.JobStatus{Conditions: true_(batchv1.JobFailed)}, batchv1.JobStatus{Failed: 1, Conditions: true_(batchv1.JobFailed)}, ""},
		"completion time changes": {nil,
			batchv1.JobStatus{StartTime: at(0), CompletionTime: at(1), Conditions: complete},
			batchv1.JobStatus{StartTime: at(0), CompletionTime: at(2), Conditions: complete}, "status.completionTime: Invalid value"},
		"failed and completed index": {func(j *batchv1.Job) { indexed(5)(j); setDefault(&j.Spec.BackoffLimitPerIndex, 1) },
			batchv1.JobStatus{}, batchv1.JobStatus{CompletedIndexes: "0-2", FailedIndexes: &one}, "overlap at index: 1"},
		"no failed index": {func(j *batchv1.Job) { indexed(5)(j); setDefault(&j.Spec.BackoffLimitPerIndex, 1) },
			batchv1.JobStatus{}, batchv1.JobStatus{CompletedIndexes: "0-2", FailedIndexes: &none}, ""},
		"an indexed job shrinks": {indexed(5), batchv1.JobStatus{Succeeded: 4}, batchv1.JobStatus{Succeeded: 2}, ""},
	} {
		old := newJob(c.spec)
		old.ResourceVersion = "1"
		old.Status = c.old
		j := old.DeepCopy()
		j.Status = c.now
		got := text(validateJobStatusUpdate(j, old))
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestJobRow(t *testing.T) {
	now := metav1.NewTime(at(10).Time)
	j := newJob(func(j *batchv1.Job) { setDefault(&j.Spec.Parallelism, 3) })
	j.CreationTimestamp = *at(0)
	j.Status.StartTime = at(5)
	j.Status.Succeeded = 1
	cells := jobRow(j, now)
	if cells[1] != "Running" || cells[2] != "1/1 of 3" || cells[3] != "5m" || cells[4] != "10m" {
		t.Errorf("%v", cells)
	}
	j.DeletionTimestamp = at(9)
	j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobSuspended, Status: corev1.ConditionTrue}}
	if cells := jobRow(j, now); cells[1] != "Terminating" {
		t.Errorf("%v", cells)
	}
}
