package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
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
	// plan is nil when only the struct will do.
	plan *message
	// reason says why plan is nil.
	reason error
}

// NewTranscoder compiles the transcoder of a struct type, given a pointer to one.
func NewTranscoder(of interface{ Unmarshal([]byte) error }) *Transcoder {
	t := &Transcoder{typ: reflect.TypeOf(of).Elem()}
	c := compiler{map[reflect.Type]*message{}}
	t.plan, t.reason = c.message(t.typ)
	if t.reason != nil {
		t.plan = nil
	}
	return t
}

var transcoders sync.Map // reflect.Type → *Transcoder

// transcoderOf is the one transcoder of a type.
func transcoderOf(of interface{ Unmarshal([]byte) error }) *Transcoder {
	typ := reflect.TypeOf(of).Elem()
	if t, ok := transcoders.Load(typ); ok {
		return t.(*Transcoder)
	}
	t, _ := transcoders.LoadOrStore(typ, NewTranscoder(of))
	return t.(*Transcoder)
}

var showing = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

// UnmarshalShowable decodes a protobuf message, and refuses one that has no
// JSON form: raw JSON in it that is not JSON, a union of no type.
func UnmarshalShowable(raw []byte, into interface{ Unmarshal([]byte) error }) error {
	if err := checkDepth(reflect.TypeOf(into).Elem(), raw); err != nil {
		return err
	}
	if err := into.Unmarshal(raw); err != nil {
		return err
	}
	p := showing.Get().(*[]byte)
	defer showing.Put(p)
	b, err := transcoderOf(into).Append((*p)[:0], raw, "", 0)
	if cap(b) <= 1<<20 {
		*p = b
	}
	return err
}

// Planned is nil when the type is transcoded without structs.
func (t *Transcoder) Planned() error { return t.reason }

// Append appends the JSON object of a message. head, when not empty, is the
// beginning of the object: `"kind":"Pod","apiVersion":"v1"`. revision, when
// not 0, is the resourceVersion to show.
func (t *Transcoder) Append(dst, raw []byte, head string, revision int64) ([]byte, error) {
	start := len(dst)
	if t.plan != nil {
		dst = append(dst, '{')
		dst = append(dst, head...)
		if out, ok := t.plan.append(dst, raw, revision); ok {
			return append(out, '}'), nil
		}
		dst = dst[:start]
	}
	return t.appendStruct(dst, raw, head, revision)
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

// append writes a message's fields into an object that is open: the braces are
// the caller's. It gives up, false, on what generated code does not write.
func (m *message) append(dst, b []byte, revision int64) ([]byte, bool) {
	dst = appendMember(dst, m.always)
	last, shown := 0, m.shown
	for len(b) > 0 {
		tag, n := uvarint(b)
		num := int(tag >> 3)
		if n <= 0 || num == 0 || tag > math.MaxUint32 {
			return dst, false
		}
		if num >= len(m.index) || m.index[num] < 0 {
			r := reader{b[n:]}
			if r.skip(int(tag&7)) != nil {
				return dst, false
			}
			b = r.b
			continue
		}
		at := m.index[num]
		f := &m.fields[at]
		if num <= last || uint8(tag&7) != f.wire {
			return dst, false
		}
		last = num
		for len(shown) > 0 && shown[0] <= at {
			if shown[0] < at {
				dst = m.absent(dst, shown[0], revision)
			}
			shown = shown[1:]
		}
		if int(at) == m.revision && revision != 0 {
			dst = appendRevision(dst, f.name, revision)
			r := reader{b[n:]}
			if r.skip(int(tag&7)) != nil {
				return dst, false
			}
			b = r.b
			continue
		}
		if f.simple {
			// Most fields are strings; they are not worth a call.
			size, k := uvarint(b[n:])
			if k <= 0 || size > uint64(len(b)-n-k) {
				return dst, false
			}
			end := n + k + int(size)
			if size > 0 || !f.omitEmpty {
				dst = AppendQuoted(appendMember(dst, f.name), b[n+k:end])
			}
			b = b[end:]
			continue
		}
		var ok bool
		if dst, b, ok = f.append(dst, b, n, revision); !ok {
			return dst, false
		}
	}
	for _, at := range shown {
		dst = m.absent(dst, at, revision)
	}
	return dst, true
}

// uvarint is binary.Uvarint with the short way first.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// absent writes what JSON shows of a field that is not there.
func (m *message) absent(dst []byte, at int16, revision int64) []byte {
	f := &m.fields[at]
	if revision != 0 {
		if int(at) == m.revision {
			return appendRevision(dst, f.name, revision)
		}
		if f.objectMeta {
			dst = append(appendMember(dst, f.name), '{')
			dst, _ = f.message.append(dst, nil, revision)
			return append(dst, '}')
		}
	}
	return appendMember(dst, f.missing)
}

func appendRevision(dst, name []byte, revision int64) []byte {
	dst = append(appendMember(dst, name), '"')
	return append(strconv.AppendInt(dst, revision, 10), '"')
}

// appendMember appends a name, or members, with the comma before it.
func appendMember(dst, member []byte) []byte {
	if len(member) == 0 {
		return dst
	}
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(dst, member...)
}

// append writes a field whose tag, n bytes long, begins b. It returns what
// follows the field.
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
	if f.omit(data) {
		return dst, rest, true
	}
	if f.inline {
		dst, ok := f.message.append(dst, data, 0)
		return dst, rest, ok
	}
	dst = appendMember(dst, f.name)
	if f.kind == kindMessage {
		if !f.objectMeta {
			revision = 0
		}
		dst, ok := f.message.append(append(dst, '{'), data, revision)
		return append(dst, '}'), rest, ok
	}
	dst, ok := f.value.append(dst, data)
	return dst, rest, ok
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
	dst, ok = f.kind.appendNumber(appendMember(dst, f.name), bits)
	return dst, rest, ok
}

// appendList writes all entries of a repeated field that follow each other.
func (f *fieldPlan) appendList(dst, b []byte, n int) ([]byte, []byte, bool) {
	tag := b[:n]
	dst = append(appendMember(dst, f.name), '[')
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
	dst = append(appendMember(dst, f.name), '{')
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
	r := reader{b}
	for last := 0; r.more(); {
		num, w, err := r.tag()
		if err != nil || num <= last || num > 2 {
			return e, false
		}
		last = num
		switch {
		case num == 1 && w == wireBytes:
			if e.key, err = r.bytes(); err != nil {
				return e, false
			}
		case num == 2 && w == wireBytes && wire == wireBytes:
			if e.data, err = r.bytes(); err != nil {
				return e, false
			}
			e.has = true
		case num == 2 && w == wire:
			before := r.b
			if r.skip(w) != nil {
				return e, false
			}
			e.data, e.has = before[:len(before)-len(r.b)], true
		default:
			return e, false
		}
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
		dst, ok := v.message.append(append(dst, '{'), data, 0)
		return append(dst, '}'), ok
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
