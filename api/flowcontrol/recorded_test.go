package flowcontrol

import (
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func TestRecorded(t *testing.T) {
	observedtest.RunSequences(t, scheme.New(Resources()), observedtest.Options{
		Skip: map[string]string{"aggregation-flow/flowschema/status-ok": "the server sets conditions by itself"},
	}, "aggregation-flow.jsonl", "machinery-negotiation.jsonl")
}
