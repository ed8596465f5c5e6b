package encode

import (
	"io"
	"testing"

	"xebec.dev/apiserver/internal/storage"
)

// podList is a list of ordinary pods.
func podList(b *testing.B, n int) (*Encoder, *storage.List, int64) {
	e, o := podEncoder(b)
	l := &storage.List{Revision: 1 << 30}
	for range n {
		l.Objects = append(l.Objects, o)
	}
	return e, l, int64(n * len(o.Raw))
}

func benchmarkList(b *testing.B, write func(e *Encoder, w io.Writer, l *storage.List) error) {
	e, l, size := podList(b, 500)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if err := write(e, io.Discard, l); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(l.Objects)), "µs/pod")
}

func BenchmarkListPodsJSON(b *testing.B) {
	benchmarkList(b, func(e *Encoder, w io.Writer, l *storage.List) error { return e.WriteList(w, Format{}, l) })
}

func BenchmarkListPodsProto(b *testing.B) {
	benchmarkList(b, func(e *Encoder, w io.Writer, l *storage.List) error {
		return e.WriteList(w, Format{Media: Protobuf}, l)
	})
}

// BenchmarkListPodsDecode is what the other two save: every pod into its
// struct, and the list marshalled.
func BenchmarkListPodsDecode(b *testing.B) {
	benchmarkList(b, func(e *Encoder, w io.Writer, l *storage.List) error { return e.writeDecoded(w, Format{}, l) })
}

func BenchmarkListPodsMetadataJSON(b *testing.B) {
	benchmarkList(b, func(e *Encoder, w io.Writer, l *storage.List) error {
		return e.WriteList(w, Format{Shape: PartialList}, l)
	})
}

func BenchmarkListPodsTable(b *testing.B) {
	benchmarkList(b, func(e *Encoder, w io.Writer, l *storage.List) error { return e.WriteList(w, Format{Shape: Table}, l) })
}

func BenchmarkEvent(b *testing.B) {
	e, o := podEncoder(b)
	for _, c := range []struct {
		name string
		f    Format
	}{{"JSON", Format{Stream: true}}, {"Proto", Format{Media: Protobuf, Stream: true}}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			ev := storage.Event{Type: storage.Modified, Object: o, Revision: o.Revision}
			for b.Loop() {
				if _, err := e.Event(c.f, &ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
