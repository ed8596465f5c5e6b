package codec

import (
	"encoding/binary"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// tree is a message that contains itself, by pointer and in a map.
type tree struct {
	Child    *tree           `protobuf:"bytes,1,opt,name=child"`
	Children map[string]tree `protobuf:"bytes,2,rep,name=children"`
	Name     string          `protobuf:"bytes,3,opt,name=name"`
}

func (*tree) Unmarshal([]byte) error { return nil }

func nest(field byte, levels int) []byte {
	raw := []byte("\x1a\x01x")
	for range levels {
		raw = append(binary.AppendUvarint([]byte{field<<3 | wireBytes}, uint64(len(raw))), raw...)
		if field == 2 { // the value of an entry of the map
			raw = append(binary.AppendUvarint([]byte{field<<3 | wireBytes}, uint64(len(raw))), raw...)
		}
	}
	return raw
}

func TestCheckDepth(t *testing.T) {
	typ := reflect.TypeFor[tree]()
	for _, c := range []struct {
		raw  []byte
		fine bool
	}{{nest(1, 400), true}, {nest(1, 600), false}, {nest(2, 200), true}, {nest(2, 300), false}, {nest(3, 600), true}, {nil, true}, {[]byte{0x0a, 5}, false}} {
		if err := checkDepth(typ, c.raw); (err == nil) != c.fine {
			t.Errorf("%d bytes: %v", len(c.raw), err)
		}
	}
	if checkDepth(reflect.TypeFor[corev1.Pod](), []byte{0x0a, 5}) != nil {
		t.Error("pods do not contain pods")
	}
}
