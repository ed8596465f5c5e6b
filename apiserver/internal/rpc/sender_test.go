package rpc

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "xebec.dev/proto/gen/control/v1"
)

// A batch in pieces is the message that protobuf's library makes.
func TestBatch(t *testing.T) {
	sizes := []int{0, 1, 100, 127, 128, copied, copied + 1, 16 << 10, 1 << 20}
	for range 200 {
		want := &pb.WatchResponse{Id: rand.Int64N(1 << 20), InitialEnd: rand.N(2) == 0}
		if rand.N(2) == 0 {
			want.Revision = rand.Int64()
		}
		n := rand.N(6)
		b := newBatch(want.Id, rand.N(n+1)) // its guess may be wrong
		for range n {
			raw := make([]byte, sizes[rand.N(len(sizes))])
			for i := range raw {
				raw[i] = byte(i)
			}
			if len(raw) == 0 {
				raw = nil
			}
			e := &pb.Event{Type: pb.Event_Type(1 + rand.N(3)), Object: &pb.Object{Raw: raw, Revision: rand.Int64N(1 << 40)}}
			want.Events = append(want.Events, e)
			b.add(e.Type, raw, e.Object.Revision)
		}
		b.revision, b.initialEnd = want.Revision, want.InitialEnd
		made, err := (codec{}).Marshal(b.encoded())
		if err != nil {
			t.Fatal(err)
		}
		wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got := made.Materialize(); !bytes.Equal(got, wire) {
			t.Fatalf("%d bytes are not the %d of %v", len(got), len(wire), want)
		}
	}
}
