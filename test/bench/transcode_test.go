package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/codec"
)

// BenchmarkTranscodeStored is the encoder's part of a JSON list: pods as they
// lie in etcd, too many for the processor's nearest cache.
func BenchmarkTranscodeStored(b *testing.B) {
	pods := storedPod()
	raws := make([][]byte, 1000)
	for i := range raws {
		e, err := codec.ParseEnvelope(pods.pod('s', i))
		if err != nil {
			b.Fatal(err)
		}
		raws[i] = e.Raw
	}
	t := codec.NewTranscoder(&corev1.Pod{})
	var dst []byte
	var size, i int
	for b.Loop() {
		var err error
		if dst, err = t.Append(dst[:0], raws[i%len(raws)], "", int64(i)); err != nil {
			b.Fatal(err)
		}
		size += len(dst)
		i++
	}
	b.SetBytes(int64(size / i))
}
