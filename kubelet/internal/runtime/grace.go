package runtime

import "time"

// maxGrace is a time, in seconds, with which one can still reckon: half as much
// again is a duration too, whatever a pod asks for.
const maxGrace = 1 << 32

// Grace is the time of so many seconds that a pod has to end.
func Grace(seconds int64) time.Duration {
	return time.Duration(min(max(seconds, 0), maxGrace)) * time.Second
}

// Patience with a pod that has so much time to end is Kubernetes'.
func Patience(grace time.Duration) time.Duration { return grace + grace/2 }
