package core

import (
	corev1 "k8s.io/api/core/v1"
)

// PodQOS is the quality of service that a pod's resources give it: Guaranteed
// when every container has limits for cpu and memory and asks for as much,
// BestEffort when none asks for either, Burstable otherwise. Resources of the
// pod as a whole, when it has them, count instead of the containers'.
func PodQOS(s *corev1.PodSpec) corev1.PodQOSClass {
	q := qos{guaranteed: true}
	if r := s.Resources; r != nil {
		q.add(r)
		return q.class()
	}
	for i := range s.Containers {
		q.add(&s.Containers[i].Resources)
	}
	for i := range s.InitContainers {
		q.add(&s.InitContainers[i].Resources)
	}
	return q.class()
}

type qos struct{ any, guaranteed bool }

func (q *qos) add(r *corev1.ResourceRequirements) {
	for _, name := range [...]corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := r.Requests[name], r.Limits[name]
		q.any = q.any || request.Sign() > 0 || limit.Sign() > 0
		if limit.Sign() <= 0 || request.Cmp(limit) != 0 {
			q.guaranteed = false
		}
	}
}

func (q *qos) class() corev1.PodQOSClass {
	switch {
	case !q.any:
		return corev1.PodQOSBestEffort
	case q.guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
