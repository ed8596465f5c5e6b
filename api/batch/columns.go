package batch

import (
	"fmt"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"xebec.dev/api/core"
	"xebec.dev/api/table"
)

type column = metav1.TableColumnDefinition

// podColumns are the wide columns about the pods of a job.
func podColumns() []column {
	return []column{
		table.Wide(table.String("Containers", "Names of each container in the template.")),
		table.Wide(table.String("Images", "Images referenced by each container in the template.")),
		table.Wide(table.Field("Selector", batchv1.JobSpec{}, "selector")),
	}
}

func podCells(cells []any, s *batchv1.JobSpec) []any {
	names, images := core.ContainerImages(&s.Template.Spec)
	return append(cells, names, images, table.Selector(s.Selector))
}

func jobColumns() []column {
	c := []column{
		table.Name(),
		table.String("Status", "Status of the job."),
		table.Field("Completions", batchv1.JobStatus{}, "succeeded"),
		table.String("Duration", "Time required to complete the job."),
		table.Age(),
	}
	return append(c, podColumns()...)
}

func jobRow(j *batchv1.Job, now metav1.Time) []any {
	cells := make([]any, 0, 8)
	cells = append(cells, j.Name, jobState(j), jobCompletions(j), jobDuration(&j.Status, now), table.Since(j.CreationTimestamp, now))
	return podCells(cells, &j.Spec)
}

func jobState(j *batchv1.Job) string {
	if t, ok := conditionStatus(&j.Status, batchv1.JobComplete, batchv1.JobFailed); ok {
		return string(t)
	}
	if j.DeletionTimestamp != nil {
		return "Terminating"
	}
	if t, ok := conditionStatus(&j.Status, batchv1.JobSuspended, batchv1.JobFailureTarget, batchv1.JobSuccessCriteriaMet); ok {
		return string(t)
	}
	return "Running"
}

func jobCompletions(j *batchv1.Job) string {
	done := strconv.Itoa(int(j.Status.Succeeded))
	if j.Spec.Completions != nil {
		return done + "/" + strconv.Itoa(int(*j.Spec.Completions))
	}
	if n := valueOf(j.Spec.Parallelism); n > 1 {
		return fmt.Sprintf("%s/1 of %d", done, n)
	}
	return done + "/1"
}

func jobDuration(s *batchv1.JobStatus, now metav1.Time) string {
	switch {
	case s.StartTime == nil:
		return ""
	case s.CompletionTime == nil:
		return duration.HumanDuration(now.Sub(s.StartTime.Time))
	}
	return duration.HumanDuration(s.CompletionTime.Sub(s.StartTime.Time))
}

func cronJobColumns() []column {
	var spec batchv1.CronJobSpec
	var status batchv1.CronJobStatus
	c := []column{
		table.Name(),
		table.Field("Schedule", spec, "schedule"),
		table.Field("Timezone", spec, "timeZone"),
		table.TypedField("Suspend", "boolean", spec, "suspend"),
		table.TypedField("Active", "integer", status, "active"),
		table.Field("Last Schedule", status, "lastScheduleTime"),
		table.Age(),
	}
	return append(c, podColumns()...)
}

func cronJobRow(c *batchv1.CronJob, now metav1.Time) []any {
	zone, last := "<none>", "<none>"
	if c.Spec.TimeZone != nil {
		zone = *c.Spec.TimeZone
	}
	if c.Status.LastScheduleTime != nil {
		last = table.Since(*c.Status.LastScheduleTime, now)
	}
	cells := make([]any, 0, 10)
	cells = append(cells, c.Name, c.Spec.Schedule, zone, suspended(c.Spec.Suspend), int64(len(c.Status.Active)), last, table.Since(c.CreationTimestamp, now))
	return podCells(cells, &c.Spec.JobTemplate.Spec)
}

// suspended is text although the column says boolean: so it is on the wire.
func suspended(b *bool) string {
	switch {
	case b == nil:
		return "<unset>"
	case *b:
		return "True"
	}
	return "False"
}
