package apps_test

import (
	"testing"

	"xebec.dev/api/builtin"
	"xebec.dev/api/observedtest"
)

// differsIn137 are conversations in which Kubernetes 1.37 departs from the
// recorded 1.36: MaxUnavailableStatefulSet is on by default, so the field is
// kept and checked.
var differsIn137 = map[string]string{
	"apps/statefulset/maxunavailable":              "kept",
	"apps/statefulset/maxunavailable-percent":      "kept",
	"apps/statefulset/maxunavailable-percent-zero": "refused",
	"apps/statefulset/maxunavailable-bad":          "refused",
}

func TestObserved(t *testing.T) {
	observedtest.RunSequences(t, builtin.Scheme(), observedtest.Options{
		Kinds: []string{"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ControllerRevision"},
		Skip:  differsIn137,
	}, "apps.jsonl", "machinery-negotiation.jsonl")
}
