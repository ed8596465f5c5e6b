package noderesources

import (
	"math"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// BalancedName is the name of the plugin Balanced.
const BalancedName = "NodeResourcesBalancedAllocation"

// Balanced implements Score: it favours nodes whose resources are used more
// evenly with the pod than without it.
type Balanced struct{ Resources []Weight }

// Name implements framework.Plugin.
func (*Balanced) Name() string { return BalancedName }

type balance struct {
	c       *cache.Cluster
	columns []column
}

// PreScore implements framework.PreScorer.
func (pl *Balanced) PreScore(c *cache.Cluster, p *cache.Pod) (framework.Scored, *framework.Status) {
	if len(p.Shape.Requests) == 0 {
		return framework.Scored{}, framework.NewStatus(BalancedName, framework.Skip)
	}
	cols := columns(c, p, pl.Resources, false)
	if len(cols) == 0 {
		return framework.Scored{}, framework.NewStatus(BalancedName, framework.Skip)
	}
	return framework.Scored{Score: &balance{c, cols}}, nil
}

// Score is 75 where the balance stays what it is, down to 50 where it goes
// from even to as uneven as can be, up to 100 the other way round.
func (b *balance) Score(n *cache.Node) int64 {
	with := b.deviation(n.Index, true)
	without := b.deviation(n.Index, false)
	return int64(75 + 50*(without-with))
}

// deviation is the standard deviation of the resources' used fractions.
func (b *balance) deviation(i int32, with bool) float64 {
	var buf [8]float64
	fractions, sum := buf[:0], 0.0
	for j := range b.columns {
		col := &b.columns[j]
		capacity := b.c.Allocatable[col.resource][i]
		if capacity == 0 {
			continue
		}
		requested := col.requested(b.c, i)
		if with {
			requested += col.adds
		}
		f := min(float64(requested)/float64(capacity), 1)
		fractions = append(fractions, f)
		sum += f
	}
	switch len(fractions) {
	case 0, 1:
		return 0
	case 2:
		return math.Abs(fractions[0]-fractions[1]) / 2
	}
	mean, squares := sum/float64(len(fractions)), 0.0
	for _, f := range fractions {
		squares += (f - mean) * (f - mean)
	}
	return math.Sqrt(squares / float64(len(fractions)))
}
