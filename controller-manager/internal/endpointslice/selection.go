package endpointslice

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/pod"
)

// Selects reports whether a service's endpoints are kept here, and of this pod.
func Selects(svc *corev1.Service, podLabels map[string]string) bool {
	return Kept(svc) && labels.SelectorFromSet(svc.Spec.Selector).Matches(labels.Set(podLabels))
}

// Kept reports whether the endpoints of a service follow its selector.
func Kept(svc *corev1.Service) bool {
	return len(svc.Spec.Selector) > 0 && svc.Spec.Type != corev1.ServiceTypeExternalName
}

// OfPod gives the keys of the services that a change of a pod concerns.
func OfPod(services *cache.Snapshot[*corev1.Service], c cache.Change[*corev1.Pod], found func(cache.Key)) {
	if c.HasOld && c.HasNew && !relevant(c.Old, c.New) {
		return
	}
	if c.HasNew && !c.HasOld && c.New.Status.PodIP == "" || c.HasOld && !c.HasNew && c.Old.Status.PodIP == "" {
		return // never was an endpoint
	}
	for svc := range services.In(c.Key.Namespace) {
		if c.HasOld && Selects(svc, c.Old.Labels) || c.HasNew && Selects(svc, c.New.Labels) {
			found(cache.KeyOf(svc))
		}
	}
}

// relevant reports whether a pod's change can be seen in endpoints.
func relevant(a, b *corev1.Pod) bool {
	if a.Status.PodIP == "" && b.Status.PodIP == "" {
		return false
	}
	return a.UID != b.UID || !maps.Equal(a.Labels, b.Labels) || pod.Ready(a) != pod.Ready(b) || pod.Finished(a) != pod.Finished(b) ||
		(a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) || a.Spec.NodeName != b.Spec.NodeName ||
		a.Spec.Hostname != b.Spec.Hostname || a.Spec.Subdomain != b.Spec.Subdomain || !apiequality.Semantic.DeepEqual(a.Status.PodIPs, b.Status.PodIPs)
}

// PodsOf are the pods that a service selects.
func PodsOf(pods *cache.Snapshot[*corev1.Pod], svc *corev1.Service) []*corev1.Pod {
	selector := labels.SelectorFromSet(svc.Spec.Selector)
	var out []*corev1.Pod
	for p := range pods.In(svc.Namespace) {
		if selector.Matches(labels.Set(p.Labels)) {
			out = append(out, p)
		}
	}
	return out
}
