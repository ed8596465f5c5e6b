package deployment

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// bounds of a rolling update in pods: surge rounds up, unavailable down, and
// not both may be zero.
func bounds(d *appsv1.Deployment) (surge, unavailable int32) {
	rolling := d.Spec.Strategy.RollingUpdate
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType || rolling == nil {
		return 0, 0
	}
	scaled := func(v *intstr.IntOrString, up bool) int32 {
		n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(v, intstr.FromInt32(0)), int(*d.Spec.Replicas), up)
		if err != nil {
			return 0 // validation does not let it in
		}
		return int32(n)
	}
	surge, unavailable = scaled(rolling.MaxSurge, true), scaled(rolling.MaxUnavailable, false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, min(unavailable, *d.Spec.Replicas)
}

// resize plans a set's new size; its annotations say what it was sized for.
func (r *rollout) resize(s *appsv1.ReplicaSet, n int32) {
	surge, _ := bounds(r.d)
	desired, most := *r.d.Spec.Replicas, *r.d.Spec.Replicas+surge
	if size(s) == n && s.Annotations[desiredKey] == strconv.Itoa(int(desired)) && s.Annotations[maxKey] == strconv.Itoa(int(most)) {
		return
	}
	c := Change{Set: s.DeepCopy(), From: size(s)}
	c.Set.Spec.Replicas = &n
	annotateSizes(c.Set, desired, most)
	r.plan.Update = append(r.plan.Update, c)
}

func annotateSizes(s *appsv1.ReplicaSet, desired, most int32) {
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[desiredKey] = strconv.Itoa(int(desired))
	s.Annotations[maxKey] = strconv.Itoa(int(most))
}

// sizeOfCurrent is how large the current set may be now.
func (r *rollout) sizeOfCurrent() int32 {
	want, have := *r.d.Spec.Replicas, size(r.current)
	if have >= want {
		return want
	}
	surge, _ := bounds(r.d)
	room := want + surge - sizes(r.all())
	if room <= 0 {
		return have
	}
	return have + min(room, want-have)
}

// shrinkPast scales sets of the past down: first what is not available anyway,
// then as many as the rest can do without.
func (r *rollout) shrinkPast() {
	past := active(r.past)
	if len(past) == 0 {
		return
	}
	_, unavailable := bounds(r.d)
	all := r.all()
	least := *r.d.Spec.Replicas - unavailable
	missing := size(r.current) - r.current.Status.AvailableReplicas
	room := sizes(all) - least - missing
	if room <= 0 {
		return
	}
	left := map[*appsv1.ReplicaSet]int32{}
	cleaned := int32(0)
	for _, s := range past {
		n := max(0, min(room-cleaned, size(s)-s.Status.AvailableReplicas))
		left[s] = size(s) - n
		cleaned += n
	}
	spare := available(all) - least
	for _, s := range past {
		n := max(0, min(spare, left[s]))
		left[s] -= n
		spare -= n
	}
	for _, s := range past {
		if left[s] != size(s) {
			r.resize(s, left[s])
		}
	}
}

// scale brings the sets to a new size of the deployment, without moving the
// rollout on.
func (r *rollout) scale() {
	want := *r.d.Spec.Replicas
	if s := r.only(); s != nil {
		if size(s) != want {
			r.resize(s, want)
		}
		return
	}
	if r.saturated() {
		for _, s := range active(r.past) {
			r.resize(s, 0)
		}
		return
	}
	if r.d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		r.proportionally()
	}
}

// only is the set that has all pods, or would have them.
func (r *rollout) only() *appsv1.ReplicaSet {
	all := active(r.all())
	switch {
	case len(all) == 1:
		return all[0]
	case len(all) > 1:
		return nil
	case r.current != nil:
		return r.current
	case len(r.past) > 0:
		return r.past[len(r.past)-1]
	}
	return nil
}

// saturated reports whether the current set has all its pods available.
func (r *rollout) saturated() bool {
	if r.current == nil {
		return false
	}
	want := *r.d.Spec.Replicas
	desired, ok := annotated(r.current, desiredKey)
	return ok && desired == want && size(r.current) == want && r.current.Status.AvailableReplicas == want
}

// proportionally spreads what is to be added or taken over all sets by their
// sizes, so that a rollout that goes wrong does not get more of the pods.
func (r *rollout) proportionally() {
	sets := active(r.all())
	surge, _ := bounds(r.d)
	most := int32(0)
	if *r.d.Spec.Replicas > 0 {
		most = *r.d.Spec.Replicas + surge
	}
	toAdd := most - sizes(sets)
	slices.SortStableFunc(sets, func(a, b *appsv1.ReplicaSet) int {
		if toAdd > 0 { // of equal size the newest grows
			return cmp.Or(cmp.Compare(size(b), size(a)), byAge(b, a))
		}
		return cmp.Or(cmp.Compare(size(b), size(a)), byAge(a, b)) // and the oldest shrinks
	})
	added := int32(0)
	target := make([]int32, len(sets))
	for i, s := range sets {
		n := int32(0)
		if toAdd != 0 {
			n = r.share(s, toAdd, added)
		}
		target[i] = size(s) + n
		added += n
	}
	for i, s := range sets {
		if i == 0 && toAdd != 0 { // what rounding left
			target[i] = max(0, target[i]+toAdd-added)
		}
		r.resize(s, target[i])
	}
}

// share of a set in what is to be added.
func (r *rollout) share(s *appsv1.ReplicaSet, toAdd, added int32) int32 {
	if size(s) == 0 || toAdd == added {
		return 0
	}
	fraction := r.fraction(s)
	if toAdd > 0 {
		return min(fraction, toAdd-added)
	}
	return max(fraction, toAdd-added)
}

func (r *rollout) fraction(s *appsv1.ReplicaSet) int32 {
	if *r.d.Spec.Replicas == 0 {
		return -size(s)
	}
	surge, _ := bounds(r.d)
	before, ok := annotated(s, maxKey)
	if !ok || before == 0 {
		before = r.d.Status.Replicas
	}
	if before == 0 {
		return 0
	}
	return int32(math.Round(float64(size(s)*(*r.d.Spec.Replicas+surge))/float64(before))) - size(s)
}
