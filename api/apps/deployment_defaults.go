package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/api/core"
)

const (
	defaultRevisionHistory  = int32(10)
	defaultProgressDeadline = int32(600) // seconds
)

func defaultDeployment(d *appsv1.Deployment) {
	s := &d.Spec
	core.DefaultPodTemplate(&s.Template)
	setDefault(&s.Replicas, 1)
	defaultDeploymentStrategy(&s.Strategy)
	setDefault(&s.RevisionHistoryLimit, defaultRevisionHistory)
	setDefault(&s.ProgressDeadlineSeconds, defaultProgressDeadline)
}

func defaultDeploymentStrategy(s *appsv1.DeploymentStrategy) {
	if s.Type == "" {
		s.Type = appsv1.RollingUpdateDeploymentStrategyType
	}
	if s.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return
	}
	if s.RollingUpdate == nil {
		s.RollingUpdate = &appsv1.RollingUpdateDeployment{}
	}
	quarter := intstr.FromString("25%")
	if s.RollingUpdate.MaxUnavailable == nil {
		v := quarter
		s.RollingUpdate.MaxUnavailable = &v
	}
	if s.RollingUpdate.MaxSurge == nil {
		v := quarter
		s.RollingUpdate.MaxSurge = &v
	}
}

func setDefault[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}
