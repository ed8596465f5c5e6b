package rbac

import (
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func TestRecorded(t *testing.T) {
	observedtest.RunSequences(t, scheme.New(Resources()), observedtest.Options{}, "rbac-auth.jsonl", "machinery-negotiation.jsonl")
}

func TestBindings(t *testing.T) {
	r, _ := scheme.New(Resources()).Resource("rbac.authorization.k8s.io", "rolebindings")
	observedtest.Attempts(t, *r, `{"roleRef":{"kind":"Role","name":"r"}}`, []observedtest.Attempt{
		{Name: "group of a service account", Patch: `{"subjects":[{"kind":"ServiceAccount","apiGroup":"x","name":"a","namespace":"b"}]}`,
			Want: []string{`subjects[0].apiGroup: Unsupported value: "x": supported values: ""`}},
		{Name: "two faults of a role name", Patch: `{"roleRef":{"name":"a/%"}}`,
			Want: []string{`roleRef.name: Invalid value: "a/%": may not contain '/'`, `roleRef.name: Invalid value: "a/%": may not contain '%'`}},
	})
}
