package encode

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"xebec.dev/apiserver/internal/storage"
)

// Event is the frame of one watch event. It is made once per format for all
// watchers, except as a table, whose ages depend on when it is asked for. The
// bytes are shared and must not be changed.
func (e *Encoder) Event(f Format, ev *storage.Event) ([]byte, error) {
	if f.Shape == Table {
		return e.event(f, ev)
	}
	return ev.Memo.Get(e.memoKey(f), func() ([]byte, error) { return e.event(f, ev) })
}

// memoKey tells apart formats and served versions, which share one Memo.
func (e *Encoder) memoKey(f Format) uint64 { return f.key() | uint64(e.version+1)<<32 }

func (e *Encoder) event(f Format, ev *storage.Event) ([]byte, error) {
	plain := Format{Media: f.Media, Shape: f.Shape, Beta: f.Beta, Include: f.Include, NoColumns: f.NoColumns}
	obj, err := e.eventObject(ev)
	if err != nil {
		return nil, err
	}
	body, err := e.AppendStruct(nil, plain, obj)
	if err != nil {
		return nil, err
	}
	return frame(f, ev.Type.String(), body)
}

func (e *Encoder) eventObject(ev *storage.Event) (runtime.Object, error) {
	if ev.Type != storage.Bookmark {
		obj, err := e.Decode(ev.Object)
		if err == nil {
			setRevision(obj, ev.Revision)
		}
		return obj, err
	}
	obj := e.res.New()
	m, ok := obj.(metav1.Object)
	if !ok {
		return nil, fmt.Errorf("%T has no metadata", obj)
	}
	m.SetResourceVersion(strconv.FormatInt(ev.Revision, 10))
	if ev.InitialEventsEnd {
		m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	}
	return obj, nil
}

// ErrorEvent is the frame that ends a watch with a status.
func ErrorEvent(f Format, status *metav1.Status) ([]byte, error) {
	s := *status
	s.Kind, s.APIVersion = "Status", "v1"
	body, err := appendAny(nil, Format{Media: f.Media}, &s)
	if err != nil {
		return nil, err
	}
	return frame(f, string(watch.Error), body)
}

// frame wraps a serialized object: a line of JSON, or a length and a
// WatchEvent message.
func frame(f Format, kind string, body []byte) ([]byte, error) {
	if f.Media != Protobuf {
		b, err := json.Marshal(struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}{kind, body})
		return append(b, '\n'), err
	}
	ev := metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: body}}
	raw, err := ev.Marshal()
	if err != nil {
		return nil, err
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...), nil
}
