package schedule

import (
	"math"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/plugins/nodeselector"
	"xebec.dev/scheduler/internal/plugins/tainttoleration"
)

// scores of feasible nodes, by name.
func (w *naive) scores(p *corev1.Pod, feasible []*corev1.Node) map[string]int64 {
	out := map[string]int64{}
	add := func(weight int64, of func(n *corev1.Node) int64) {
		for _, n := range feasible {
			out[n.Name] += weight * of(n)
		}
	}
	add(1, func(n *corev1.Node) int64 { return w.least(p, n) })
	add(1, func(n *corev1.Node) int64 { return w.balanced(p, n) })
	add(1, func(n *corev1.Node) int64 { return w.images(p, n) })
	normal := func(raw map[string]int64, reverse bool) func(n *corev1.Node) int64 {
		most := int64(0)
		for _, v := range raw {
			most = max(most, v)
		}
		return func(n *corev1.Node) (s int64) {
			if most > 0 {
				s = 100 * raw[n.Name] / most
			}
			if reverse {
				s = 100 - s
			}
			return s
		}
	}
	taints, prefers := map[string]int64{}, map[string]int64{}
	for _, n := range feasible {
		for _, t := range n.Spec.Taints {
			if t.Effect != corev1.TaintEffectPreferNoSchedule {
				continue
			}
			tolerated := false
			for _, o := range p.Spec.Tolerations {
				tolerated = tolerated || (o.Effect == "" || o.Effect == t.Effect) && tainttoleration.Tolerates(&o, &t)
			}
			if !tolerated {
				taints[n.Name]++
			}
		}
		if a := p.Spec.Affinity; a != nil && a.NodeAffinity != nil {
			for _, t := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
				if nodeselector.Term(&t.Preference, n) {
					prefers[n.Name] += int64(t.Weight)
				}
			}
		}
	}
	add(3, normal(taints, true))
	if len(prefers) > 0 {
		add(2, normal(prefers, false))
	}
	if s := w.spreadScore(p, feasible); s != nil {
		add(2, func(n *corev1.Node) int64 { return s[n.Name] })
	}
	s := w.podScore(p, feasible)
	add(2, func(n *corev1.Node) int64 { return s[n.Name] })
	return out
}

func (w *naive) used(n *corev1.Node) (cpu, mem, nzCPU, nzMem int64) {
	for _, o := range w.on(n.Name) {
		c, m, _, nc, nm := naiveRequests(o)
		cpu, mem, nzCPU, nzMem = cpu+c, mem+m, nzCPU+nc, nzMem+nm
	}
	return
}

func (w *naive) least(p *corev1.Pod, n *corev1.Node) int64 {
	_, _, uc, um := w.used(n)
	_, _, _, pc, pm := naiveRequests(p)
	sum, weights := int64(0), int64(0)
	for _, r := range [][2]int64{{uc + pc, allocatable(n, corev1.ResourceCPU)}, {um + pm, allocatable(n, corev1.ResourceMemory)}} {
		if r[1] == 0 {
			continue
		}
		weights++
		if r[0] <= r[1] {
			sum += (r[1] - r[0]) * 100 / r[1]
		}
	}
	if weights == 0 {
		return 0
	}
	return sum / weights
}

func (w *naive) balanced(p *corev1.Pod, n *corev1.Node) int64 {
	uc, um, _, _ := w.used(n)
	pc, pm, ps, _, _ := naiveRequests(p)
	if pc == 0 && pm == 0 && ps == 0 {
		return 0
	}
	deviation := func(c, m int64) float64 {
		ac, am := allocatable(n, corev1.ResourceCPU), allocatable(n, corev1.ResourceMemory)
		if ac == 0 || am == 0 {
			return 0
		}
		return math.Abs(math.Min(float64(c)/float64(ac), 1)-math.Min(float64(m)/float64(am), 1)) / 2
	}
	return int64(75 + 50*(deviation(uc, um)-deviation(uc+pc, um+pm)))
}

func (w *naive) images(p *corev1.Pod, n *corev1.Node) int64 {
	sum := int64(0)
	has := func(n *corev1.Node, name string) (int64, bool) {
		for _, i := range n.Status.Images {
			if i.Names[0] == name {
				return i.SizeBytes, true
			}
		}
		return 0, false
	}
	for _, c := range p.Spec.Containers {
		size, ok := has(n, c.Image)
		if !ok {
			continue
		}
		nodes := 0
		for _, o := range w.nodes {
			if _, ok := has(o, c.Image); ok {
				nodes++
			}
		}
		sum += int64(float64(size) * float64(nodes) / float64(len(w.nodes)))
	}
	const least, most = 23 << 20, 1000 << 20
	top := int64(most * len(p.Spec.Containers))
	return 100 * (min(max(sum, least), top) - least) / (top - least)
}

func (w *naive) spreadScore(p *corev1.Pod, feasible []*corev1.Node) map[string]int64 {
	soft := w.constraints(p, corev1.ScheduleAnyway)
	if len(soft) == 0 {
		return nil
	}
	weights := make([]float64, len(soft))
	for i, t := range soft {
		domains, nodes := map[string]bool{}, 0
		for _, n := range feasible {
			if hasKeys(n, soft) {
				nodes++
				domains[n.Labels[t.TopologyKey]] = true
			}
		}
		size := len(domains)
		if t.TopologyKey == corev1.LabelHostname {
			size = nodes
		}
		weights[i] = math.Log(float64(size + 2))
	}
	raw, out := map[string]int64{}, map[string]int64{}
	low, high := int64(math.MaxInt64), int64(0)
	for _, n := range feasible {
		if !hasKeys(n, soft) {
			continue
		}
		sum := 0.0
		for i := range soft {
			t, count := &soft[i], 0
			for _, o := range w.nodes {
				switch {
				case t.TopologyKey == corev1.LabelHostname && o.Name == n.Name:
					count += w.counted(p, o, t)
				case t.TopologyKey != corev1.LabelHostname && w.together(n, o, t.TopologyKey) && hasKeys(o, soft) && included(p, o, t):
					count += w.counted(p, o, t)
				}
			}
			sum += float64(count)*weights[i] + float64(t.MaxSkew-1)
		}
		raw[n.Name] = int64(math.Round(sum))
		low, high = min(low, raw[n.Name]), max(high, raw[n.Name])
	}
	for name, v := range raw {
		if out[name] = 100; high > 0 {
			out[name] = 100 * (high + low - v) / high
		}
	}
	return out
}

func preferred(p *corev1.Pod) (near, away []corev1.WeightedPodAffinityTerm) {
	if a := p.Spec.Affinity; a != nil {
		if a.PodAffinity != nil {
			near = a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution
		}
		if a.PodAntiAffinity != nil {
			away = a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution
		}
	}
	return
}

func (w *naive) podScore(p *corev1.Pod, feasible []*corev1.Node) map[string]int64 {
	raw, out := map[string]int64{}, map[string]int64{}
	for _, n := range feasible {
		for _, o := range w.pods {
			at := w.nodes[o.Spec.NodeName]
			add := func(owner, target *corev1.Pod, t *corev1.PodAffinityTerm, weight int64) {
				if w.means(owner, t, target) && w.together(n, at, t.TopologyKey) {
					raw[n.Name] += weight
				}
			}
			near, away := preferred(p)
			for i := range near {
				add(p, o, &near[i].PodAffinityTerm, int64(near[i].Weight))
			}
			for i := range away {
				add(p, o, &away[i].PodAffinityTerm, -int64(away[i].Weight))
			}
			near, away = preferred(o)
			for i := range near {
				add(o, p, &near[i].PodAffinityTerm, int64(near[i].Weight))
			}
			for i := range away {
				add(o, p, &away[i].PodAffinityTerm, -int64(away[i].Weight))
			}
			hard, _ := required(o)
			for i := range hard {
				add(o, p, &hard[i], 1)
			}
		}
	}
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for _, n := range feasible {
		low, high = min(low, raw[n.Name]), max(high, raw[n.Name])
	}
	for _, n := range feasible {
		if high > low {
			out[n.Name] = int64(100 * (float64(raw[n.Name]-low) / float64(high-low)))
		}
	}
	return out
}
