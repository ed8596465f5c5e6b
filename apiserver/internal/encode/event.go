package encode

import (
	"encoding/binary"
	"encoding/json"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"xebec.dev/apiserver/internal/storage"
)

// Event is the frame of one watch event. It is made once per format for all
// watchers, except as a table, whose ages depend on when it is asked for. The
// bytes are shared and must not be changed.
//
// A status as the error means that the event cannot be shown in this format.
func (e *Encoder) Event(f Format, ev *storage.Event) ([]byte, error) {
	if f.Shape == Table {
		return e.event(f, ev)
	}
	return ev.Memo.Get(e.memoKey(f), func() ([]byte, error) { return e.event(f, ev) })
}

// memoKey tells apart formats and served versions, which share one Memo.
func (e *Encoder) memoKey(f Format) uint64 {
	// A watch is not indented whatever was asked for.
	f.Pretty = false
	return f.key() | uint64(e.version+1)<<32
}

// scratch are buffers to encode events in before they are copied to what they
// need, since the copies live as long as the events.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

func (e *Encoder) event(f Format, ev *storage.Event) ([]byte, error) {
	f.Pretty = false
	o := ev.Object
	if ev.Type == storage.Bookmark {
		o = e.bookmark(ev)
		if f.Include == IncludeNone {
			// The revision is all a bookmark is for.
			f.Include = IncludeMetadata
		}
	}
	if f.Media == Protobuf && f.Shape == Whole && e.fromBytes(f) {
		return e.protobufEvent(f, ev, o)
	}
	p := scratch.Get().(*[]byte)
	defer scratch.Put(p)
	buf := (*p)[:0]
	if f.Media != Protobuf {
		buf = appendEventHead(buf, ev.Type.String())
	}
	body := len(buf)
	var err error
	if ev.Type == storage.Bookmark && e.custom && f.Shape == Whole && f.Media != Protobuf {
		// Nothing to convert, and conversion may be a webhook.
		buf, err = e.appendCustom(buf, o, ev.Revision)
		buf = append(buf, '\n')
	} else {
		buf, err = e.appendAt(buf, f, o, ev.Revision)
	}
	if err != nil {
		return nil, err
	}
	if cap(buf) <= 1<<20 {
		*p = buf
	}
	if f.Media == Protobuf {
		return protobufFrame(ev.Type.String(), buf[body:]), nil
	}
	buf[len(buf)-1] = '}' // in place of the newline
	frame := make([]byte, len(buf)+1)
	frame[copy(frame, buf)] = '\n'
	return frame, nil
}

func appendEventHead(dst []byte, kind string) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, kind...)
	return append(dst, `","object":`...)
}

// protobufEvent makes the frame of a whole object in one allocation.
func (e *Encoder) protobufEvent(f Format, ev *storage.Event, o *storage.Object) ([]byte, error) {
	frame := appendFrameHead(ev.Type.String(), e.envelopeSize(o, ev.Revision))
	return e.appendProtobuf(frame, f, o, ev.Revision)
}

// appendFrameHead makes a frame up to its object of that size, with room for
// the object: the length of what follows in four bytes, then a WatchEvent.
func appendFrameHead(kind string, object int) []byte {
	raw := bytesFieldSize(object)
	size := bytesFieldSize(len(kind)) + bytesFieldSize(raw)
	dst := make([]byte, 0, 4+size)
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = append(appendBytesField(dst, 1, len(kind)), kind...)
	dst = appendBytesField(dst, 2, raw)
	return appendBytesField(dst, 1, object)
}

func protobufFrame(kind string, object []byte) []byte {
	return append(appendFrameHead(kind, len(object)), object...)
}

// bookmark is an object that has nothing but the mark of the initial events'
// end; the event's revision is put into it like into any other.
func (e *Encoder) bookmark(ev *storage.Event) *storage.Object {
	o := &storage.Object{Revision: ev.Revision}
	var meta metav1.ObjectMeta
	if ev.InitialEventsEnd {
		meta.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	if e.custom {
		o.Raw, _ = json.Marshal(metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: e.apiVersion, Kind: e.kind}, ObjectMeta: meta,
		})
	} else if b, err := meta.Marshal(); err == nil {
		o.Raw = append(appendBytesField(nil, 1, len(b)), b...)
	}
	return o
}

// ErrorEvent is the frame that ends a watch with a status.
func ErrorEvent(f Format, status *metav1.Status) ([]byte, error) {
	s := *status
	s.Kind, s.APIVersion = "Status", "v1"
	if f.Media == Protobuf {
		body, err := appendProtobuf(nil, &s)
		return protobufFrame(string(watch.Error), body), err
	}
	body, err := json.Marshal(&s)
	dst := append(appendEventHead(nil, string(watch.Error)), body...)
	return append(dst, "}\n"...), err
}
