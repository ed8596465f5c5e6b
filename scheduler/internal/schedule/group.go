package schedule

import (
	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// group is nodes that differ in nothing but their own score, best first in a
// heap. Nodes of equal score lie in random order.
type group struct {
	key  groupKey
	heap []entry
	at   int // in class.list
}

// entry is a node with score<<32 | a random number.
type entry struct {
	rank int64
	node int32
}

func (e entry) score() int64 { return e.rank >> 32 }

// random is a small generator (splitmix64): ties are broken by it.
type random struct{ state uint64 }

func (r *random) next() uint32 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return uint32(z >> 33)
}

// enter puts a node into the group of a key with a score, from wherever it was.
func (k *class) enter(i int32, r *row, key groupKey, score int32) {
	if r.group != nil && r.group.key == key {
		if r.score != score {
			r.score = score
			r.group.heap[r.at].rank = k.rank(score)
			k.fix(r.group, int(r.at))
		}
		return
	}
	if r.group != nil {
		k.leave(r)
	}
	g := k.groups[key]
	if g == nil {
		g = &group{key: key, at: len(k.list)}
		k.groups[key] = g
		k.list = append(k.list, g)
	}
	r.group, r.score, r.at = g, score, int32(len(g.heap))
	g.heap = append(g.heap, entry{k.rank(score), i})
	k.up(g, len(g.heap)-1)
}

func (k *class) rank(score int32) int64 {
	return int64(score)<<32 | int64(k.view.random.next())
}

// leave takes a node out of its group.
func (k *class) leave(r *row) {
	g, i := r.group, int(r.at)
	r.group = nil
	last := len(g.heap) - 1
	if i != last {
		g.heap[i] = g.heap[last]
		k.row(g.heap[i].node).at = int32(i)
	}
	g.heap = g.heap[:last]
	if i != last {
		k.fix(g, i)
	}
	if last > 0 {
		return
	}
	delete(k.groups, g.key)
	end := len(k.list) - 1
	k.list[g.at] = k.list[end]
	k.list[g.at].at = g.at
	k.list = k.list[:end]
}

func (k *class) fix(g *group, i int) {
	if !k.up(g, i) {
		k.down(g, i)
	}
}

func (k *class) up(g *group, i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if g.heap[parent].rank >= g.heap[i].rank {
			break
		}
		k.swap(g, i, parent)
		i, moved = parent, true
	}
	return moved
}

func (k *class) down(g *group, i int) {
	for {
		child := 2*i + 1
		if child >= len(g.heap) {
			return
		}
		if right := child + 1; right < len(g.heap) && g.heap[right].rank > g.heap[child].rank {
			child = right
		}
		if g.heap[i].rank >= g.heap[child].rank {
			return
		}
		k.swap(g, i, child)
		i = child
	}
}

func (k *class) swap(g *group, i, j int) {
	g.heap[i], g.heap[j] = g.heap[j], g.heap[i]
	k.row(g.heap[i].node).at = int32(i)
	k.row(g.heap[j].node).at = int32(j)
}

// view is the groups that pass all filters, with their scores.
type view struct {
	random random
	groups []*group
	common []int64 // weighted score of the group's facets
	keys   []framework.Group
	scores []int64
	total  int // nodes
}

// look fills in the view.
func (k *class) look() {
	v := &k.view
	v.groups, v.common, v.total = v.groups[:0], v.common[:0], 0
	for _, g := range k.list {
		if k.judge(&g.key) == nil {
			v.groups = append(v.groups, g)
			v.common = append(v.common, 0)
			v.total += len(g.heap)
		}
	}
	if v.total < 2 {
		return // no choice, no scores
	}
	for j := range k.facets {
		f := k.facets[j].score
		if f == nil {
			continue
		}
		v.keys, v.scores = v.keys[:0], v.scores[:0]
		for _, g := range v.groups {
			v.keys = append(v.keys, framework.Group{Key: g.key[j], Nodes: len(g.heap)})
			v.scores = append(v.scores, 0)
		}
		f.ScoreKeys(v.keys, v.scores)
		for i, s := range v.scores {
			v.common[i] += s * k.facets[j].weight
		}
	}
}

// best is the node of the highest score in the view.
func (k *class) best() (node *cache.Node, score int64) {
	v := &k.view
	top := int64(-1)
	for i, g := range v.groups {
		if len(g.heap) == 0 {
			continue
		}
		e := g.heap[0]
		if rank := e.rank + v.common[i]<<32; rank > top {
			top, node, score = rank, k.cluster.At(e.node), e.score()+v.common[i]
		}
	}
	return node, score
}
