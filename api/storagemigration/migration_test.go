package storagemigration

import (
	"testing"

	"xebec.dev/api/observedtest"
)

func TestMigration(t *testing.T) {
	const base = `{"apiVersion":"storagemigration.k8s.io/v1beta1","kind":"StorageVersionMigration","metadata":{"name":"a"},"spec":{"resource":{"resource":"pods"}}}`
	status := func(conditions string) string { return `{"status":{"conditions":[` + conditions + `]}}` }
	true := func(kind string) string {
		return `{"type":"` + kind + `","status":"True","reason":"R","message":"","lastTransitionTime":"2024-01-01T00:00:00Z"}`
	}
	shown := func(kind string) string {
		return `{"type":"` + kind + `","status":"True","lastTransitionTime":"2024-01-01T00:00:00Z","reason":"R","message":""}`
	}
	observedtest.Attempts(t, Resources()[0], base, []observedtest.Attempt{
		{Name: "fine", Patch: `{"spec":{"resource":{"group":"apps","resource":"deployments"}}}`},
		{Name: "no resource", Patch: `{"spec":{"resource":{"group":"A","resource":""}}}`, Want: []string{
			`spec.resource.resource: Required value: resource is required`,
			`spec.resource.group: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`}},
		{Name: "another resource", Old: base, Patch: `{"spec":{"resource":{"resource":"nodes"}}}`,
			Want: []string{`spec: Invalid value: {"Resource":{"group":"","resource":"nodes"}}: field is immutable`}},
		{Name: "runs", Old: base, Subresource: "status", Patch: `{"status":{"resourceVersion":"7","conditions":[` + true("Running") + `]}}`},
		{Name: "runs when done", Old: base, Subresource: "status", Patch: status(true("Running") + "," + true("Succeeded")),
			Want: []string{`status.conditions: Invalid value: [` + shown("Running") + `,` + shown("Succeeded") + `]: Running condition cannot be true when success condition is true`}},
		{Name: "odd version", Old: base, Subresource: "status", Patch: `{"status":{"resourceVersion":"x"}}`,
			Want: []string{`status.resourceVersion: Invalid value: "x": resource version should be a positive integer`}},
	})
}
