package state

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"xebec.dev/kube-proxy/internal/compile"
)

func random(r *rand.Rand, name string) *compile.Service {
	if r.IntN(4) == 0 {
		return nil
	}
	s := &compile.Service{Name: name}
	for range 1 + r.IntN(3) {
		s.Frontends = append(s.Frontends, compile.Frontend{
			Kind: compile.External, Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(6))}), Port: 80, Protocol: 6, V4: true,
			Pool: compile.Pool{Masquerade: compile.Masquerade(r.IntN(3))},
		})
	}
	return s
}

// TestClaims: after any changes each place belongs to the first service that
// wants it, and the changes lead from what was told before to that.
func TestClaims(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := newClaims()
		wants, told := map[string]*compile.Service{}, map[string]*compile.Service{}
		for step := range 40 {
			batch := map[string]*compile.Service{}
			for range 1 + r.IntN(3) {
				name := fmt.Sprint("x/", r.IntN(6))
				batch[name] = random(r, name)
				wants[name] = batch[name]
			}
			for _, change := range c.put(batch) {
				if told[change.Name] != change.Old {
					t.Fatalf("seed %d step %d: %s was not %v", seed, step, change.Name, change.Old)
				}
				told[change.Name] = change.New
			}
			check(t, wants, told)
			// From nothing it is the same.
			all := c.all()
			for _, a := range all {
				if told[a.Name] != a.New {
					t.Fatalf("seed %d step %d: %s differs from nothing", seed, step, a.Name)
				}
			}
		}
	}
}

// check compares with a plain count.
func check(t *testing.T, wants, told map[string]*compile.Service) {
	t.Helper()
	owner := map[place]string{}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range wants {
			if !yield(n) {
				return
			}
		}
	}) {
		s := wants[name]
		var want []string
		if s != nil {
			seen := map[place]bool{}
			for i := range s.Frontends {
				p := placeOf(&s.Frontends[i])
				if owner[p] == "" {
					owner[p] = name
				}
				if owner[p] == name && !seen[p] {
					seen[p] = true
					want = append(want, fmt.Sprint(p, s.Frontends[i].Pool.Masquerade))
				}
			}
		}
		var got []string
		if g := told[name]; g != nil {
			for i := range g.Frontends {
				got = append(got, fmt.Sprint(placeOf(&g.Frontends[i]), g.Frontends[i].Pool.Masquerade))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s has %v, want %v", name, got, want)
		}
	}
}
