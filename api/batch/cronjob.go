package batch

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/scheme"
)

// maxCronJobName leaves room for the suffix of the jobs' names: a dash and
// the minute since 1970.
const maxCronJobName = 52

const (
	defaultSuccessfulHistory = int32(3)
	defaultFailedHistory     = int32(1)
)

func cronJobHooks() scheme.Hooks[batchv1.CronJob] {
	return scheme.Hooks[batchv1.CronJob]{
		Default: defaultCronJob,
		PrepareCreate: func(_ scheme.Context, c *batchv1.CronJob) {
			c.Status = batchv1.CronJobStatus{}
			core.PreparePodTemplate(&c.Spec.JobTemplate.Spec.Template, nil)
			c.Spec.JobTemplate.Spec.Scheduling = nil // gate WorkloadWithJob: alpha
		},
		ValidateCreate: func(c *batchv1.CronJob) field.ErrorList {
			errs := validateCronJobSpec(&c.Spec, nil)
			if len(c.Name) > maxCronJobName {
				errs = append(errs, field.Invalid(metadataPath.Child("name"), c.Name, "must be no more than 52 characters"))
			}
			return errs
		},
		WarnCreate: func(c *batchv1.CronJob) []string {
			return append(warnName(c.Name), warnCronJob(c, nil)...)
		},
		PrepareUpdate: func(_ scheme.Context, c, old *batchv1.CronJob) {
			c.Status = old.Status
			core.PreparePodTemplate(&c.Spec.JobTemplate.Spec.Template, &old.Spec.JobTemplate.Spec.Template)
			if old.Spec.JobTemplate.Spec.Scheduling == nil {
				c.Spec.JobTemplate.Spec.Scheduling = nil
			}
		},
		ValidateUpdate: func(c, old *batchv1.CronJob) field.ErrorList { return validateCronJobSpec(&c.Spec, &old.Spec) },
		WarnUpdate: func(c, old *batchv1.CronJob) []string {
			if c.Generation == old.Generation {
				return nil
			}
			return warnCronJob(c, old)
		},
		ResetFields: []string{"status"},
		SpecChanged: func(c, old *batchv1.CronJob) bool { return !apiequality.Semantic.DeepEqual(&c.Spec, &old.Spec) },
		UpdateOnly:  true,
	}
}

func cronJobStatusHooks() scheme.UpdateHooks[batchv1.CronJob] {
	return scheme.UpdateHooks[batchv1.CronJob]{
		PrepareUpdate: func(_ scheme.Context, c, old *batchv1.CronJob) { c.Spec = old.Spec },
		ResetFields:   []string{"spec"},
	}
}

// defaultCronJob leaves the job template alone but for its pods: jobs get
// their defaults when they are made.
func defaultCronJob(c *batchv1.CronJob) {
	s := &c.Spec
	core.DefaultPodTemplate(&s.JobTemplate.Spec.Template)
	defaultFailurePolicy(s.JobTemplate.Spec.PodFailurePolicy)
	if s.ConcurrencyPolicy == "" {
		s.ConcurrencyPolicy = batchv1.AllowConcurrent
	}
	setDefault(&s.Suspend, false)
	setDefault(&s.SuccessfulJobsHistoryLimit, defaultSuccessfulHistory)
	setDefault(&s.FailedJobsHistoryLimit, defaultFailedHistory)
}

func warnCronJob(c, old *batchv1.CronJob) []string {
	var oldJob *batchv1.JobSpec
	if old != nil {
		oldJob = &old.Spec.JobTemplate.Spec
	}
	warnings := warnJobSpec(specPath.Child("jobTemplate", "spec"), &c.Spec.JobTemplate.Spec, oldJob)
	if hasZone(c.Spec.Schedule) {
		warnings = append(warnings, "CRON_TZ or TZ used in spec.schedule is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details")
	}
	return warnings
}

func validateCronJobSpec(s, old *batchv1.CronJobSpec) field.ErrorList {
	errs := validateSchedule(s.Schedule, s.TimeZone, old != nil && hasZone(old.Schedule), specPath.Child("schedule"))
	if s.StartingDeadlineSeconds != nil && *s.StartingDeadlineSeconds < 0 {
		errs = append(errs, apivalidation.ValidateNonnegativeField(*s.StartingDeadlineSeconds, specPath.Child("startingDeadlineSeconds"))...)
	}
	if old == nil || !apiequality.Semantic.DeepEqual(s.TimeZone, old.TimeZone) {
		errs = append(errs, validateTimeZone(s.TimeZone, specPath.Child("timeZone"))...)
	}
	errs = append(errs, validateConcurrency(s.ConcurrencyPolicy)...)
	var oldTemplate *corev1.PodTemplateSpec
	if old != nil {
		oldTemplate = &old.JobTemplate.Spec.Template
	}
	errs = append(errs, validateJobTemplate(&s.JobTemplate.Spec, oldTemplate, specPath.Child("jobTemplate", "spec"))...)
	errs = append(errs, nonnegative(s.SuccessfulJobsHistoryLimit, specPath, "successfulJobsHistoryLimit")...)
	return append(errs, nonnegative(s.FailedJobsHistoryLimit, specPath, "failedJobsHistoryLimit")...)
}

func validateConcurrency(p batchv1.ConcurrencyPolicy) field.ErrorList {
	path := specPath.Child("concurrencyPolicy")
	switch p {
	case batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent:
		return nil
	case "":
		return field.ErrorList{field.Required(path, "")}
	}
	return field.ErrorList{field.NotSupported(path, p, []batchv1.ConcurrencyPolicy{
		batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent})}
}

// validateJobTemplate checks the jobs to be made: their selectors are
// generated, as two jobs of one selector would take each other's pods.
func validateJobTemplate(s *batchv1.JobSpec, oldTemplate *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	errs := validateJobSpec(s, oldTemplate, path)
	if s.Selector != nil {
		errs = append(errs, field.Invalid(path.Child("selector"), s.Selector, "`selector` will be auto-generated"))
	}
	if valueOf(s.ManualSelector) {
		errs = append(errs, field.NotSupported(path.Child("manualSelector"), *s.ManualSelector, []string{"nil", "false"}))
	}
	return errs
}
