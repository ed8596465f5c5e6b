package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Transcoder turns the protobuf bytes of one Go type into the JSON that the
// struct would marshal to, without making the struct. It knows the order in
// which generated code writes fields; bytes in any other order, and types it
// has no plan for, take the way over the struct and come out the same.
type Transcoder struct {
	typ reflect.Type
	// plan is made on first use; it is nil when only the struct will do, and
	// reason says why.
	once   sync.Once
	plan   *message
	reason error
}

// NewTranscoder is the transcoder of a struct type, given a pointer to one.
func NewTranscoder(of interface{ Unmarshal([]byte) error }) *Transcoder {
	typ := reflect.TypeOf(of).Elem()
	if t, ok := transcoders.Load(typ); ok {
		return t.(*Transcoder)
	}
	t, _ := transcoders.LoadOrStore(typ, &Transcoder{typ: typ})
	return t.(*Transcoder)
}

var transcoders sync.Map // reflect.Type → *Transcoder

// prepare makes the plan: most of a server's types are never asked for.
func (t *Transcoder) prepare() {
	t.once.Do(func() { t.plan, t.reason = planOf(t.typ) })
}

// Planned is nil when the type is transcoded without structs.
func (t *Transcoder) Planned() error {
	t.prepare()
	return t.reason
}

// Append appends the JSON object of a message. head, when not empty, is the
// beginning of the object: `"kind":"Pod","apiVersion":"v1"`. revision, when
// not 0, is the resourceVersion to show.
func (t *Transcoder) Append(dst, raw []byte, head string, revision int64) ([]byte, error) {
	t.prepare()
	if t.plan != nil {
		if out, ok := t.appendPlanned(dst, raw, head, revision); ok {
			return out, nil
		}
	}
	return t.appendStruct(dst, raw, head, revision)
}

func (t *Transcoder) appendPlanned(dst, raw []byte, head string, revision int64) ([]byte, bool) {
	if head == "" {
		return t.plan.appendObject(dst, raw, revision)
	}
	dst = append(append(dst, '{'), head...)
	dst, ok := t.plan.append(dst, raw, revision)
	return append(dst, '}'), ok
}

func (t *Transcoder) appendStruct(dst, raw []byte, head string, revision int64) ([]byte, error) {
	obj := reflect.New(t.typ).Interface()
	if err := obj.(interface{ Unmarshal([]byte) error }).Unmarshal(raw); err != nil {
		return dst, err
	}
	RestoreKinds(obj)
	if revision != 0 {
		switch m := obj.(type) {
		case metav1.Object:
			m.SetResourceVersion(strconv.FormatInt(revision, 10))
		}
	}
	b, err := json.Marshal(obj)
	if err != nil {
		return dst, err
	}
	if len(b) < 2 || b[0] != '{' {
		return dst, fmt.Errorf("%s is not a JSON object", t.typ)
	}
	dst = append(dst, '{')
	dst = append(dst, head...)
	if head != "" && len(b) > 2 {
		dst = append(dst, ',')
	}
	return append(dst, b[1:]...), nil
}

// append writes a field that has no code of its own, whose tag, n bytes long,
// begins b. It returns what follows the field.
func (f *fieldPlan) append(dst, b []byte, n int, revision int64) ([]byte, []byte, bool) {
	switch {
	case f.isMap:
		return f.appendMap(dst, b, n)
	case f.repeated:
		return f.appendList(dst, b, n)
	}
	if f.valueWire != wireBytes {
		return f.appendNumber(dst, b[n:])
	}
	size, k := uvarint(b[n:])
	if k <= 0 || size > uint64(len(b)-n-k) {
		return dst, b, false
	}
	data, rest := b[n+k:n+k+int(size)], b[n+k+int(size):]
	if f.revision && revision != 0 {
		return appendRevision(dst, f.name, revision), rest, true
	}
	if f.omit(data) {
		return dst, rest, true
	}
	if f.inline {
		dst, ok := f.message.append(dst, data, 0)
		return dst, rest, ok
	}
	dst = append(dst, f.name...)
	if f.kind == kindMessage {
		if !f.objectMeta {
			revision = 0
		}
		dst, ok := f.message.appendObject(dst, data, revision)
		return dst, rest, ok
	}
	dst, ok := f.value.append(dst, data)
	return dst, rest, ok
}

// absent writes what JSON shows of a field that is not there.
func (f *fieldPlan) absent(dst []byte, revision int64) []byte {
	if revision != 0 {
		if f.revision {
			return appendRevision(dst, f.name, revision)
		}
		if f.objectMeta {
			dst, _ = f.message.appendObject(append(dst, f.name...), nil, revision)
			return dst
		}
	}
	return append(dst, f.missing...)
}

func appendRevision(dst, name []byte, revision int64) []byte {
	dst = append(append(dst, name...), '"')
	return append(strconv.AppendInt(dst, revision, 10), '"')
}

// omit reports whether a value that is there is left out all the same.
func (f *fieldPlan) omit(data []byte) bool {
	if f.pointer {
		return false
	}
	switch f.kind {
	case kindString, kindBytes, kindStrings:
		return f.omitEmpty && len(data) == 0
	case kindTime, kindMicroTime:
		if !f.omitZero {
			return false
		}
		seconds, nanos, ok := timestamp(data)
		return len(data) == 0 || ok && seconds == zeroTime && nanos == 0
	}
	return false
}

func (f *fieldPlan) appendNumber(dst, b []byte) ([]byte, []byte, bool) {
	bits, rest, ok := number(f.kind, b)
	if !ok {
		return dst, b, false
	}
	if f.omitEmpty && !f.pointer && f.kind.isZero(bits) {
		return dst, rest, true
	}
	dst, ok = f.kind.appendNumber(append(dst, f.name...), bits)
	return dst, rest, ok
}

// appendList writes all entries of a repeated field that follow each other.
func (f *fieldPlan) appendList(dst, b []byte, n int) ([]byte, []byte, bool) {
	tag := b[:n]
	dst = append(append(dst, f.name...), '[')
	first := true
	for bytes.HasPrefix(b, tag) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		b = b[n:]
		var ok bool
		if f.valueWire != wireBytes {
			var bits uint64
			if bits, b, ok = number(f.kind, b); !ok {
				return dst, b, false
			}
			if dst, ok = f.kind.appendNumber(dst, bits); !ok {
				return dst, b, false
			}
			continue
		}
		size, k := uvarint(b)
		if k <= 0 || size > uint64(len(b)-k) {
			return dst, b, false
		}
		if dst, ok = f.value.append(dst, b[k:k+int(size)]); !ok {
			return dst, b, false
		}
		b = b[k+int(size):]
	}
	return append(dst, ']'), b, true
}

// appendMap writes all entries of a map, whose keys generated code writes in
// the order that JSON wants.
func (f *fieldPlan) appendMap(dst, b []byte, n int) ([]byte, []byte, bool) {
	tag := b[:n]
	dst = append(append(dst, f.name...), '{')
	var last []byte
	for first := true; bytes.HasPrefix(b, tag); first = false {
		size, k := uvarint(b[n:])
		if k <= 0 || size > uint64(len(b)-n-k) {
			return dst, b, false
		}
		e, ok := parseEntry(b[n+k:n+k+int(size)], int(f.valueWire))
		if !ok || !first && bytes.Compare(last, e.key) >= 0 {
			return dst, b, false
		}
		b = b[n+k+int(size):]
		last = e.key
		if !first {
			dst = append(dst, ',')
		}
		dst = append(AppendQuoted(dst, e.key), ':')
		if dst, ok = f.appendEntry(dst, e); !ok {
			return dst, b, false
		}
	}
	return append(dst, '}'), b, true
}

// entry is one pair of a map.
type entry struct {
	key []byte
	// data is the value, or the bytes of its number.
	data []byte
	has  bool
}

func parseEntry(b []byte, wire int) (e entry, ok bool) {
	for last := byte(0); len(b) > 0; {
		num, w := b[0]>>3, int(b[0]&7)
		if num <= last || num > 2 {
			return e, false
		}
		last = num
		b = b[1:]
		if w == wireBytes {
			size, k := uvarint(b)
			if k <= 0 || size > uint64(len(b)-k) {
				return e, false
			}
			data := b[k : k+int(size)]
			b = b[k+int(size):]
			switch {
			case num == 1:
				e.key = data
				continue
			case wire == wireBytes:
				e.data, e.has = data, true
				continue
			}
			return e, false
		}
		if num != 2 || w != wire {
			return e, false
		}
		r := reader{b}
		if r.skip(w) != nil {
			return e, false
		}
		e.data, e.has = b[:len(b)-len(r.b)], true
		b = r.b
	}
	return e, true
}

func (f *fieldPlan) appendEntry(dst []byte, e entry) ([]byte, bool) {
	switch {
	case !e.has && (f.kind == kindBytes || f.kind == kindStrings):
		return f.value.append(dst, nil)
	case !e.has:
		return append(dst, f.zero...), true
	case f.valueWire == wireBytes:
		return f.value.append(dst, e.data)
	}
	bits, _, ok := number(f.kind, e.data)
	if !ok {
		return dst, false
	}
	return f.kind.appendNumber(dst, bits)
}

// append writes one value whose protobuf form is bytes.
func (v *value) append(dst, data []byte) ([]byte, bool) {
	switch v.kind {
	case kindString:
		return AppendQuoted(dst, data), true
	case kindBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, data)
		return append(dst, '"'), true
	case kindMessage:
		return v.message.appendObject(dst, data, 0)
	case kindTime:
		return appendTime(dst, data)
	case kindMicroTime:
		return appendMicroTime(dst, data)
	case kindDuration:
		return appendDuration(dst, data)
	case kindQuantity:
		return appendQuantity(dst, data)
	case kindIntOrString:
		return appendIntOrString(dst, data)
	case kindFields, kindRaw:
		return appendRaw(dst, data)
	case kindStrings:
		return appendStrings(dst, data)
	}
	return appendOther(dst, v.typ, data)
}
