package autoscaling_test

import (
	"testing"

	"xebec.dev/api/builtin"
	"xebec.dev/api/observedtest"
)

// differsIn137 are conversations in which Kubernetes 1.37 departs from the
// recorded 1.36: HPAScaleToZero is on by default, so the least minimum is 0.
var differsIn137 = map[string]string{
	"autoscaling-policy/hpa-v2/min-zero":          "refused for its metrics only",
	"autoscaling-policy/hpa-v2/min-zero-external": "accepted",
	"autoscaling-policy/hpa-v2/many-errors":       "-2 is below 0",
}

func TestObserved(t *testing.T) {
	observedtest.RunSequences(t, builtin.Scheme(), observedtest.Options{
		Kinds: []string{"HorizontalPodAutoscaler"}, Skip: differsIn137,
	}, "autoscaling-policy.jsonl", "machinery-negotiation.jsonl")
}
