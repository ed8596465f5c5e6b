package scheduling_test

import (
	"testing"

	"xebec.dev/api/builtin"
	"xebec.dev/api/observedtest"
)

func TestObserved(t *testing.T) {
	observedtest.RunSequences(t, builtin.Scheme(), observedtest.Options{Kinds: []string{"PriorityClass"}},
		"misc-groups.jsonl", "machinery-negotiation.jsonl")
}
