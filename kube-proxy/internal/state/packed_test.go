package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/client/cache"
	"xebec.dev/kube-proxy/internal/compile"
)

// TestPacked: of what compile's own cases have, nothing is lost that means
// something here.
func TestPacked(t *testing.T) {
	files, err := filepath.Glob("../compile/testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		in, _, _ := strings.Cut(string(raw), "\n----\n")
		svc, slices := &corev1.Service{}, []*discoveryv1.EndpointSlice(nil)
		for i, doc := range strings.Split(in, "\n---\n") {
			if i == 0 {
				err = yaml.UnmarshalStrict([]byte(doc), svc)
			} else {
				slices = append(slices, &discoveryv1.EndpointSlice{})
				err = yaml.UnmarshalStrict([]byte(doc), slices[i-1])
			}
			if err != nil {
				t.Fatal(name, err)
			}
		}
		if _, other := svc.Labels["service.kubernetes.io/service-proxy-name"]; other {
			continue // the subscription does not select it
		}
		for _, node := range []compile.Node{{Name: "a", Zone: "z1", NodePortsV4: true}, {Name: "b", Zone: "z2", NodePortsV6: true}} {
			want := compile.One(svc, slices, &node)
			p, err := packService(svc).asService()
			if err != nil {
				t.Fatal(name, err)
			}
			for _, soon := range []bool{false, true} {
				var packed []*discoveryv1.EndpointSlice
				for _, e := range slices {
					again, err := packSlice(e.DeepCopy(), node.Name, soon).asSlice()
					if err != nil {
						t.Fatal(name, err)
					}
					packed = append(packed, again)
				}
				if got := compile.One(p, packed, &node); got.String() != want.String() || got.Name != want.Name {
					t.Errorf("%s on node %s:\n%s\nwant\n%s", name, node.Name, got, want)
				}
			}
		}
	}
}

func TestTrigger(t *testing.T) {
	at := func(text string) *Packed {
		e := &discoveryv1.EndpointSlice{}
		e.Labels = map[string]string{discoveryv1.LabelServiceName: "web"}
		e.Annotations = map[string]string{lastTrigger: text}
		return packSlice(e, "a", false)
	}
	one, two := "2026-11-21T10:00:00Z", "2026-11-21T10:00:01.5Z"
	for _, c := range []struct {
		old, now *Packed
		want     string
	}{{nil, at(one), one}, {at(one), at(two), two}, {at(two), at(two), ""}, {at(one), at(""), ""}, {nil, at("yesterday"), ""}} {
		got := triggerOf(&cache.Change[*Packed]{Old: c.old, HasOld: c.old != nil, New: c.now, HasNew: true})
		if text := got.UTC().Format(time.RFC3339Nano); got.IsZero() != (c.want == "") || c.want != "" && text != c.want {
			t.Errorf("%v to %v: %s, want %q", c.old, c.now, text, c.want)
		}
	}
}
