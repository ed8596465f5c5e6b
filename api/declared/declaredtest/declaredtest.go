// Package declaredtest holds validation against the checks that the API's
// types declare, where their module carries those as code: what they refuse is
// refused here too, at the same place and for the same kind of reason.
package declaredtest

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Compare checks variants of a valid object, each with something odd in it.
// check decodes one, and gives our errors and the declared ones.
func Compare(t *testing.T, base string, check func(object []byte) (ours, declared field.ErrorList, err error)) {
	t.Helper()
	if ours, declared, err := check([]byte(base)); err != nil || len(ours)+len(declared) > 0 {
		t.Fatalf("the valid one: %v, ours %v, declared %v", err, ours.ToAggregate(), declared.ToAggregate())
	}
	random := rand.New(rand.NewPCG(1, 2))
	refused, shown := 0, map[string]bool{}
	for range 800 {
		object := oddly(random, base)
		ours, declared, err := check(object)
		if err != nil {
			continue // it does not decode
		}
		for _, d := range declared {
			if d.IsAlpha() {
				continue // not enforced
			}
			refused++
			if what := d.Field + string(d.Type); !matched(d, ours) && !shown[what] {
				shown[what] = true
				t.Errorf("%s\ndeclared: %v\nours: %v", object, d, ours.ToAggregate())
			}
		}
	}
	if refused < 20 {
		t.Errorf("only %d refusals", refused)
	}
}

func matched(d *field.Error, ours field.ErrorList) bool {
	for _, o := range ours {
		if o.Type == d.Type && o.Field == d.Field {
			return true
		}
	}
	return false
}

// oddly is a JSON object with something changed at one place.
func oddly(random *rand.Rand, base string) []byte {
	var tree any
	if err := json.Unmarshal([]byte(base), &tree); err != nil {
		panic(err)
	}
	tree.(map[string]any)["spec"] = bend(random, tree.(map[string]any)["spec"])
	if s, ok := tree.(map[string]any)["status"]; ok {
		tree.(map[string]any)["status"] = bend(random, s)
	}
	out, err := json.Marshal(tree)
	if err != nil {
		panic(err)
	}
	return out
}

var odd = []any{"", "a b", "A", "-", "a/b", "a/b/c", "x.y/z", "kubernetes.io/x", strings.Repeat("a", 64), strings.Repeat("a", 260), "1.0", nil, -1.0, 0.0, true}

// bend goes down to one place and changes what is there.
func bend(random *rand.Rand, x any) any {
	here := random.IntN(5) == 0
	switch x := x.(type) {
	case map[string]any:
		sorted := slices.Sorted(maps.Keys(x))
		if len(sorted) == 0 {
			return x
		}
		k := sorted[random.IntN(len(sorted))]
		switch {
		case here && random.IntN(2) == 0:
			delete(x, k)
		case here:
			x[odd[random.IntN(11)].(string)] = x[k]
		default:
			x[k] = bend(random, x[k])
		}
		return x
	case []any:
		if len(x) == 0 {
			return x
		}
		if here {
			times := []int{0, 2, 5, 9, 17, 33, 65, 257}[random.IntN(8)]
			out := []any{}
			for range times {
				out = append(out, x[0])
			}
			return out
		}
		i := random.IntN(len(x))
		x[i] = bend(random, x[i])
		return x
	}
	return odd[random.IntN(len(odd))]
}
