package apiserverinternal

import (
	"testing"

	"xebec.dev/api/observedtest"
)

func TestStorageVersion(t *testing.T) {
	const base = `{"apiVersion":"internal.apiserver.k8s.io/v1alpha1","kind":"StorageVersion","metadata":{"name":"apps.deployments"},"spec":{}}`
	status := func(s string) string { return `{"status":` + s + `}` }
	const server = `{"apiServerID":"a","encodingVersion":"apps/v1","decodableVersions":["apps/v1"],"servedVersions":["apps/v1"]}`
	observedtest.Attempts(t, Resources()[0], base, []observedtest.Attempt{
		{Name: "name without a group", Patch: `{"metadata":{"name":"deployments"}}`,
			Want: []string{`metadata.name: Invalid value: "deployments": name must be in the form of <group>.<resource>`}},
		{Name: "one server", Old: base, Subresource: "status", Patch: status(`{"storageVersions":[` + server + `],"commonEncodingVersion":"apps/v1"}`)},
		{Name: "no common version", Old: base, Subresource: "status", Patch: status(`{"storageVersions":[` + server + `]}`),
			Want: []string{`status.commonEncodingVersion: Invalid value: null: the common encoding version is apps/v1`}},
		{Name: "two servers that differ", Old: base, Subresource: "status",
			Patch: status(`{"storageVersions":[` + server + `,{"apiServerID":"b","encodingVersion":"v2","decodableVersions":["apps/v1"],"servedVersions":["v3"]}],"commonEncodingVersion":"apps/v1"}`),
			Want: []string{
				`status.storageVersions[1].decodableVersions: Invalid value: ["apps/v1"]: decodableVersions must include encodingVersion v2`,
				`status.storageVersions[1].servedVersions[0]: Invalid value: "v3": individual served version must be included in decodable versions [apps/v1]`,
				`status.commonEncodingVersion: Invalid value: "apps/v1": should be nil if servers do not agree on the same encoding version, or if there is no server reporting the supported versions yet`}},
		{Name: "conditions", Old: base, Subresource: "status", Patch: status(`{"conditions":[{"type":"A","status":"True","reason":"R","message":"m"},{"type":"A","status":""}]}`),
			Want: []string{
				`status.conditions[1].type: Duplicate value: "A"`, `status.conditions[1].status: Required value`,
				`status.conditions[1].reason: Required value`, `status.conditions[1].message: Required value`}},
	})
}
