package policy_test

import (
	"testing"

	"xebec.dev/api/builtin"
	"xebec.dev/api/observedtest"
)

// differsIn137 are conversations in which Kubernetes 1.37 departs from the
// recorded 1.36.
var differsIn137 = map[string]string{
	"autoscaling-policy/pdb/status-conditions-bad": "a condition without a type lacks a required value; a duplicate is the item, not its type",
}

func TestObserved(t *testing.T) {
	observedtest.RunSequences(t, builtin.Scheme(), observedtest.Options{
		Kinds: []string{"PodDisruptionBudget"}, Skip: differsIn137,
	}, "autoscaling-policy.jsonl", "machinery-negotiation.jsonl")
}
