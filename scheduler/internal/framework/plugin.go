package framework

import (
	"context"
	"time"

	"xebec.dev/scheduler/internal/cache"
)

// MaxScore is a plugin's highest score for a node, before its weight.
const MaxScore = 100

// Plugin is what all have.
type Plugin interface{ Name() string }

// PreEnqueuer may keep a pod out of the active queue.
type PreEnqueuer interface {
	Plugin
	PreEnqueue(p *cache.Pod) *Status
}

// Queued is what queue order looks at.
type Queued struct {
	Pod   *cache.Pod
	Added time.Time
}

// QueueSorter orders the active queue.
type QueueSorter interface {
	Plugin
	Less(a, b *Queued) bool
}

// Signer adds to what makes pods alike: whatever its filter or score depends
// on beside the pod's shape and labels. ok is false for a pod that is like no
// other.
type Signer interface {
	Plugin
	Sign(c *cache.Cluster, p *cache.Pod) (signature string, ok bool)
}

// PreFilterer compiles filters.
type PreFilterer interface {
	Plugin
	// PreFilter gives what rejects nodes for pods like p. A status rejects
	// them everywhere.
	PreFilter(c *cache.Cluster, p *cache.Pod) (Compiled, *Status)
}

// Compiled is a plugin's filter for like pods; the zero value passes all.
type Compiled struct {
	// Nodes, when not nil, are the only ones that come into question.
	Nodes []string
	// Filter looks at a node and what is on it.
	Filter NodeFilter
	// Static says that Filter depends on the node's object alone.
	Static bool
	// Facet is for filters that depend on other nodes too.
	Facet FilterFacet
}

// NodeFilter passes a node (nil) or rejects it. It depends on nothing but the
// node, its pods, and what was known when it was compiled.
type NodeFilter interface {
	Filter(n *cache.Node) *Status
}

// Facet sorts nodes into groups that are alike in one respect, by a key, and
// keeps what it needs to know of each node. Facets of a class of pods are told
// of each node once, and again when the node has changed.
type Facet interface {
	// Update looks at a node and gives its key. static is false when only
	// pods on it have changed.
	Update(n *cache.Node, static bool) int32
	// Remove forgets a node's index.
	Remove(index int32)
	// Everywhere reports that the facet must see nodes that are out of the
	// question, too, since it compares with them.
	Everywhere() bool
	// Close gives back what the facet holds.
	Close()
}

// FilterFacet rejects groups of nodes.
type FilterFacet interface {
	Facet
	// FilterKey judges the nodes of a key.
	FilterKey(key int32) *Status
}

// Group is nodes of one key.
type Group struct {
	Key int32
	// Nodes that passed all filters.
	Nodes int
}

// ScoreFacet scores groups of nodes relative to each other.
type ScoreFacet interface {
	Facet
	// ScoreKeys fills in scores from 0 to MaxScore. Keys may repeat.
	ScoreKeys(groups []Group, scores []int64)
}

// PreScorer compiles scores.
type PreScorer interface {
	Plugin
	// PreScore gives what scores nodes for pods like p; zero for nothing.
	PreScore(c *cache.Cluster, p *cache.Pod) (Scored, *Status)
}

// Scored is a plugin's score for like pods.
type Scored struct {
	// Score looks at a node and what is on it.
	Score NodeScore
	// Facet is for scores that depend on other nodes too.
	Facet ScoreFacet
}

// NodeScore scores a node from 0 to MaxScore.
type NodeScore interface {
	Score(n *cache.Node) int64
}

// PostFilterer tries to make room for a pod that fits nowhere.
type PostFilterer interface {
	Plugin
	PostFilter(ctx context.Context, a *Attempt) (*PostFilterResult, *Status)
}

// PostFilterResult is what a PostFilter found.
type PostFilterResult struct {
	// Nominated is the node where room is made, "" to clear a nomination.
	Nominated string
	Victims   []*cache.Pod
	// Clear ends an earlier nomination, with a status that rejects.
	Clear bool
}

// Keep stores a plugin's data.
func (a *Attempt) Keep(name string, v any) {
	if a.Data == nil {
		a.Data = map[string]any{}
	}
	a.Data[name] = v
}

// Attempt is one try to schedule a pod.
type Attempt struct {
	Cluster *cache.Cluster
	Pod     *cache.Pod
	// Node chosen, from Reserve on.
	Node string
	// Data of plugins, by name.
	Data map[string]any
	// Rejections gives the verdict on a node, at PostFilter.
	Rejection func(node *cache.Node) *Status
	// Fits evaluates the pod on a node as the cluster is at this moment,
	// within a what-if (cache.Cluster.Lift); Settle ends what-ifs on a node.
	Fits   func(node *cache.Node) *Status
	Settle func(node *cache.Node)
}

// Reserver keeps something for a pod that has a node. Unreserve must be
// idempotent.
type Reserver interface {
	Plugin
	Reserve(a *Attempt) *Status
	Unreserve(a *Attempt)
}

// Permitter lets a pod go on to be bound, or wait, or not.
type Permitter interface {
	Plugin
	Permit(a *Attempt) (*Status, time.Duration)
}

// PreBinder does what must be done before binding. It runs beside the
// scheduler, and only when PreBindPreFlight says that there is something.
type PreBinder interface {
	Plugin
	PreBindPreFlight(a *Attempt) *Status
	PreBind(ctx context.Context, a *Attempt) *Status
}

// Binder binds; Skip leaves it to the next one. The default binder is known
// to the scheduler, which sends its bindings in batches.
type Binder interface {
	Plugin
	Bind(ctx context.Context, a *Attempt) *Status
}

// PostBinder is told of a bound pod.
type PostBinder interface {
	Plugin
	PostBind(a *Attempt)
}
