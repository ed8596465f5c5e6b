package lifecycle

import (
	"testing"

	"k8s.io/api/lifecycle/v1alpha1"

	"xebec.dev/api/observedtest"
)

const target = `"target":{"pod":{"name":"p","uid":"12345678-1234-1234-1234-123456789012"}}`

func TestRequest(t *testing.T) {
	const base = `{"apiVersion":"lifecycle.k8s.io/v1alpha1","kind":"EvictionRequest","metadata":{"name":"a","namespace":"n"},
		"spec":{` + target + `,"requester":"example.com/me","intent":"Eviction"}}`
	observedtest.Attempts(t, Resources()[0], base, []observedtest.Attempt{
		{Name: "fine", Patch: `{}`},
		{Name: "nothing", Patch: `{"spec":{"target":{"pod":null},"requester":"","intent":""}}`, Want: []string{
			"spec.target: Invalid value: \"\": must specify one of: `pod`", `spec.requester: Required value`, `spec.intent: Required value`}},
		{Name: "reserved", Patch: `{"spec":{"requester":"node.k8s.io/drain","intent":"Maybe"}}`, Want: []string{
			`spec.intent: Unsupported value: "Maybe": supported values: "Eviction", "Withdrawn"`,
			`spec.requester: Invalid value: "node.k8s.io/drain": domain names *.k8s.io and *.kubernetes.io are reserved`}},
		{Name: "withdrawn", Old: base, Patch: `{"spec":{"intent":"Withdrawn"}}`},
		{Name: "another requester", Old: base, Patch: `{"spec":{"requester":"example.com/you"}}`, Want: []string{`spec.requester: Invalid value: null: field is immutable`}},
		{Name: "status", Old: base, Subresource: "status", Patch: `{"status":{"observedGeneration":0}}`,
			Want: []string{`status.observedGeneration: Invalid value: 0: must be greater than or equal to 1`}},
	})
}

func TestEviction(t *testing.T) {
	const base = `{"apiVersion":"lifecycle.k8s.io/v1alpha1","kind":"Eviction","metadata":{"name":"a","namespace":"n"},"spec":{` + target + `}}`
	responders := func(a, b string) string {
		return `{"status":{"targetResponders":[{"name":"a.b/c","priority":0,"state":"` + a + `"},{"name":"a.b/d","priority":100,"state":"` + b + `"}]}}`
	}
	observedtest.Attempts(t, Resources()[1], base, []observedtest.Attempt{
		{Name: "uid", Patch: `{"spec":{"target":{"pod":{"uid":"x"}}}}`, Want: []string{
			"spec.target.pod.uid: Invalid value: \"x\": must be a lowercase UUID in 8-4-4-4-12 format"}},
		{Name: "one active", Old: base, Subresource: "status", Patch: responders("Active", "Inactive")},
		{Name: "two active", Old: base, Subresource: "status", Patch: responders("Active", "Active"),
			Want: []string{`status.targetResponders: Invalid value: 2: at most one responder may be Active`}},
	})
	if missing := rules.Missing(v1alpha1.EvictionRequest{}, v1alpha1.Eviction{}); len(missing) > 0 {
		t.Errorf("no such fields: %q", missing)
	}
}
