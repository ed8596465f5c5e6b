// Package imagelocality prefers nodes that have a pod's images.
package imagelocality

import (
	"slices"
	"strings"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
)

// Name of the plugin.
const Name = "ImageLocality"

// Sizes between which images count, in bytes; the upper one per container.
const (
	least           = 23 << 20
	mostByContainer = 1000 << 20
	// counted images of a pod; the first ones.
	counted = 31
)

// Plugin implements Score.
type Plugin struct{}

// Name implements framework.Plugin.
func (Plugin) Name() string { return Name }

// PreScore implements framework.PreScorer.
func (Plugin) PreScore(c *cache.Cluster, p *cache.Pod) (framework.Scored, *framework.Status) {
	f := &facet{cluster: c}
	spec := &p.Obj.Spec
	for i := range spec.InitContainers {
		f.images = append(f.images, normalize(spec.InitContainers[i].Image))
	}
	for i := range spec.Containers {
		f.images = append(f.images, normalize(spec.Containers[i].Image))
	}
	f.containers = int64(len(f.images))
	f.images = f.images[:min(len(f.images), counted)]
	return framework.Scored{Facet: f}, nil
}

// normalize adds the tag that an image without one means.
func normalize(name string) string {
	if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
		return name + ":latest"
	}
	return name
}

// facet's keys are sets of images, as bits.
type facet struct {
	cluster    *cache.Cluster
	images     []string
	containers int64
	keys       []int32
}

func (f *facet) Update(n *cache.Node, static bool) int32 {
	if int(n.Index) >= len(f.keys) {
		f.keys = slices.Grow(f.keys, int(n.Index)+1-len(f.keys))[:n.Index+1]
	}
	if !static {
		return f.keys[n.Index]
	}
	key := int32(0)
	for i, name := range f.images {
		if image := f.cluster.Image(name); image != nil && n.HasImage(image) {
			key |= 1 << i
		}
	}
	f.keys[n.Index] = key
	return key
}

func (f *facet) Remove(int32)     {}
func (f *facet) Everywhere() bool { return false }
func (f *facet) Close()           {}

func (f *facet) ScoreKeys(groups []framework.Group, scores []int64) {
	for i := range groups {
		if groups[i].Key != 0 {
			scores[i] = f.score(groups[i].Key)
		}
	}
}

// score weighs each image by how many of the nodes have it, so that pods do
// not all go to the one node that has it.
func (f *facet) score(key int32) int64 {
	sum, nodes := int64(0), float64(f.cluster.Len())
	for i, name := range f.images {
		if image := f.cluster.Image(name); key&(1<<i) != 0 && image != nil {
			sum += int64(float64(image.Size) * float64(image.Nodes) / nodes)
		}
	}
	most := mostByContainer * f.containers
	sum = min(max(sum, least), most)
	return framework.MaxScore * (sum - least) / (most - least)
}
