package codec

import (
	"encoding/binary"
	"math"
)

// opcode says which way the loop over a message's fields handles one.
type opcode uint8

const (
	opUnknown opcode = iota
	opString
	opStrings
	opBool
	opInt32
	opInt64
	opTime
	opMessage
	opMessages
	// opOther is any other field: its plan says how.
	opOther
)

// maxKey is the longest name, with comma, quotes and colon, that an op holds.
const maxKey = 32

// op is what the loop needs to know of a field: a cache line of it.
type op struct {
	// key is `,"name":`, padded so that copying it takes no loop.
	key       [maxKey]byte
	keySize   uint8
	code      opcode
	wire      uint8
	omitEmpty bool
	message   *message
	field     *fieldPlan
}

func (f *fieldPlan) op() op {
	o := op{code: opOther, wire: f.wire, omitEmpty: f.omitEmpty && !f.pointer, message: f.message, field: f, keySize: uint8(len(f.name))}
	if len(f.name) > maxKey || f.isMap || f.inline || f.revision || f.objectMeta {
		return o
	}
	copy(o.key[:], f.name)
	switch {
	case f.kind == kindString && f.repeated:
		o.code = opStrings
	case f.kind == kindMessage && f.repeated:
		o.code = opMessages
	case f.repeated:
	case f.kind == kindString:
		o.code = opString
	case f.kind == kindBool:
		o.code = opBool
	case f.kind == kindInt32:
		o.code = opInt32
	case f.kind == kindInt64:
		o.code = opInt64
	case f.kind == kindTime && (f.pointer || !f.omitZero):
		o.code = opTime
	case f.kind == kindMessage:
		o.code = opMessage
	}
	return o
}

// spare is the room that a short value and its name take at most.
const spare = maxKey + 32

// room makes sure that n bytes can be put after dst without a check.
func room(dst []byte, n int) []byte {
	if cap(dst)-len(dst) < n {
		dst = grow(dst, n)
	}
	return dst
}

//go:noinline
func grow(dst []byte, n int) []byte {
	bigger := make([]byte, len(dst), 2*cap(dst)+n)
	copy(bigger, dst)
	return bigger
}

// putKey writes the name of a field where there is room for the longest.
func (o *op) putKey(dst []byte) []byte {
	n := len(dst)
	*(*[maxKey]byte)(dst[n : n+maxKey]) = o.key
	return dst[:n+int(o.keySize)]
}

// appendObject writes a message as a JSON object.
func (m *message) appendObject(dst, b []byte, revision int64) ([]byte, bool) {
	start := len(dst)
	dst, ok := m.append(dst, b, revision)
	return closeObject(dst, start), ok
}

// closeObject ends the object whose members begin at start: the first one's
// comma becomes the brace.
func closeObject(dst []byte, start int) []byte {
	if len(dst) == start {
		return append(dst, '{', '}')
	}
	dst[start] = '{'
	return append(dst, '}')
}

// tagOf reads the tag of a field below 2048: all that types have.
func tagOf(b []byte) (tag, n int) {
	if b[0] < 0x80 {
		return int(b[0]), 1
	}
	if len(b) > 1 && b[1] < 0x80 {
		return int(b[0]&0x7f) | int(b[1])<<7, 2
	}
	v, n := binary.Uvarint(b)
	if v > math.MaxUint32 {
		return 0, 0
	}
	return int(v), n
}

// uvarint is binary.Uvarint with the short way first.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// append writes a message's fields, each after a comma: the braces are the
// caller's. It gives up, false, on what generated code does not write.
func (m *message) append(dst, b []byte, revision int64) ([]byte, bool) {
	if len(m.always) > 0 {
		dst = append(dst, m.always...)
	}
	last, shown, next := 0, 0, math.MaxInt
	if len(m.shown) > 0 {
		next = m.shown[0].num
	}
	for len(b) > 0 {
		tag, n := tagOf(b)
		num := tag >> 3
		if n <= 0 || num == 0 {
			return dst, false
		}
		if num >= len(m.ops) || m.ops[num].code == opUnknown {
			r := reader{b[n:]}
			if r.skip(tag&7) != nil {
				return dst, false
			}
			b = r.b
			continue
		}
		o := &m.ops[num]
		if num <= last || uint8(tag&7) != o.wire {
			return dst, false
		}
		last = num
		for num >= next {
			if num > next {
				dst = m.shown[shown].absent(dst, revision)
			}
			next = math.MaxInt
			if shown++; shown < len(m.shown) {
				next = m.shown[shown].num
			}
		}
		if o.code == opOther {
			var ok bool
			if dst, b, ok = o.field.append(dst, b, n, revision); !ok {
				return dst, false
			}
			continue
		}
		size, k := uvarint(b[n:])
		if k <= 0 {
			return dst, false
		}
		head := b[:n]
		b = b[n+k:]
		if o.wire == wireVarint {
			dst = o.appendVarint(room(dst, spare), size)
			continue
		}
		if size > uint64(len(b)) {
			return dst, false
		}
		var ok bool
		switch o.code {
		case opString:
			if size > 0 || !o.omitEmpty {
				dst = room(dst, spare+int(size))
				dst = quote(o.putKey(dst), b, int(size))
			}
			b = b[size:]
		case opMessage:
			dst = o.putKey(room(dst, spare))
			start := len(dst)
			if dst, ok = o.message.append(dst, b[:size], 0); !ok {
				return dst, false
			}
			dst = closeObject(dst, start)
			b = b[size:]
		case opTime:
			dst, ok = appendTime(o.putKey(room(dst, spare)), b[:size])
			if !ok {
				return dst, false
			}
			b = b[size:]
		default: // opMessages, opStrings
			if dst, b, ok = o.appendList(dst, b, head, int(size)); !ok {
				return dst, false
			}
		}
	}
	for ; shown < len(m.shown); shown++ {
		dst = m.shown[shown].absent(dst, revision)
	}
	return dst, true
}

// appendVarint writes a number or boolean, where there is room.
func (o *op) appendVarint(dst []byte, v uint64) []byte {
	switch o.code {
	case opInt32:
		v = uint64(int64(int32(v)))
	case opBool:
		if v != 0 {
			return append(o.putKey(dst), "true"...)
		}
		if o.omitEmpty {
			return dst
		}
		return append(o.putKey(dst), "false"...)
	}
	if v == 0 && o.omitEmpty {
		return dst
	}
	dst = o.putKey(dst)
	if v < 10 {
		return append(dst, '0'+byte(v))
	}
	return appendInt(dst, int64(v))
}

// appendList writes all entries of a repeated field that follow each other:
// size is the length of the first, which begins b; tag precedes the others.
func (o *op) appendList(dst, b, tag []byte, size int) ([]byte, []byte, bool) {
	dst = o.putKey(room(dst, spare))
	start := len(dst)
	for {
		dst = room(dst, spare+size)
		dst = append(dst, ',')
		if o.code == opStrings {
			dst = quote(dst, b, size)
		} else {
			at := len(dst)
			var ok bool
			if dst, ok = o.message.append(dst, b[:size], 0); !ok {
				return dst, b, false
			}
			dst = closeObject(dst, at)
		}
		b = b[size:]
		if len(b) <= len(tag) || string(b[:len(tag)]) != string(tag) {
			break
		}
		next, k := uvarint(b[len(tag):])
		if k <= 0 || next > uint64(len(b)-len(tag)-k) {
			return dst, b, false
		}
		b, size = b[len(tag)+k:], int(next)
	}
	dst[start] = '['
	return append(dst, ']'), b, true
}
