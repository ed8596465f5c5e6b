package codec

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
)

// pass is one going over the bytes of a message, which writes their JSON. It
// keeps indexes and not pieces of slices, so that the loop over the fields,
// most of which are a few bytes long, has little to carry along.
type pass struct {
	src []byte
	// dst is as long as its capacity; the first n bytes of it are written.
	dst []byte
	n   int
	// minute is that of the date in quotes beside it: those of an object are
	// mostly of one day, and often of one minute.
	minute int64
	date   [dateSize]byte
}

// spare is the room that a name and a short value take at most, each copied in
// full words.
const spare = maxKey + 32

// begin writes after what dst holds.
func begin(dst, src []byte) pass {
	return pass{src: src, dst: dst[:cap(dst)], n: len(dst), minute: math.MinInt64}
}

// done is what has been written.
func (p *pass) done() []byte { return p.dst[:p.n] }

// resume goes on after dst, to which somebody else has appended.
func (p *pass) resume(dst []byte) { p.dst, p.n = dst[:cap(dst)], len(dst) }

// room makes sure that n bytes can be written without a look at the capacity.
func (p *pass) room(n int) {
	if len(p.dst)-p.n < n {
		p.grow(n)
	}
}

//go:noinline
func (p *pass) grow(n int) {
	bigger := make([]byte, 2*len(p.dst)+n)
	copy(bigger, p.dst[:p.n])
	p.dst = bigger[:cap(bigger)]
}

// key writes the name of a field where there is room for the longest.
func (p *pass) key(o *op) {
	n := p.n
	*(*[maxKey]byte)(p.dst[n : n+maxKey]) = o.key
	p.n = n + int(o.keySize)
}

// appendObject writes a message as a JSON object.
func (m *message) appendObject(dst, b []byte, revision int64) ([]byte, bool) {
	p := begin(dst, b)
	start := p.n
	ok := p.members(m, 0, len(b), revision)
	p.closeObject(start)
	return p.done(), ok
}

// append writes a message's fields, each after a comma: the braces are the
// caller's.
func (m *message) append(dst, b []byte, revision int64) ([]byte, bool) {
	p := begin(dst, b)
	ok := p.members(m, 0, len(b), revision)
	return p.done(), ok
}

// closeObject ends the object whose members begin at start: the first one's
// comma becomes the brace.
func (p *pass) closeObject(start int) {
	p.room(2)
	if p.n == start {
		p.dst[start+1] = '}'
		p.n++
	} else {
		p.dst[p.n] = '}'
	}
	p.dst[start] = '{'
	p.n++
}

// varint reads the one at i that is longer than a byte; the index behind it is
// negative when there is none.
func (p *pass) varint(i, end int) (uint64, int) {
	v, n := binary.Uvarint(p.src[i:end])
	if n <= 0 {
		return 0, -1
	}
	return v, i + n
}

// members writes the fields that are in the source from i to end, each after a
// comma. It gives up, false, on what generated code does not write.
func (p *pass) members(m *message, i, end int, revision int64) bool {
	if len(m.always) > 0 {
		p.resume(append(p.done(), m.always...))
	}
	src := p.src[:end]
	last, shown, next := 0, 0, m.firstShown
	for i < len(src) {
		before := i
		tag := int(src[i])
		if i++; tag >= 0x80 {
			// Types have no field beyond 1024, which two bytes hold.
			if i == len(src) || src[i] >= 0x80 {
				return false
			}
			tag = tag&0x7f | int(src[i])<<7
			i++
		}
		num := tag >> 3
		if num >= len(m.ops) || m.ops[num].code == opUnknown {
			r := reader{src[i:]}
			if num == 0 || r.skip(tag&7) != nil {
				return false
			}
			i = len(src) - len(r.b)
			continue
		}
		o := &m.ops[num]
		if num <= last || uint8(tag&7) != o.wire {
			return false
		}
		last = num
		if num >= next {
			shown, next = p.showBefore(m, shown, num, revision)
		}
		if o.code == opOther {
			dst, rest, ok := o.field.append(p.done(), src[before:], i-before, revision)
			if p.resume(dst); !ok {
				return false
			}
			i = len(src) - len(rest)
			continue
		}
		if i >= len(src) {
			return false
		}
		v := uint64(src[i])
		if i++; v >= 0x80 {
			if v, i = p.varint(i-1, len(src)); i < 0 {
				return false
			}
		}
		p.room(spare)
		if o.wire == wireVarint {
			p.number(o, v)
			continue
		}
		if v > uint64(len(src)-i) {
			return false
		}
		size := int(v)
		switch o.code {
		case opString:
			if size > 0 || !o.omitEmpty {
				p.key(o)
				p.quote(i, size)
			}
			i += size
			continue
		case opInline:
			if !p.members(o.message, i, i+size, 0) {
				return false
			}
			i += size
			continue
		}
		p.key(o)
		if i = p.value(o, before, i, size, end, revision); i < 0 {
			return false
		}
	}
	if shown < len(m.shown) {
		p.showBefore(m, shown, math.MaxInt, revision)
	}
	return true
}

// value writes what follows a field's name. It returns the index behind the
// field, negative when it gives up.
func (p *pass) value(o *op, before, i, size, end int, revision int64) int {
	start, ok := p.n, true
	switch o.code {
	case opMessage:
		ok = p.members(o.message, i, i+size, 0)
		p.closeObject(start)
	case opMeta:
		ok = p.members(o.message, i, i+size, revision)
		p.closeObject(start)
	case opTime:
		ok = p.time(i, i+size)
	case opIntOrString:
		var dst []byte
		dst, ok = appendIntOrString(p.done(), p.src[i:i+size])
		p.resume(dst)
	case opMap:
		return p.pairs(o, before, i, size, end)
	default: // opMessages, opStrings
		return p.list(o, before, i, size, end)
	}
	if !ok {
		return -1
	}
	return i + size
}

// showBefore writes what JSON shows of the absent fields below num. It returns
// how many of them are dealt with, and the number of the next.
func (p *pass) showBefore(m *message, shown, num int, revision int64) (int, int) {
	for ; shown < len(m.shown); shown++ {
		f := m.shown[shown]
		if f.num > num {
			return shown, f.num
		}
		if f.num < num {
			p.resume(f.absent(p.done(), revision))
		}
	}
	return shown, math.MaxInt
}

// number writes a number or a boolean, where there is room.
func (p *pass) number(o *op, v uint64) {
	switch o.code {
	case opInt32:
		v = uint64(int64(int32(v)))
	case opBool:
		if v == 0 && o.omitEmpty {
			return
		}
		p.key(o)
		word := "false"
		if v != 0 {
			word = "true"
		}
		p.n += copy(p.dst[p.n:], word)
		return
	}
	if v == 0 && o.omitEmpty {
		return
	}
	p.key(o)
	if v < 10 {
		p.dst[p.n] = '0' + byte(v)
		p.n++
		return
	}
	p.n = len(strconv.AppendInt(p.dst[:p.n], int64(v), 10))
}

// another finds the next entry of a repeated field: its tag is as long as the
// bytes from tag to tagEnd, and the same.
func (p *pass) another(tag, i, end int) (begin, size int, more, ok bool) {
	src := p.src[:end]
	n := 1
	if src[tag] >= 0x80 {
		n = 2
	}
	if i+n >= len(src) || src[i] != src[tag] || src[i+n-1] != src[tag+n-1] {
		return i, 0, false, true
	}
	i += n
	v := uint64(src[i])
	if i++; v >= 0x80 {
		if v, i = p.varint(i-1, end); i < 0 {
			return 0, 0, false, false
		}
	}
	return i, int(v), true, v <= uint64(end-i)
}

// list writes all entries of a repeated field that follow each other, the
// first of which is at i, and returns the index behind them.
func (p *pass) list(o *op, tag, i, size, end int) int {
	start := p.n
	for {
		p.room(spare)
		p.dst[p.n] = ','
		p.n++
		if o.code == opStrings {
			p.quote(i, size)
		} else {
			at := p.n
			if !p.members(o.message, i, i+size, 0) {
				return -1
			}
			p.closeObject(at)
		}
		var more, ok bool
		if i, size, more, ok = p.another(tag, i+size, end); !ok {
			return -1
		}
		if !more {
			break
		}
	}
	p.dst[start] = '['
	p.room(1)
	p.dst[p.n] = ']'
	p.n++
	return i
}

// pairs writes all entries of a map, whose keys generated code writes in the
// order that JSON wants.
func (p *pass) pairs(o *op, tag, i, size, end int) int {
	start := p.n
	for key, keySize, first := 0, 0, true; ; first = false {
		e, ok := p.pair(i, i+size)
		if !ok || !first && bytes.Compare(p.src[key:key+keySize], p.src[e.key:e.key+e.keySize]) >= 0 {
			return -1
		}
		key, keySize = e.key, e.keySize
		p.room(spare)
		p.dst[p.n] = ','
		p.n++
		p.quote(e.key, e.keySize)
		p.room(spare)
		p.dst[p.n] = ':'
		p.n++
		if o.field.kind == kindString {
			p.quote(e.value, e.valueSize)
		} else {
			dst, ok := appendQuantity(p.done(), p.src[e.value:e.value+e.valueSize])
			if p.resume(dst); !ok {
				return -1
			}
		}
		var more bool
		if i, size, more, ok = p.another(tag, i+size, end); !ok {
			return -1
		}
		if !more {
			break
		}
	}
	p.dst[start] = '{'
	p.room(1)
	p.dst[p.n] = '}'
	p.n++
	return i
}

// pair is where the two parts of a map's entry are.
type pair struct{ key, keySize, value, valueSize int }

// pair finds the parts of the entry from i to end. Both are bytes; an absent
// one is empty.
func (p *pass) pair(i, end int) (e pair, ok bool) {
	src := p.src[:end]
	e.key, e.value = i, i
	for last := byte(0); i < len(src); {
		tag := src[i]
		if tag <= last || tag != 1<<3|wireBytes && tag != 2<<3|wireBytes || i+1 == len(src) {
			return e, false
		}
		last = tag
		size := uint64(src[i+1])
		if i += 2; size >= 0x80 {
			if size, i = p.varint(i-1, end); i < 0 {
				return e, false
			}
		}
		if size > uint64(len(src)-i) {
			return e, false
		}
		if tag == 1<<3|wireBytes {
			e.key, e.keySize = i, int(size)
		} else {
			e.value, e.valueSize = i, int(size)
		}
		i += int(size)
	}
	return e, true
}

// uvarint is binary.Uvarint with the short way first.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}
