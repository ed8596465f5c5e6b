package ttl

import "testing"

// TestSteps: growing and shrinking, with room in between.
func TestSteps(t *testing.T) {
	for _, c := range []struct{ step, nodes, want int }{
		{0, 0, 0}, {0, 100, 0}, {0, 101, 1}, {1, 95, 1}, {1, 89, 0}, {1, 501, 2}, {0, 5000, 4}, {4, 1900, 4}, {4, 1700, 3}, {4, 10, 0},
	} {
		if got := plan(c.step, c.nodes); got != c.want {
			t.Errorf("%d nodes from step %d: step %d, want %d", c.nodes, c.step, got, c.want)
		}
	}
}
