package compile

import (
	"testing"

	"xebec.dev/kube-proxy/internal/golden"
)

// TestGolden reads testdata/*.txt: a comment, a Service and its slices as
// YAML documents, "----" and what it means on node a in zone z1.
func TestGolden(t *testing.T) {
	golden.Run(t, func(t *testing.T, in string) string {
		service, endpoints := golden.Service(t, in)
		return One(service, endpoints, &Node{Name: "a", Zone: "z1", NodePortsV4: true}).String()
	})
}
