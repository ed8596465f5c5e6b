package decode

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"xebec.dev/api/builtin"
	"xebec.dev/api/codec"
	"xebec.dev/api/scheme"
)

// FuzzDecodeYAML expects YAML bodies to end in an object or a status, and JSON
// to mean the same as YAML.
func FuzzDecodeYAML(f *testing.F) {
	for _, s := range []string{
		"metadata:\n  name: a\ndata:\n  k: v\n", "metadata: {name: a}\ndata: &x\n  k: v\nbinaryData: *x\n", "- a\n- b\n", "hello", "", "null", "a: &a [*a]",
		"metadata:\n  name: a\n  name: b\n", "data:\n  <<: {a: b}\n  c: d\n", "data: {k: !!binary aGk=}\n", "data:\n  k: |\n    a\n     b\n", "? a\n: b\n", "%YAML 1.1\n---\n{}\n...\n", "{\"metadata\":{\"name\":\"a\"}}",
	} {
		f.Add([]byte(s))
	}
	res, _ := builtin.Scheme().At(corev1.SchemeGroupVersion.WithResource("configmaps"))
	f.Fuzz(func(t *testing.T, body []byte) {
		obj, _, err := Body(res, mediaYAML, body, "")
		if err != nil {
			return
		}
		data, _, err := codec.JSONFromYAML(body, false)
		if err != nil {
			t.Fatal(err)
		}
		if again, _, err := Body(res, mediaJSON, data, ""); err != nil || !equality.Semantic.DeepEqual(obj, again) {
			t.Fatalf("%v: %+v, not %+v", err, again, obj)
		}
	})
}

// FuzzDecodeProtobuf expects bodies to end in an object that can be stored and
// shown, or in a status.
func FuzzDecodeProtobuf(f *testing.F) {
	add := func(kind string, m scheme.Message) {
		raw, err := m.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(codec.AppendEnvelope(nil, "v1", kind, raw))
	}
	pod := &corev1.Pod{}
	pod.Name = "a"
	pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "i", Env: []corev1.EnvVar{{Name: "A", Value: "b"}}}}
	add("Pod", pod)
	add("", &corev1.ConfigMap{Data: map[string]string{"a": "b"}})
	f.Add([]byte("k8s\x00"))
	f.Add([]byte{})
	res, _ := builtin.Scheme().At(corev1.SchemeGroupVersion.WithResource("pods"))
	f.Fuzz(func(t *testing.T, body []byte) {
		obj, _, err := Body(res, mediaProtobuf, body, "")
		if err != nil {
			return
		}
		if _, err := json.Marshal(obj); err != nil {
			t.Fatal(err)
		}
		if _, err := obj.(scheme.Message).Marshal(); err != nil {
			t.Fatal(err)
		}
	})
}
