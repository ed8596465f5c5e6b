package resourcequota

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	counting "xebec.dev/api/quota"
	"xebec.dev/api/scheme"
)

// ask is what one request wants charged.
type ask struct {
	resource *scheme.Resource
	obj      runtime.Object
	// total is what the object takes, more what it takes beyond the version
	// before; the same for a new object.
	total, more amounts
	// paid is what earlier attempts of the request were charged, by quota.
	paid map[string]amounts
}

// concerned are the names of the quota that the object has to do with, or nil
// when the quota is not about such objects. Only what the quota's status shows
// as hard counts: a new quota rules once the controller has counted.
func (q *ask) concerned(quota *corev1.ResourceQuota) []corev1.ResourceName {
	if len(quota.Status.Hard) == 0 {
		return nil
	}
	var out []corev1.ResourceName
	for _, name := range names(quota.Status.Hard) {
		if _, ok := q.total[name]; ok || q.stated(name) {
			out = append(out, name)
		}
	}
	if len(out) == 0 || !counting.InScopes(quota, q.obj) {
		return nil
	}
	return out
}

// stated names concern every pod, also one that does not state them.
func (q *ask) stated(name corev1.ResourceName) bool {
	if _, ok := q.obj.(*corev1.Pod); !ok {
		return false
	}
	for _, s := range stated {
		if s == name {
			return true
		}
	}
	return false
}

// rule decides on an ask by one quota: the usage after it (nil when nothing is
// charged), or why not. It changes nothing.
type rule func(quota *corev1.ResourceQuota, q *ask) (amounts, error)

// requirements are what a quota asks of every object it concerns.
func requirements(quota *corev1.ResourceQuota, q *ask) (amounts, error) {
	hard := q.concerned(quota)
	if err := mustSpecify(hard, q.obj); err != nil {
		return nil, fmt.Errorf("failed quota: %s: %w", quota.Name, err)
	}
	var unknown []corev1.ResourceName
	for _, name := range hard {
		if _, ok := quota.Status.Used[name]; !ok {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("status unknown for quota: %s, resources: %s", quota.Name, joined(unknown))
	}
	return nil, nil
}

// charge adds the ask to a quota's usage.
func charge(quota *corev1.ResourceQuota, q *ask) (amounts, error) {
	wanted := increase(only(q.more, q.concerned(quota)), q.paid[quota.Name])
	if len(wanted) == 0 {
		return nil, nil
	}
	used := quota.Status.Used.DeepCopy()
	var over []corev1.ResourceName
	for name, more := range wanted {
		counting.Add(used, name, more)
		sum, most := used[name], quota.Status.Hard[name]
		if sum.Cmp(most) > 0 {
			over = append(over, name)
		}
	}
	if len(over) > 0 {
		return nil, fmt.Errorf("exceeded quota: %s, requested: %s, used: %s, limited: %s", quota.Name,
			text(only(wanted, over)), text(only(quota.Status.Used, over)), text(only(quota.Status.Hard, over)))
	}
	return used, nil
}
