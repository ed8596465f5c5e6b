package coordination

import (
	"testing"

	"xebec.dev/api/observedtest"
)

func TestCandidate(t *testing.T) {
	const base = `{"apiVersion":"coordination.k8s.io/v1beta1","kind":"LeaseCandidate","metadata":{"name":"a","namespace":"n"},
		"spec":{"leaseName":"l","binaryVersion":"1.37.0","emulationVersion":"1.36.0","strategy":"OldestEmulationVersion"}}`
	observedtest.Attempts(t, candidates(), base, []observedtest.Attempt{
		{Name: "fine", Patch: `{}`},
		{Name: "empty", Patch: `{"spec":{"leaseName":null,"binaryVersion":null,"emulationVersion":null,"strategy":null}}`, Want: []string{
			`spec.leaseName: Required value`, `spec.binaryVersion: Required value`, `spec.strategy: Required value`}},
		{Name: "no emulation", Patch: `{"spec":{"emulationVersion":null}}`,
			Want: []string{"spec.emulationVersion: Required value: must be specified when `strategy` is 'OldestEmulationVersion'"}},
		{Name: "emulates the future", Patch: `{"spec":{"emulationVersion":"1.38.0"}}`,
			Want: []string{"spec.binaryVersion: Invalid value: \"1.37.0\": must be greater than or equal to `emulationVersion`"}},
		{Name: "not a version", Patch: `{"spec":{"binaryVersion":"v1.37"}}`,
			Want: []string{`spec.binaryVersion: Invalid value: "v1.37": must be a valid semantic version`}},
		{Name: "own strategy", Patch: `{"spec":{"strategy":"example.com/mine","emulationVersion":null}}`},
		{Name: "unknown strategy", Patch: `{"spec":{"strategy":"Mine"}}`,
			Want: []string{`spec.strategy: Unsupported value: "Mine": supported values: "OldestEmulationVersion"`}},
		{Name: "another lease", Old: base, Patch: `{"spec":{"leaseName":"m"}}`, Want: []string{`spec.leaseName: Invalid value: "m": field is immutable`}},
	})
}
