package gc

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/controller-manager/internal/catalog"
	"xebec.dev/controller-manager/internal/golden"
)

var (
	things  = &catalog.Resource{Version: "v1", Plural: "things", Kind: "Thing", Namespaced: true}
	globals = &catalog.Resource{Version: "v1", Plural: "globals", Kind: "Global"}
)

func known(_, kind string) (namespaced, ok bool) {
	switch kind {
	case "Thing":
		return true, true
	case "Global":
		return false, true
	}
	return false, false
}

// metadata of a line: NAME [global] [ns=] [owners=a,b!] [deleted] [foreground]
// [orphan]; an owner with ! is blocked by its dependent, one with @ is of the
// kind Global, one with ? of a kind that nobody knows.
func metadata(name string, pairs map[string]string) (*catalog.Resource, *metav1.PartialObjectMetadata) {
	r := things
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), ResourceVersion: "7"}}
	if v := pairs["ns"]; v != "" {
		m.Namespace = v
	}
	if pairs["global"] != "" {
		r, m.Namespace = globals, ""
	}
	for o := range strings.SplitSeq(pairs["owners"], ",") {
		if o == "" {
			continue
		}
		ref := metav1.OwnerReference{APIVersion: "v1", Kind: "Thing"}
		if strings.Contains(o, "!") {
			yes := true
			ref.BlockOwnerDeletion = &yes
		}
		if strings.Contains(o, "@") {
			ref.Kind = "Global"
		}
		if strings.Contains(o, "?") {
			ref.Kind = "Unknown"
		}
		ref.Name = strings.Trim(o, "!@?")
		ref.UID = types.UID(ref.Name)
		m.OwnerReferences = append(m.OwnerReferences, ref)
	}
	if pairs["deleted"] != "" {
		now := metav1.Now()
		m.DeletionTimestamp = &now
	}
	if pairs["foreground"] != "" {
		m.Finalizers = append(m.Finalizers, metav1.FinalizerDeleteDependents)
	}
	if pairs["orphan"] != "" {
		m.Finalizers = append(m.Finalizers, metav1.FinalizerOrphanDependents)
	}
	return r, m
}

// TestGraph: objects are seen and go away, line by line; then the plans of
// those that need a look.
func TestGraph(t *testing.T) {
	golden.Run(t, "testdata/graph.txt", func(t *testing.T, in []string) string {
		var queue []types.UID
		g := newGraph(func(u types.UID) { queue = append(queue, u) })
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "see":
				r, m := metadata(words[1], pairs)
				g.observe(r, m)
			case "gone":
				g.forget(types.UID(words[1]))
			case "missing": // looked for in vain
				g.missing.add(reference{uid: types.UID(words[1]), apiVersion: "v1", kind: "Thing", name: words[1], from: "ns"})
			case "settle": // what was to be looked at so far
				queue = nil
			case "look":
				queue = append(queue, types.UID(words[1]))
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		slices.Sort(queue)
		var b strings.Builder
		for _, u := range slices.Compact(queue) {
			text := g.plan(u, known).String()
			if text == "" {
				text = "nothing\n"
			}
			for l := range strings.Lines(text) {
				fmt.Fprintf(&b, "%s: %s", u, l)
			}
		}
		return b.String()
	})
}

// TestEdgesAreClean: after any order of events the graph has no edge or node
// that stands for nothing.
func TestEdgesAreClean(t *testing.T) {
	g := newGraph(func(types.UID) {})
	for i := range 1000 {
		name := fmt.Sprint("o", i%37)
		switch i % 5 {
		case 4:
			g.forget(types.UID(name))
		default:
			r, m := metadata(name, map[string]string{"owners": fmt.Sprintf("o%d,o%d", (i*7)%37, (i*13)%37)})
			g.observe(r, m)
		}
	}
	for i := range 37 {
		g.forget(types.UID(fmt.Sprint("o", i)))
	}
	if len(g.nodes) != 0 {
		t.Errorf("left: %v", slices.Collect(maps.Keys(g.nodes)))
	}
}

func TestRecentForgetsTheOldest(t *testing.T) {
	r := newRecent[int]()
	for i := range maxRecent + 1 {
		r.add(i)
	}
	if r.has(0) || !r.has(1) || !r.has(maxRecent) || len(r.set) != maxRecent {
		t.Errorf("%d remembered", len(r.set))
	}
}
