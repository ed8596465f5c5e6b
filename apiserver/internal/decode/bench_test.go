package decode

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/builtin"
	"xebec.dev/api/codec"
	"xebec.dev/api/scheme"
)

// BenchmarkBody reads an ordinary pod, without its defaults.
func BenchmarkBody(b *testing.B) {
	text, err := os.ReadFile("../../../api/codec/testdata/pod.json")
	if err != nil {
		b.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		b.Fatal(err)
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(text, pod); err != nil {
		b.Fatal(err)
	}
	raw, err := pod.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	inYAML, err := yaml.JSONToYAML(text)
	if err != nil {
		b.Fatal(err)
	}
	served, _ := builtin.Scheme().At(corev1.SchemeGroupVersion.WithResource("pods"))
	plain := *served.Resource
	plain.Strategy = scheme.Strategy{}
	res := scheme.Served{Resource: &plain, At: served.At}
	for _, c := range []struct {
		name, contentType string
		body              []byte
	}{
		{"JSON", mediaJSON, compact.Bytes()}, {"Protobuf", mediaProtobuf, codec.AppendEnvelope(nil, "v1", "Pod", raw)},
		{"YAML", mediaYAML, inYAML}, {"UnknownField", mediaJSON, append([]byte(`{"x":1,`), compact.Bytes()[1:]...)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.body)))
			for b.Loop() {
				if _, _, err := Body(res, c.contentType, c.body, Warn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
