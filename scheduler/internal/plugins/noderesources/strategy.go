package noderesources

import (
	"math"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// StrategyType says how a node's use of resources is scored.
type StrategyType string

// The three strategies.
const (
	LeastAllocated           StrategyType = "LeastAllocated"
	MostAllocated            StrategyType = "MostAllocated"
	RequestedToCapacityRatio StrategyType = "RequestedToCapacityRatio"
)

// Strategy is a type with its resources and, for the ratio, its shape.
type Strategy struct {
	Type      StrategyType
	Resources []Weight
	Shape     []Point
}

// Weight of a resource.
type Weight struct {
	Name   corev1.ResourceName
	Weight int64
}

// Point of a broken line: a score from 0 to 10 at a utilization in percent.
type Point struct{ Utilization, Score int64 }

// strategyScore is a strategy for a class of pods.
type strategyScore struct {
	c       *cache.Cluster
	score   func(requested, capacity int64) int64
	ratio   bool
	columns []column
}

// column is one resource of a node and what the pod adds to it.
type column struct {
	resource cache.Resource
	used     int // index into UsedNonzero, or -1
	adds     int64
	weight   int64
}

func (s *Strategy) compile(c *cache.Cluster, p *cache.Pod) framework.NodeScore {
	out := &strategyScore{c: c, columns: columns(c, p, s.Resources, true)}
	if len(out.columns) == 0 {
		return nil
	}
	switch s.Type {
	case MostAllocated:
		out.score = mostAllocated
	case RequestedToCapacityRatio:
		out.score, out.ratio = s.ratio, true
	default:
		out.score = leastAllocated
	}
	return out
}

// columns finds the resources that count for a pod: extended ones only when
// it asks for them.
func columns(c *cache.Cluster, p *cache.Pod, list []Weight, nonzero bool) []column {
	var out []column
	for _, w := range list {
		col := column{resource: c.Resource(w.Name), used: -1, weight: w.Weight}
		col.adds = amount(p.Shape, col.resource)
		switch {
		case nonzero && col.resource <= cache.Memory:
			col.used = int(col.resource)
			col.adds = p.Shape.Nonzero[col.resource]
		case col.resource > cache.Pods && col.adds == 0:
			continue
		}
		out = append(out, col)
	}
	return out
}

func (col *column) requested(c *cache.Cluster, i int32) int64 {
	if col.used >= 0 {
		return c.UsedNonzero[col.used][i]
	}
	return c.Used[col.resource][i]
}

// Score implements framework.NodeScore.
func (s *strategyScore) Score(n *cache.Node) int64 {
	sum, weights := int64(0), int64(0)
	for i := range s.columns {
		col := &s.columns[i]
		capacity := s.c.Allocatable[col.resource][n.Index]
		if capacity == 0 {
			continue
		}
		score := s.score(col.requested(s.c, n.Index)+col.adds, capacity)
		if s.ratio && score == 0 {
			continue // what is not used at all does not count
		}
		sum += score * col.weight
		weights += col.weight
	}
	switch {
	case weights == 0:
		return 0
	case s.ratio:
		return int64(math.Round(float64(sum) / float64(weights)))
	}
	return sum / weights
}

func leastAllocated(requested, capacity int64) int64 {
	if requested > capacity {
		return 0
	}
	return (capacity - requested) * framework.MaxScore / capacity
}

func mostAllocated(requested, capacity int64) int64 {
	return min(requested, capacity) * framework.MaxScore / capacity
}

// ratio follows the shape; beyond its ends the score stays what it is there.
func (s *Strategy) ratio(requested, capacity int64) int64 {
	used := int64(100)
	if requested <= capacity {
		used = requested * 100 / capacity
	}
	const scale = framework.MaxScore / 10
	for i, p := range s.Shape {
		if used > p.Utilization {
			continue
		}
		if i == 0 {
			return p.Score * scale
		}
		before := s.Shape[i-1]
		return before.Score*scale + (p.Score-before.Score)*scale*(used-before.Utilization)/(p.Utilization-before.Utilization)
	}
	return s.Shape[len(s.Shape)-1].Score * scale
}
