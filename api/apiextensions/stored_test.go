package apiextensions

import (
	"encoding/json"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// What Kubernetes writes to etcd reads the same as what it answers.
func TestStored(t *testing.T) {
	for name, c := range map[string]struct{ stored, want string }{
		"shared": {
			`{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1beta1","metadata":{"name":"foos.example.com","uid":"u","generation":2},
			"spec":{"group":"example.com","version":"v1","names":{"plural":"foos","singular":"foo","kind":"Foo","listKind":"FooList"},"scope":"Namespaced",
			"validation":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}},
			"subresources":{"status":{}},"versions":[{"name":"v1","served":true,"storage":true},{"name":"v2","served":true,"storage":false}],
			"additionalPrinterColumns":[{"name":"A","type":"string","JSONPath":".spec.a"}],"selectableFields":[{"jsonPath":".spec.a"}],
			"conversion":{"strategy":"Webhook","webhookClientConfig":{"url":"https://a"},"conversionReviewVersions":["v1"]},"preserveUnknownFields":false},
			"status":{"conditions":[{"type":"Established","status":"True","lastTransitionTime":null}],"acceptedNames":{"plural":"foos","kind":"Foo"},"storedVersions":["v1"]}}`,
			`{"metadata":{"name":"foos.example.com","uid":"u","generation":2},"spec":{"group":"example.com","names":{"plural":"foos","singular":"foo","kind":"Foo","listKind":"FooList"},"scope":"Namespaced",
			"versions":[
			{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}},
			 "subresources":{"status":{}},"additionalPrinterColumns":[{"name":"A","type":"string","jsonPath":".spec.a"}],"selectableFields":[{"jsonPath":".spec.a"}]},
			{"name":"v2","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}},
			 "subresources":{"status":{}},"additionalPrinterColumns":[{"name":"A","type":"string","jsonPath":".spec.a"}],"selectableFields":[{"jsonPath":".spec.a"}]}],
			"conversion":{"strategy":"Webhook","webhook":{"clientConfig":{"url":"https://a"},"conversionReviewVersions":["v1"]}}},
			"status":{"conditions":[{"type":"Established","status":"True"}],"acceptedNames":{"plural":"foos","kind":"Foo"},"storedVersions":["v1"]}}`,
		},
		"by version": {
			`{"spec":{"group":"g","names":{"plural":"p","kind":"K"},"scope":"Cluster","preserveUnknownFields":true,"versions":[
			{"name":"a","served":true,"storage":true,"deprecated":true,"deprecationWarning":"w","schema":{"openAPIV3Schema":{"type":"object"}}},{"name":"b","served":false,"storage":false}]}}`,
			`{"spec":{"group":"g","names":{"plural":"p","kind":"K"},"scope":"Cluster","preserveUnknownFields":true,"versions":[
			{"name":"a","served":true,"storage":true,"deprecated":true,"deprecationWarning":"w","schema":{"openAPIV3Schema":{"type":"object"}}},{"name":"b","served":false,"storage":false}]}}`,
		},
		"old": {
			`{"spec":{"group":"g","version":"v1","names":{"plural":"p","kind":"K"},"scope":"Cluster"}}`,
			`{"spec":{"group":"g","names":{"plural":"p","kind":"K"},"scope":"Cluster","preserveUnknownFields":true,"versions":[{"name":"v1","served":true,"storage":true}]}}`,
		},
	} {
		v := Resources()[0].Stored[0]
		in, want := v.New(), &apiextensionsv1.CustomResourceDefinition{}
		if err := json.Unmarshal([]byte(c.stored), in); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.want), want); err != nil {
			t.Fatal(err)
		}
		got, err := v.Decode(in)
		if err != nil || !apiequality.Semantic.DeepEqual(got, want) {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, g, w)
		}
	}
}
