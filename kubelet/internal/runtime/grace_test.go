package runtime

import (
	"math"
	"testing"
	"time"
)

// No time that a pod may ask for is one that has been.
func TestPatience(t *testing.T) {
	for _, c := range []struct {
		seconds         int64
		grace, patience time.Duration
	}{
		{-1, 0, 0}, {0, 0, 0}, {1, time.Second, 1500 * time.Millisecond}, {30, 30 * time.Second, 45 * time.Second},
		{math.MaxInt64, maxGrace * time.Second, maxGrace * time.Second / 2 * 3}, {math.MinInt64, 0, 0},
	} {
		grace := Grace(c.seconds)
		if grace != c.grace || Patience(grace) != c.patience || Patience(grace) < grace {
			t.Errorf("%d seconds: %v, and with patience %v", c.seconds, grace, Patience(grace))
		}
	}
}
