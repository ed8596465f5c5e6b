package compile

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden reads testdata/*.txt: a comment, a Service and its slices as
// YAML documents, "----" and what it means on node a in zone z1.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			in, want, _ := strings.Cut(string(text), "\n----\n")
			got := One(parseCase(t, in)).String()
			if *update {
				if err := os.WriteFile(file, []byte(in+"\n----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
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
