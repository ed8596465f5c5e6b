package batch

import (
	"math"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/core"
)

const defaultBackoffLimit = int32(6)

func defaultJob(j *batchv1.Job) {
	s := &j.Spec
	core.DefaultPodTemplate(&s.Template)
	// One pod that has to succeed, unless the user counts.
	if s.Completions == nil && s.Parallelism == nil {
		setDefault(&s.Completions, 1)
	}
	setDefault(&s.Parallelism, 1)
	if s.BackoffLimit == nil {
		if s.BackoffLimitPerIndex != nil {
			setDefault(&s.BackoffLimit, math.MaxInt32)
		} else {
			setDefault(&s.BackoffLimit, defaultBackoffLimit)
		}
	}
	// One map for both, so that the labels generated on create are the job's too.
	fillLabels(j)
	setDefault(&s.CompletionMode, batchv1.NonIndexedCompletion)
	setDefault(&s.Suspend, false)
	defaultFailurePolicy(s.PodFailurePolicy)
	if s.PodReplacementPolicy == nil {
		if s.PodFailurePolicy != nil {
			setDefault(&s.PodReplacementPolicy, batchv1.Failed)
		} else {
			setDefault(&s.PodReplacementPolicy, batchv1.TerminatingOrFailed)
		}
	}
	setDefault(&s.ManualSelector, false)
}

func defaultFailurePolicy(p *batchv1.PodFailurePolicy) {
	if p == nil {
		return
	}
	for i := range p.Rules {
		for k := range p.Rules[i].OnPodConditions {
			if c := &p.Rules[i].OnPodConditions[k]; c.Status == "" {
				c.Status = corev1.ConditionTrue
			}
		}
	}
}

func setDefault[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

func valueOf[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
