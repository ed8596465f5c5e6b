package state

import "testing"

// TestPercent: the room for garbage is the same for middling heaps, in
// proportion for small and huge ones.
func TestPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 80}, {1 << 20, 80}, {20 << 20, 80}, {24 << 20, 66}, {48 << 20, 33}, {1 << 30, 20}} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("%d MB in use: %d %%, want %d", c.live>>20, got, c.want)
		}
	}
}
