package compile

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/kube-proxy/internal/golden"
)

// TestGolden reads testdata/*.txt: a comment, a Service and its slices as
// YAML documents, "----" and what it means on node a in zone z1.
func TestGolden(t *testing.T) {
	golden.Run(t, func(t *testing.T, in string) string { return One(parseCase(t, in)).String() })
}

func parseCase(t *testing.T, in string) (*corev1.Service, []*discoveryv1.EndpointSlice, *Node) {
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
	return service, endpoints, &Node{Name: "a", Zone: "z1", NodePortsV4: true}
}
