package batch_test

import (
	"testing"

	"xebec.dev/api/builtin"
	"xebec.dev/api/observedtest"
)

func TestObserved(t *testing.T) {
	observedtest.RunSequences(t, builtin.Scheme(), observedtest.Options{Kinds: []string{"Job", "CronJob"}},
		"batch.jsonl", "machinery-negotiation.jsonl")
}
