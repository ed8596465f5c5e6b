package storage

import (
	"strings"
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func resourceOf(plural string) scheme.Resource {
	r, _ := scheme.New(Resources()).Resource(group, plural)
	return *r
}

func TestStorageClass(t *testing.T) {
	observedtest.Attempts(t, resourceOf("storageclasses"), `{"provisioner":"p"}`, []observedtest.Attempt{
		{Name: "parameters change", Old: `{"parameters":{"a":"b"}}`, Patch: `{"parameters":{"a":"c"}}`,
			Want: []string{`parameters: Invalid value: {"a":"c"}: field is immutable`}},
		{Name: "binding changes", Old: `{}`, Patch: `{"volumeBindingMode":"WaitForFirstConsumer"}`,
			Want: []string{`volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable`}},
		{Name: "deprecated label", Patch: `{"allowedTopologies":[{"matchLabelExpressions":[{"key":"failure-domain.beta.kubernetes.io/zone","values":["a"]}]}]}`,
			Warnings: []string{`allowedTopologies[0].matchLabelExpressions[0].key: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use "topology.kubernetes.io/zone" instead`}},
		{Name: "parameters too large", Patch: `{"parameters":{"a":"` + strings.Repeat("x", 256<<10) + `"}}`,
			Want: []string{"parameters: Too long: may not be more than 262144 bytes"}},
		{Name: "two empty terms", Patch: `{"allowedTopologies":[{},{}]}`, Want: []string{
			`allowedTopologies[0].matchLabelExpressions: Duplicate value: ""`,
			`allowedTopologies[0].matchLabelExpressions: Duplicate value: ""`,
			`allowedTopologies[1].matchLabelExpressions: Duplicate value: ""`,
			`allowedTopologies[1].matchLabelExpressions: Duplicate value: ""`,
			`allowedTopologies[1].matchLabelExpressions: Duplicate value: ""`,
		}},
	})
}

func TestCSIDriver(t *testing.T) {
	observedtest.Attempts(t, resourceOf("csidrivers"), `{}`, []observedtest.Attempt{
		{Name: "capitals in the name", Patch: `{"metadata":{"name":"Driver.example.com"}}`},
		{Name: "long name", Patch: `{"metadata":{"name":"` + strings.Repeat("a", 64) + `"}}`,
			Want: []string{"metadata.name: Too long: may not be more than 63 bytes"}},
		{Name: "long token", Patch: `{"spec":{"tokenRequests":[{"audience":"a","expirationSeconds":4294967297}]}}`,
			Want: []string{"spec.tokenRequests[0].expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds"}},
		{Name: "tokens in secrets", Old: `{"spec":{"tokenRequests":[{"audience":"a"}],"serviceAccountTokenInSecrets":true}}`, Patch: `{"spec":{"requiresRepublish":true}}`},
	})
}

func TestCSINode(t *testing.T) {
	observedtest.Attempts(t, resourceOf("csinodes"), `{}`, []observedtest.Attempt{
		{Name: "long id", Patch: `{"spec":{"drivers":[{"name":"a","nodeID":"` + strings.Repeat("i", 193) + `"}]}}`,
			Want: []string{`spec.drivers[0].nodeID: Invalid value: "` + strings.Repeat("i", 193) + `": must be 192 characters or less`}},
		{Name: "negative count", Patch: `{"spec":{"drivers":[{"name":"a","nodeID":"i","allocatable":{"count":-1}}]}}`,
			Want: []string{`spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0`}},
		{Name: "count changes", Old: `{"spec":{"drivers":[{"name":"a","nodeID":"i","allocatable":{"count":1}}]}}`,
			Patch: `{"spec":{"drivers":[{"name":"a","nodeID":"i","allocatable":{"count":2}}]}}`},
	})
}

func TestCSIStorageCapacity(t *testing.T) {
	observedtest.Attempts(t, resourceOf("csistoragecapacities"), `{"storageClassName":"a"}`, []observedtest.Attempt{
		{Name: "immutable", Old: `{"nodeTopology":{"matchLabels":{"a":"b"}}}`, Patch: `{"storageClassName":"b","nodeTopology":{"matchLabels":{"a":"c"}}}`,
			Want: []string{
				`nodeTopology: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable`,
				`storageClassName: Invalid value: "b": field is immutable`,
			}},
		{Name: "capacity changes", Old: `{"capacity":"1Gi"}`, Patch: `{"capacity":"-2Gi"}`,
			Want: []string{`capacity: Invalid value: "-2Gi": must be greater than or equal to 0`}},
	})
}

func TestVolumeAttachment(t *testing.T) {
	observedtest.Attempts(t, resourceOf("volumeattachments"), `{"spec":{"attacher":"a","nodeName":"n","source":{"persistentVolumeName":"pv"}}}`, []observedtest.Attempt{
		{Name: "empty volume name", Patch: `{"spec":{"source":{"persistentVolumeName":""}}}`, Want: []string{
			"spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName",
			"spec.source.persistentVolumeName: Invalid value: \"\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
		}},
		{Name: "inline", Patch: `{"spec":{"source":{"persistentVolumeName":null,"inlineVolumeSpec":{"accessModes":["ReadWriteOnce"],"csi":{"driver":"d","volumeHandle":"h"}}}}}`},
		{Name: "inline and more", Patch: `{"spec":{"source":{"persistentVolumeName":null,"inlineVolumeSpec":{"accessModes":["ReadWriteOnce"],"csi":{"driver":"d"},"storageClassName":"s"}}}}`,
			Want: []string{
				"spec.source.inlineVolumeSpec.csi.volumeHandle: Required value",
				"spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes",
			}},
		{Name: "long error", Old: `{}`, Subresource: "status", Patch: `{"status":{"detachError":{"message":"` + strings.Repeat("m", 1025) + `"}}}`,
			Want: []string{"status.detachError.message: Too long: may not be more than 1024 bytes"}},
		{Name: "status keeps labels", Old: `{}`, Subresource: "status", Patch: `{"metadata":{"labels":{"-":"_"}},"status":{"attached":true}}`},
	})
}
