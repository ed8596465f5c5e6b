package golden

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"
)

// Service reads a Service and its slices, YAML documents.
func Service(t *testing.T, in string) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	t.Helper()
	service := &corev1.Service{}
	var endpoints []*discoveryv1.EndpointSlice
	for i, doc := range strings.Split(in, "\n---\n") {
		var err error
		if i == 0 {
			err = yaml.UnmarshalStrict([]byte(doc), service)
		} else {
			slice := &discoveryv1.EndpointSlice{}
			err = yaml.UnmarshalStrict([]byte(doc), slice)
			endpoints = append(endpoints, slice)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return service, endpoints
}
