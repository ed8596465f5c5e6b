package limitranger

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/api/core"
)

func checkPod(pod *corev1.Pod, item *corev1.LimitRangeItem) []error {
	var errs []error
	switch item.Type {
	case corev1.LimitTypeContainer:
		for i := range pod.Spec.Containers {
			r := &pod.Spec.Containers[i].Resources
			errs = append(errs, checkResources(item, r.Requests, r.Limits)...)
		}
		for i := range pod.Spec.InitContainers {
			r := &pod.Spec.InitContainers[i].Resources
			errs = append(errs, checkResources(item, r.Requests, r.Limits)...)
		}
	case corev1.LimitTypePod:
		requests, limits := core.ContainerRequests(&pod.Spec), core.ContainerLimits(&pod.Spec)
		if r := pod.Spec.Resources; r != nil {
			maps.Copy(requests, r.Requests)
			maps.Copy(limits, r.Limits)
		}
		errs = checkResources(item, requests, limits)
	}
	return errs
}

func checkResources(item *corev1.LimitRangeItem, requests, limits corev1.ResourceList) []error {
	var errs []error
	for _, name := range names(item.Min) {
		errs = add(errs, checkMin(item.Type, name, item.Min[name], requests, limits))
	}
	for _, name := range names(item.Max) {
		errs = add(errs, checkMax(item.Type, name, item.Max[name], requests, limits))
	}
	for _, name := range names(item.MaxLimitRequestRatio) {
		errs = add(errs, checkRatio(item.Type, name, item.MaxLimitRequestRatio[name], requests, limits))
	}
	return errs
}

// checkClaim compares requests alone: claims have no use for limits here.
func checkClaim(claim *corev1.PersistentVolumeClaim, item *corev1.LimitRangeItem) []error {
	var errs []error
	requests := claim.Spec.Resources.Requests
	for _, name := range names(item.Min) {
		errs = add(errs, checkMin(item.Type, name, item.Min[name], requests, nil))
	}
	for _, name := range names(item.Max) {
		most := item.Max[name]
		switch request, ok := requests[name]; {
		case !ok:
			errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s.  No request is specified", name, item.Type, most.String()))
		case request.Cmp(most) > 0:
			errs = append(errs, fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, item.Type, most.String(), request.String()))
		}
	}
	return errs
}

func checkMin(t corev1.LimitType, name corev1.ResourceName, least resource.Quantity, requests, limits corev1.ResourceList) error {
	request, requested := requests[name]
	limit, limited := limits[name]
	switch {
	case !requested:
		return fmt.Errorf("minimum %s usage per %s is %s.  No request is specified", name, t, least.String())
	case request.Cmp(least) < 0:
		return fmt.Errorf("minimum %s usage per %s is %s, but request is %s", name, t, least.String(), request.String())
	case limited && limit.Cmp(least) < 0:
		return fmt.Errorf("minimum %s usage per %s is %s, but limit is %s", name, t, least.String(), limit.String())
	}
	return nil
}

func checkMax(t corev1.LimitType, name corev1.ResourceName, most resource.Quantity, requests, limits corev1.ResourceList) error {
	request, requested := requests[name]
	limit, limited := limits[name]
	switch {
	case !limited:
		return fmt.Errorf("maximum %s usage per %s is %s.  No limit is specified", name, t, most.String())
	case limit.Cmp(most) > 0:
		return fmt.Errorf("maximum %s usage per %s is %s, but limit is %s", name, t, most.String(), limit.String())
	case requested && request.Cmp(most) > 0:
		return fmt.Errorf("maximum %s usage per %s is %s, but request is %s", name, t, most.String(), request.String())
	}
	return nil
}

func checkRatio(t corev1.LimitType, name corev1.ResourceName, most resource.Quantity, requests, limits corev1.ResourceList) error {
	request, requested := requests[name]
	limit, limited := limits[name]
	switch {
	case !requested || request.IsZero():
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no request is specified or request is 0", name, t, most.String())
	case !limited || limit.IsZero():
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", name, t, most.String())
	}
	ratio := limit.AsApproximateFloat64() / request.AsApproximateFloat64()
	if ratio > most.AsApproximateFloat64() {
		return fmt.Errorf("%s max limit to request ratio per %s is %s, but provided ratio is %f", name, t, most.String(), ratio)
	}
	return nil
}

func names(l corev1.ResourceList) []corev1.ResourceName {
	if len(l) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(l))
}

func add(errs []error, err error) []error {
	if err == nil {
		return errs
	}
	return append(errs, err)
}
