package state

import "testing"

// TestPercent: the room for garbage is the same for middling heaps, in
// proportion for small and huge ones.
func TestPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 60}, {1 << 20, 60}, {20 << 20, 60}, {24 << 20, 50}, {48 << 20, 25}, {1 << 30, 20}} {
		if got := gcPercent(c.live); got != c.want {
			t.Errorf("%d MB in use: %d %%, want %d", c.live>>20, got, c.want)
		}
	}
}
