package certificates

import (
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func TestRecorded(t *testing.T) {
	observedtest.RunSequences(t, scheme.New(Resources()), observedtest.Options{}, "certificates.jsonl")
}
