package codec_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"

	"xebec.dev/api/codec"
)

// runningPod is an ordinary pod as a kubelet has left it, in compact JSON and
// in protobuf.
func runningPod(t testing.TB) (compact, raw []byte) {
	t.Helper()
	b, err := os.ReadFile("testdata/pod.json")
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, b); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(buf.Bytes(), pod); err != nil {
		t.Fatal(err)
	}
	if raw, err = pod.Marshal(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), raw
}

const podHead = `"kind":"Pod","apiVersion":"v1"`

func BenchmarkTranscodePod(b *testing.B) {
	_, raw := runningPod(b)
	t := codec.NewTranscoder(&corev1.Pod{})
	var dst []byte
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = t.Append(dst[:0], raw, podHead, 123456); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(dst)), "JSON-bytes")
}

func BenchmarkUnmarshalMarshalPod(b *testing.B) {
	_, raw := runningPod(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		pod := &corev1.Pod{}
		if err := pod.Unmarshal(raw); err != nil {
			b.Fatal(err)
		}
		if _, err := json.Marshal(pod); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTranscodePodIsQuick(t *testing.T) {
	_, raw := runningPod(t)
	tr := codec.NewTranscoder(&corev1.Pod{})
	dst := make([]byte, 0, 64<<10)
	if n := testing.AllocsPerRun(10, func() { dst, _ = tr.Append(dst[:0], raw, podHead, 123456) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecodePodJSON(b *testing.B) {
	compact, _ := runningPod(b)
	b.SetBytes(int64(len(compact)))
	b.ReportAllocs()
	for b.Loop() {
		if problems, err := codec.DecodeJSON(compact, &corev1.Pod{}, true); err != nil || problems != nil {
			b.Fatal(problems, err)
		}
	}
}

// BenchmarkDecodePodJSONPeer is what the quick way saves.
func BenchmarkDecodePodJSONPeer(b *testing.B) {
	compact, _ := runningPod(b)
	b.SetBytes(int64(len(compact)))
	b.ReportAllocs()
	for b.Loop() {
		if problems, err := kjson.UnmarshalStrict(compact, &corev1.Pod{}); err != nil || problems != nil {
			b.Fatal(problems, err)
		}
	}
}

func BenchmarkDecodePodProtobuf(b *testing.B) {
	_, raw := runningPod(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := (&corev1.Pod{}).Unmarshal(raw); err != nil {
			b.Fatal(err)
		}
	}
}
