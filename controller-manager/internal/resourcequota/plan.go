// Package resourcequota counts what the namespaces of quotas use. Admission
// charges what is about to be stored at once; here it is set right and given
// back.
package resourcequota

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/api/quota"
)

// observed is a quota, and what its namespace has.
type observed struct {
	quota *corev1.ResourceQuota
	// used is what objects take that count by more than their number, and that
	// the quota's scopes select.
	used quota.Amounts
	// counts are the numbers of objects of all other resources, by the names
	// that quotas have for them.
	counts map[corev1.ResourceName]int64
	// quiet is how long nobody has charged the quota.
	quiet time.Duration
}

// settle is how long a quota must be left alone before its use is lowered:
// what was charged may be about to be stored.
const settle = 500 * time.Millisecond

// Plan is the status to write, if any.
type Plan struct {
	Status *corev1.ResourceQuotaStatus
	// Again is when to look again; 0 is when something changes.
	Again time.Duration
}

func (p Plan) String() string {
	var b strings.Builder
	if p.Status != nil {
		for _, name := range slices.Sorted(maps.Keys(p.Status.Hard)) {
			used, hard := p.Status.Used[name], p.Status.Hard[name]
			fmt.Fprintf(&b, "%s %s/%s\n", name, &used, &hard)
		}
	}
	if p.Again > 0 {
		fmt.Fprintf(&b, "again in %s\n", p.Again)
	}
	return b.String()
}

func plan(o observed) Plan {
	s := &corev1.ResourceQuotaStatus{Hard: o.quota.Spec.Hard.DeepCopy(), Used: quota.Amounts{}}
	lower := false
	for name := range o.quota.Spec.Hard {
		n := *resource.NewQuantity(o.counts[name], resource.DecimalSI)
		if q, ok := o.used[name]; ok {
			n = q.DeepCopy()
		}
		s.Used[name] = n
		if was, ok := o.quota.Status.Used[name]; ok && n.Cmp(was) < 0 {
			lower = true
		}
	}
	if same(s.Hard, o.quota.Status.Hard) && same(s.Used, o.quota.Status.Used) {
		return Plan{}
	}
	if lower && o.quiet < settle {
		return Plan{Again: settle - o.quiet}
	}
	return Plan{Status: s}
}

func same(a, b quota.Amounts) bool { return equality.Semantic.DeepEqual(a, b) }

// counted are the resources, as PLURAL.GROUP or PLURAL, whose objects a quota
// counts by their number alone.
func counted(q *corev1.ResourceQuota) (out []string) {
	for name := range q.Spec.Hard {
		if r, ok := strings.CutPrefix(string(name), quota.CountPrefix); ok {
			out = append(out, r)
		} else if slices.Contains(bare, string(name)) {
			out = append(out, string(name))
		}
	}
	return out
}

// bare names count without a prefix.
var bare = []string{"replicationcontrollers", "resourcequotas", "secrets", "configmaps"}
