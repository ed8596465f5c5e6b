package defaultpreemption

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/scheduler/internal/cache"
)

// Budget is a PodDisruptionBudget.
type Budget struct {
	Name     string
	Selector labels.Selector
	Allowed  int32
	// Disrupted pods are on their way out and cost nothing any more.
	Disrupted map[string]bool
}

// BudgetOf reads one.
func BudgetOf(b *policyv1.PodDisruptionBudget) Budget {
	out := Budget{Name: b.Name, Selector: cache.Selector(b.Spec.Selector), Allowed: b.Status.DisruptionsAllowed, Disrupted: map[string]bool{}}
	for name := range b.Status.DisruptedPods {
		out.Disrupted[name] = true
	}
	return out
}

// violating parts pods, in their order, into those whose eviction would break
// a budget and the others. Budgets are best effort.
func (pl *Plugin) violating(pods []*cache.Pod) (violating, others []*cache.Pod) {
	if pl.Budgets == nil {
		return nil, pods
	}
	budgets := map[string][]Budget{}
	for _, p := range pods {
		ns := p.Obj.Namespace
		list, ok := budgets[ns]
		if !ok {
			list = append(list, pl.Budgets(ns)...)
			budgets[ns] = list
		}
		broken := false
		for i := range list {
			b := &list[i]
			if len(p.Obj.Labels) == 0 || b.Selector.Empty() || !b.Selector.Matches(labels.Set(p.Obj.Labels)) || b.Disrupted[p.Obj.Name] {
				continue
			}
			b.Allowed--
			broken = broken || b.Allowed < 0
		}
		if broken {
			violating = append(violating, p)
		} else {
			others = append(others, p)
		}
	}
	return violating, others
}
