package resourcequota

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// amounts are quantities by resource name, as quotas count them.
type amounts = corev1.ResourceList

// increase is what after uses more than before; what shrinks is left to the
// controller, which frees it once the change has happened.
func increase(after, before amounts) amounts {
	for name, q := range after {
		if have, ok := before[name]; ok {
			q = q.DeepCopy()
			q.Sub(have)
			after[name] = q
		}
		if q.Sign() <= 0 {
			delete(after, name)
		}
	}
	return after
}

// only is the part of l with the names.
func only(l amounts, names []corev1.ResourceName) amounts {
	out := make(amounts, len(names))
	for _, name := range names {
		if q, ok := l[name]; ok {
			out[name] = q
		}
	}
	return out
}

// names are l's names in order.
func names(l amounts) []corev1.ResourceName { return slices.Sorted(maps.Keys(l)) }

// text shows amounts as messages do: a=1,b=2.
func text(l amounts) string {
	parts := make([]string, 0, len(l))
	for _, name := range names(l) {
		q := l[name]
		parts = append(parts, string(name)+"="+q.String())
	}
	return strings.Join(parts, ",")
}

func joined(l []corev1.ResourceName) string {
	parts := make([]string, len(l))
	for i, name := range l {
		parts[i] = string(name)
	}
	return strings.Join(parts, ",")
}
