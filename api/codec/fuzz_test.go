package codec_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/api/codec"
)

// FuzzTranscode compares any bytes with the way over the struct, for a kind
// chosen by the first byte.
func FuzzTranscode(f *testing.F) {
	gvks, types := messages(f)
	for i, gvk := range gvks[:min(256, len(gvks))] {
		r := filler{rand.New(rand.NewPCG(uint64(i), 3)), 2}
		v := reflect.New(types[gvk])
		r.fill(v.Elem(), 0)
		raw, err := v.Interface().(message).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), raw)
	}
	_, pod := runningPod(f)
	f.Add(byte(0), pod)
	transcoders := map[reflect.Type]*codec.Transcoder{}
	for _, typ := range types {
		transcoders[typ] = codec.NewTranscoder(reflect.New(typ).Interface().(message))
	}
	f.Fuzz(func(t *testing.T, kind byte, raw []byte) {
		gvk := gvks[int(kind)%len(gvks)]
		if _, err := transcoders[types[gvk]].Append(nil, raw, "", 1); err == nil {
			if err := reflect.New(types[gvk]).Interface().(message).Unmarshal(raw); err != nil {
				t.Fatalf("%v: transcoded what does not decode: %v", gvk, err)
			}
		}
		checkTranscode(t, gvk, transcoders[types[gvk]], types[gvk], raw)
	})
}

// FuzzIsCompact holds isCompact to its word: what it passes is JSON without
// spaces.
func FuzzIsCompact(f *testing.F) {
	for _, s := range []string{`{}`, `[]`, `{"a":[1,{"b":null}],"c":"x\"y"}`, `[true,false,0,12]`, `{"a":}`, `[1`, `{"a"}`, `[01]`, `{]`, `[{}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !codec.IsCompact(data) {
			return
		}
		var b bytes.Buffer
		if err := json.Compact(&b, data); err != nil || !bytes.Equal(b.Bytes(), data) {
			t.Fatalf("%v: %q", err, data)
		}
	})
}

func TestIsCompact(t *testing.T) {
	for s, want := range map[string]bool{
		`{}`: true, `[]`: true, `{"f:metadata":{"f:labels":{".":{},"k:{\"a\":1}":{}}}}`: true, `[1,2,[3,{"a":true}],null]`: true,
		`{} `: false, ` {}`: false, `{"a": 1}`: false, `{]`: false, `[}`: false, `{"a":1,}`: false, `[1,]`: false, `{}{}`: false, `"s"`: false, ``: false, `[`: false, `{"a":1]`: false,
	} {
		if got := codec.IsCompact([]byte(s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

// TestCanonical checks canonical quantities against their type.
func TestCanonical(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 200000 {
		s := []byte{}
		for range 1 + r.IntN(10) {
			s = append(s, "0000123456789.-+e"[r.IntN(17)])
		}
		s = append(s, []string{"", "m", "k", "M", "G", "Ki", "Mi", "Gi", "n", "T", "E", "Ei"}[r.IntN(12)]...)
		if !codec.Canonical(s) {
			continue
		}
		q, err := resource.ParseQuantity(string(s))
		if err != nil || q.String() != string(s) {
			t.Fatalf("%s: %v, %s", s, err, q.String())
		}
		// String may have kept the text; the number must give it too.
		q.Add(resource.MustParse("1"))
		q.Sub(resource.MustParse("1"))
		if q.String() != string(s) {
			t.Fatalf("%s: %s", s, q.String())
		}
	}
}
