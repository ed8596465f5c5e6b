package encode

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"

	"xebec.dev/apiserver/internal/storage"
)

// clientScheme is what a Go client decodes with.
var clientScheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	if err := corev1.AddToScheme(s); err != nil {
		panic(err)
	}
	if err := metav1.AddMetaToScheme(s); err != nil {
		panic(err)
	}
	metav1.AddToGroupVersion(s, corev1.SchemeGroupVersion)
	return s
}()

// readFrames decodes protobuf frames like a Go client.
func readFrames(t *testing.T, stream []byte) (types []string, objects []runtime.Object) {
	t.Helper()
	raw := protobuf.NewRawSerializer(clientScheme, clientScheme)
	inner := protobuf.NewSerializer(clientScheme, clientScheme)
	d := streaming.NewDecoder(protobuf.LengthDelimitedFramer.NewFrameReader(io.NopCloser(bytes.NewReader(stream))), raw)
	for {
		var ev metav1.WatchEvent
		if _, _, err := d.Decode(nil, &ev); err == io.EOF {
			return types, objects
		} else if err != nil {
			t.Fatal(err)
		}
		obj, _, err := inner.Decode(ev.Object.Raw, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		types, objects = append(types, ev.Type), append(objects, obj)
	}
}

func TestEvents(t *testing.T) {
	e, o := podEncoder(t)
	events := []storage.Event{
		{Type: storage.Added, Object: o, Revision: o.Revision},
		{Type: storage.Modified, Object: o, Revision: o.Revision},
		{Type: storage.Deleted, Object: o, Revision: 5000},
		{Type: storage.Bookmark, Revision: 6000, InitialEventsEnd: true},
		{Type: storage.Bookmark, Revision: 7000},
	}
	revisions := []string{"4711", "4711", "5000", "6000", "7000"}
	for _, f := range []Format{{}, {Pretty: true}, {Media: Protobuf}, {Shape: Partial}, {Shape: Partial, Media: Protobuf}} {
		f.Stream = true
		var stream []byte
		for i := range events {
			frame, err := e.Event(f, &events[i])
			if err != nil {
				t.Fatal(err)
			}
			stream = append(stream, frame...)
		}
		frame, err := ErrorEvent(f, &metav1.Status{Status: "Failure", Code: 410, Reason: "Expired"})
		if err != nil {
			t.Fatal(err)
		}
		types, objects := decodeStream(t, f, append(stream, frame...))
		if want := []string{"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "BOOKMARK", "ERROR"}; !reflect.DeepEqual(types, want) {
			t.Fatalf("%+v: %v", f, types)
		}
		for i, revision := range revisions {
			m := objects[i].(metav1.Object)
			if m.GetResourceVersion() != revision || (i < 3) != (m.GetName() != "") {
				t.Errorf("%+v: event %d is %s at %s", f, i, m.GetName(), m.GetResourceVersion())
			}
			if end := m.GetAnnotations()[metav1.InitialEventsAnnotationKey]; (i == 3) != (end == "true") {
				t.Errorf("%+v: event %d has the mark %q", f, i, end)
			}
		}
		if s := objects[5].(*metav1.Status); s.Code != 410 {
			t.Errorf("%+v", s)
		}
	}
}

func decodeStream(t *testing.T, f Format, stream []byte) (types []string, objects []runtime.Object) {
	t.Helper()
	if f.Media == Protobuf {
		return readFrames(t, stream)
	}
	for line := range bytes.Lines(stream) {
		var ev metav1.WatchEvent
		if err := json.Unmarshal(line, &ev); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		var obj runtime.Object = &corev1.Pod{}
		switch {
		case ev.Type == "ERROR":
			obj = &metav1.Status{}
		case f.Shape == Partial:
			obj = &metav1.PartialObjectMetadata{}
		}
		if err := json.Unmarshal(ev.Object.Raw, obj); err != nil {
			t.Fatal(err)
		}
		types, objects = append(types, ev.Type), append(objects, obj)
	}
	return types, objects
}

func TestEventsAreEncodedOnce(t *testing.T) {
	e, o := podEncoder(t)
	ev := storage.Event{Type: storage.Added, Object: o, Revision: o.Revision, Memo: &storage.Memo{}}
	var all [][]byte
	for _, f := range []Format{{Stream: true}, {Pretty: true, Stream: true}, {Media: Protobuf, Stream: true}, {Shape: Partial, Stream: true}, {Shape: Partial, Beta: true}} {
		first, err := e.Event(f, &ev)
		if err != nil {
			t.Fatal(err)
		}
		second, _ := e.Event(f, &ev)
		if &first[0] != &second[0] {
			t.Errorf("%+v is encoded twice", f)
		}
		all = append(all, first)
	}
	if !bytes.Equal(all[0], all[1]) {
		t.Error("a watch is indented")
	}
	for i := 2; i < len(all); i++ {
		if bytes.Equal(all[0], all[i]) || bytes.Equal(all[i-1], all[i]) {
			t.Errorf("format %d shares another's bytes", i)
		}
	}
}

func TestTableEvents(t *testing.T) {
	e, o := podEncoder(t)
	var first, later, bookmark struct{ Object metav1.Table }
	for _, c := range []struct {
		f    Format
		ev   storage.Event
		into any
	}{
		{Format{Shape: Table, Include: IncludeNone}, storage.Event{Object: o, Revision: 1}, &first},
		{Format{Shape: Table, Include: IncludeNone, NoColumns: true}, storage.Event{Object: o, Revision: 2}, &later},
		{Format{Shape: Table, Include: IncludeNone, NoColumns: true}, storage.Event{Type: storage.Bookmark, Revision: 3, InitialEventsEnd: true}, &bookmark},
	} {
		b, err := e.Event(c.f, &c.ev)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, c.into); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
	}
	if len(first.Object.ColumnDefinitions) == 0 || later.Object.ColumnDefinitions != nil || bookmark.Object.ColumnDefinitions != nil {
		t.Error("columns belong into the first event")
	}
	if len(first.Object.Rows) != 1 || first.Object.Rows[0].Object.Raw != nil || first.Object.ResourceVersion != "1" {
		t.Errorf("%+v", first.Object)
	}
	var meta metav1.PartialObjectMetadata
	if err := json.Unmarshal(bookmark.Object.Rows[0].Object.Raw, &meta); err != nil || meta.ResourceVersion != "3" || meta.Annotations[metav1.InitialEventsAnnotationKey] != "true" {
		t.Errorf("%v: %s", err, bookmark.Object.Rows[0].Object.Raw)
	}
}
