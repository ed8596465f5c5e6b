package job

import (
	"fmt"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/controller-manager/internal/owner"
	"xebec.dev/controller-manager/internal/pod"
)

var gvk = batchv1.SchemeGroupVersion.WithKind("Job")

const indexVariable = "JOB_COMPLETION_INDEX"

// maxPrefix leaves room for the server's suffix.
const maxPrefix = 63 - 5

// newPod is a pod of the job; index is -1 where there are none. pods are those
// that there are, whose failures count.
func newPod(j *batchv1.Job, index int, pods []*corev1.Pod) *corev1.Pod {
	p := pod.FromTemplate(&j.Spec.Template, j.Namespace, j.Name, owner.Ref(j, gvk))
	p.Finalizers = append(p.Finalizers, batchv1.JobTrackingFinalizer)
	if index < 0 {
		return p
	}
	if p.Labels == nil {
		p.Labels = map[string]string{}
	}
	if p.Annotations == nil {
		p.Annotations = map[string]string{}
	}
	text := strconv.Itoa(index)
	p.Annotations[batchv1.JobCompletionIndexAnnotation] = text
	p.Labels[batchv1.JobCompletionIndexAnnotation] = text
	p.Spec.Hostname = j.Name + "-" + text
	p.GenerateName = indexPrefix(j.Name, text)
	for _, l := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range l {
			addIndexVariable(&l[i])
		}
	}
	if j.Spec.BackoffLimitPerIndex != nil {
		failures, ignored := failuresOf(j, index, pods)
		p.Annotations[batchv1.JobIndexFailureCountAnnotation] = strconv.Itoa(failures)
		if ignored > 0 {
			p.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation] = strconv.Itoa(ignored)
		}
	}
	return p
}

// wanted are pods for indexes.
func wanted(j *batchv1.Job, indexes []int, pods []*corev1.Pod) []*corev1.Pod {
	out := make([]*corev1.Pod, len(indexes))
	for i, n := range indexes {
		out[i] = newPod(j, n, pods)
	}
	return out
}

func indexPrefix(job, index string) string {
	suffix := "-" + index + "-"
	if most := maxPrefix - len(suffix); len(job) > most {
		job = job[:most]
	}
	return job + suffix
}

func addIndexVariable(c *corev1.Container) {
	for i := range c.Env {
		if c.Env[i].Name == indexVariable {
			return
		}
	}
	c.Env = append(c.Env, corev1.EnvVar{Name: indexVariable, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: fmt.Sprintf("metadata.labels['%s']", batchv1.JobCompletionIndexAnnotation)},
	}})
}

// failuresOf an index: what its last failed pod says, and that pod itself.
func failuresOf(j *batchv1.Job, index int, pods []*corev1.Pod) (failures, ignored int) {
	var last *corev1.Pod
	total := func(p *corev1.Pod) int {
		return annotatedCount(p, batchv1.JobIndexFailureCountAnnotation) + annotatedCount(p, batchv1.JobIndexIgnoredFailureCountAnnotation)
	}
	for _, p := range pods {
		if indexOf(p) != index || p.Status.Phase == corev1.PodSucceeded || pod.Active(p) {
			continue
		}
		if last == nil || total(p) > total(last) {
			last = p
		}
	}
	if last == nil {
		return 0, 0
	}
	failures, ignored = annotatedCount(last, batchv1.JobIndexFailureCountAnnotation), annotatedCount(last, batchv1.JobIndexIgnoredFailureCountAnnotation)
	if judge(j.Spec.PodFailurePolicy, last).counts() {
		return failures + 1, ignored
	}
	return failures, ignored + 1
}
