package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/scheme"
)

// The labels a job's pods had before labels of Kubernetes' own were prefixed.
const (
	legacyUIDLabel  = "controller-uid"
	legacyNameLabel = "job-name"
)

var (
	metadataPath = field.NewPath("metadata")
	specPath     = field.NewPath("spec")
	statusPath   = field.NewPath("status")
)

func jobHooks() scheme.Hooks[batchv1.Job] {
	return scheme.Hooks[batchv1.Job]{
		Default:        defaultJob,
		PrepareCreate:  prepareJob,
		ValidateCreate: validateJob,
		WarnCreate: func(j *batchv1.Job) []string {
			return append(warnName(j.Name), warnJobSpec(specPath, &j.Spec, nil)...)
		},
		PrepareUpdate: func(_ scheme.Context, j, old *batchv1.Job) {
			j.Status = old.Status
			core.PreparePodTemplate(&j.Spec.Template, &old.Spec.Template)
			if old.Spec.Scheduling == nil {
				j.Spec.Scheduling = nil
			}
			fillLabels(j)
		},
		ValidateUpdate: validateJobUpdate,
		WarnUpdate: func(j, old *batchv1.Job) []string {
			if j.Generation == old.Generation {
				return nil
			}
			return warnJobSpec(specPath, &j.Spec, &old.Spec)
		},
		ResetFields: []string{"status"},
		// The labels generated on create count as the template's only.
		OwnMetadata: true,
		SpecChanged: func(j, old *batchv1.Job) bool { return !apiequality.Semantic.DeepEqual(&j.Spec, &old.Spec) },
		// Jobs were made before garbage collection; their pods are results.
		DefaultPropagation: metav1.DeletePropagationOrphan,
		WarnDelete:         warnJobDelete,
	}
}

func jobStatusHooks() scheme.UpdateHooks[batchv1.Job] {
	return scheme.UpdateHooks[batchv1.Job]{
		PrepareUpdate: func(_ scheme.Context, j, old *batchv1.Job) {
			j.Spec = old.Spec
			fillLabels(j)
		},
		ValidateUpdate: validateJobStatusUpdate,
		ResetFields:    []string{"spec"},
	}
}

func prepareJob(_ scheme.Context, j *batchv1.Job) {
	j.Status = batchv1.JobStatus{}
	core.PreparePodTemplate(&j.Spec.Template, nil)
	j.Spec.Scheduling = nil // gate WorkloadWithJob: alpha
	if valueOf(j.Spec.ManualSelector) {
		return
	}
	generateSelector(j)
	fillLabels(j)
}

// fillLabels gives a job without labels those of its pods.
func fillLabels(j *batchv1.Job) {
	if len(j.Labels) == 0 && len(j.Spec.Template.Labels) > 0 {
		j.Labels = j.Spec.Template.Labels
	}
}

// generateSelector labels the pods with the job's name and uid and selects by
// the uid. What the user has set stays, and validation judges it.
func generateSelector(j *batchv1.Job) {
	t := &j.Spec.Template
	if t.Labels == nil {
		t.Labels = make(map[string]string, 4)
	}
	for label, value := range expectedLabels(j) {
		if _, set := t.Labels[label]; !set {
			t.Labels[label] = value
		}
	}
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	if j.Spec.Selector.MatchLabels == nil {
		j.Spec.Selector.MatchLabels = make(map[string]string, 1)
	}
	if _, set := j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel]; !set {
		j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel] = string(j.UID)
	}
}

func expectedLabels(j *batchv1.Job) map[string]string {
	return map[string]string{
		legacyUIDLabel:             string(j.UID),
		legacyNameLabel:            j.Name,
		batchv1.ControllerUidLabel: string(j.UID),
		batchv1.JobNameLabel:       j.Name,
	}
}

// hasOnlyGeneratedLabels is true for a job whose labels are those that its
// template was given.
func hasOnlyGeneratedLabels(j *batchv1.Job) bool {
	expected := expectedLabels(j)
	if len(j.Labels) != len(expected) {
		return false
	}
	for label, value := range expected {
		if j.Labels[label] != value {
			return false
		}
	}
	return true
}

// Thresholds above which the indexes of a job may outgrow its status.
const (
	manyCompletions   = 100_000
	manyParallel      = 10_000
	maxParallelism    = 100_000
	maxFailedIndexes  = 100_000
	maxFailedWhenMany = 10_000
)

func warnJobSpec(path *field.Path, s, old *batchv1.JobSpec) []string {
	var warnings []string
	if valueOf(s.CompletionMode) == batchv1.IndexedCompletion && valueOf(s.Completions) > manyCompletions && valueOf(s.Parallelism) > manyParallel {
		warnings = append(warnings, fmt.Sprintf("%s: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail", path))
	}
	var oldTemplate *corev1.PodTemplateSpec
	if old != nil {
		oldTemplate = &old.Template
	}
	return append(warnings, core.WarnPodTemplate(path.Child("template"), &s.Template, oldTemplate)...)
}

func warnName(name string) []string {
	problems := validation.IsDNS1123Label(name)
	if len(problems) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", problems)}
}

func warnJobDelete(_ *batchv1.Job, o *metav1.DeleteOptions) []string {
	if o != nil && (o.PropagationPolicy != nil || o.OrphanDependents != nil) { //nolint:staticcheck // old clients set it
		return nil
	}
	return []string{"child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning"}
}

// validateJob checks a new job. Labels that its template was given are judged
// there only.
func validateJob(j *batchv1.Job) field.ErrorList {
	meta := j.ObjectMeta
	if hasOnlyGeneratedLabels(j) {
		meta.Labels = nil
	}
	return append(jobMetadata.ValidateMetadata(&meta), validateJobBody(j, nil)...)
}

// jobMetadata has the metadata rules of a job.
var jobMetadata = &scheme.Resource{Namespaced: true}

// validateJobBody checks what is not metadata; old is nil on create.
func validateJobBody(j, old *batchv1.Job) field.ErrorList {
	errs := validateGenerated(j, old)
	errs = append(errs, validateWholeSpec(&j.Spec, old)...)
	return append(errs, validateIndexedName(j)...)
}

// validateIndexedName checks the longest hostname of an indexed job's pods.
func validateIndexedName(j *batchv1.Job) field.ErrorList {
	if valueOf(j.Spec.CompletionMode) != batchv1.IndexedCompletion || valueOf(j.Spec.Completions) <= 0 {
		return nil
	}
	host := fmt.Sprintf("%s-%d", j.Name, *j.Spec.Completions-1)
	if len(validation.IsDNS1123Label(host)) == 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(metadataPath.Child("name"), j.Name, "will not able to create pod with invalid DNS label: "+host)}
}

// validateGenerated checks that selector and labels are as the system makes
// them, unless the user chose to make them.
func validateGenerated(j, old *batchv1.Job) field.ErrorList {
	if valueOf(j.Spec.ManualSelector) {
		return nil
	}
	var errs field.ErrorList
	if j.Spec.Selector == nil {
		return append(errs, field.Required(specPath.Child("selector"), ""))
	}
	if j.UID == "" {
		errs = append(errs, field.Required(metadataPath.Child("uid"), ""))
	}
	prefixed := old == nil || hasPrefixedLabels(old)
	checked := []string{legacyUIDLabel, legacyNameLabel}
	if prefixed {
		checked = append(checked, batchv1.ControllerUidLabel, batchv1.JobNameLabel)
	}
	expected := expectedLabels(j)
	for _, label := range checked {
		errs = append(errs, validateLabel(&j.Spec.Template, label, expected[label])...)
	}
	selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector)
	if err == nil && !selector.Matches(labelSet(expected)) {
		errs = append(errs, field.Invalid(specPath.Child("selector"), j.Spec.Selector, "`selector` not auto-generated"))
	}
	return errs
}

// hasPrefixedLabels is false for jobs made before labels were prefixed.
func hasPrefixedLabels(j *batchv1.Job) bool {
	_, uid := j.Spec.Template.Labels[batchv1.ControllerUidLabel]
	_, name := j.Spec.Template.Labels[batchv1.JobNameLabel]
	return uid && name
}

func validateLabel(t *corev1.PodTemplateSpec, label, want string) field.ErrorList {
	path := specPath.Child("template", "metadata", "labels").Key(label)
	switch got, ok := t.Labels[label]; {
	case !ok:
		return field.ErrorList{field.Required(path, fmt.Sprintf("must be '%s'", want))}
	case got != want:
		return field.ErrorList{field.Invalid(path, t.Labels, fmt.Sprintf("must be '%s'", want))}
	}
	return nil
}
