package node_test

import (
	"testing"

	"xebec.dev/api/builtin"
	"xebec.dev/api/observedtest"
)

func TestObserved(t *testing.T) {
	observedtest.RunSequences(t, builtin.Scheme(), observedtest.Options{Kinds: []string{"RuntimeClass"}},
		"misc-groups.jsonl", "machinery-negotiation.jsonl")
}
