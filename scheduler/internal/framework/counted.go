package framework

import "xebec.dev/scheduler/internal/cache"

// Counted is the base of score facets whose raw score is a number that only
// the node's object decides.
type Counted struct {
	Count func(n *cache.Node) int64

	keys map[int64]int32
	raw  []int64 // by key
	at   []int32 // key by node index
}

// Update implements Facet.
func (f *Counted) Update(n *cache.Node, static bool) int32 {
	if more := int(n.Index) + 1 - len(f.at); more > 0 {
		f.at = append(f.at, make([]int32, more)...)
	}
	if !static {
		return f.at[n.Index]
	}
	v := f.Count(n)
	key, ok := f.keys[v]
	if !ok {
		if f.keys == nil {
			f.keys = map[int64]int32{}
		}
		key = int32(len(f.raw))
		f.keys[v] = key
		f.raw = append(f.raw, v)
	}
	f.at[n.Index] = key
	return key
}

// Remove implements Facet.
func (f *Counted) Remove(int32) {}

// Everywhere implements Facet.
func (f *Counted) Everywhere() bool { return false }

// Close implements Facet.
func (f *Counted) Close() {}

// Raw is the number behind a key.
func (f *Counted) Raw(key int32) int64 { return f.raw[key] }

// Normalize scales so that the largest is MaxScore, or 0 when reversed.
func (f *Counted) Normalize(groups []Group, scores []int64, reverse bool) {
	most := int64(0)
	for i := range groups {
		most = max(most, f.raw[groups[i].Key])
	}
	for i := range groups {
		s := int64(0)
		if most > 0 {
			s = MaxScore * f.raw[groups[i].Key] / most
		}
		if reverse {
			s = MaxScore - s
		}
		scores[i] = s
	}
}
