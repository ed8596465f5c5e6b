package shutdown

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Kinds of messages.
const (
	methodCall   = 1
	methodReturn = 2
	failure      = 3
	signal       = 4
)

// Fields of a message's header.
const (
	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplyTo     = 5
	fieldDestination = 6
	fieldSender      = 7
	fieldSignature   = 8
	fieldFiles       = 9
)

// message of D-Bus. Bodies are made of strings, booleans, integers of 32 and 64
// bits, files by their number, and variants of these.
type message struct {
	kind            byte
	serial, replyTo uint32
	path            string
	iface, member   string
	errorName       string
	destination     string
	sender          string
	signature       string
	body            []any
	fileCount       int
	files           []int
}

// file is a number of a message's files.
type file uint32

func (m *message) close() { closeAll(m.files); m.files = nil }

// writer is of what has to begin at multiples of its size.
type writer struct{ b []byte }

func (w *writer) align(n int) {
	for len(w.b)%n != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *writer) uint32(n uint32) {
	w.align(4)
	w.b = binary.LittleEndian.AppendUint32(w.b, n)
}

func (w *writer) string(s string) {
	w.uint32(uint32(len(s)))
	w.b = append(append(w.b, s...), 0)
}

func (w *writer) sign(s string) { w.b = append(append(append(w.b, byte(len(s))), s...), 0) }

// value writes one and gives its signature.
func (w *writer) value(v any) string {
	switch v := v.(type) {
	case string:
		w.string(v)
		return "s"
	case bool:
		n := uint32(0)
		if v {
			n = 1
		}
		w.uint32(n)
		return "b"
	case uint32:
		w.uint32(v)
		return "u"
	case int32:
		w.uint32(uint32(v))
		return "i"
	case file:
		w.uint32(uint32(v))
		return "h"
	case uint64:
		w.align(8)
		w.b = binary.LittleEndian.AppendUint64(w.b, v)
		return "t"
	case variant:
		inner := &writer{}
		w.sign(inner.value(v.value))
		w.value(v.value)
		return "v"
	}
	panic(fmt.Sprintf("no value of D-Bus: %T", v)) // only this package makes them
}

// variant is a value with its type.
type variant struct{ value any }

// encode is the message's bytes.
func (m *message) encode() []byte {
	body, signature := &writer{}, ""
	for _, v := range m.body {
		signature += body.value(v)
	}
	fields := &writer{}
	add := func(code byte, sign string, put func()) {
		fields.align(8)
		fields.b = append(fields.b, code)
		fields.sign(sign)
		put()
	}
	for _, f := range []struct {
		code        byte
		sign, value string
	}{
		{fieldPath, "o", m.path}, {fieldInterface, "s", m.iface}, {fieldMember, "s", m.member}, {fieldErrorName, "s", m.errorName}, {fieldDestination, "s", m.destination},
	} {
		if f.value != "" {
			add(f.code, f.sign, func() { fields.string(f.value) })
		}
	}
	if m.replyTo != 0 {
		add(fieldReplyTo, "u", func() { fields.uint32(m.replyTo) })
	}
	if signature != "" {
		add(fieldSignature, "g", func() { fields.sign(signature) })
	}
	if m.fileCount > 0 {
		add(fieldFiles, "u", func() { fields.uint32(uint32(m.fileCount)) })
	}
	out := &writer{b: []byte{'l', m.kind, 0, 1}}
	out.uint32(uint32(len(body.b)))
	out.uint32(m.serial)
	out.uint32(uint32(len(fields.b)))
	out.b = append(out.b, fields.b...) // they begin at a multiple of 8
	out.align(8)
	return append(out.b, body.b...)
}

// fixed is the size of a header's beginning, up to its fields, in bytes.
const fixed = 16

func order(b byte) (binary.ByteOrder, error) {
	switch b {
	case 'l':
		return binary.LittleEndian, nil
	case 'B':
		return binary.BigEndian, nil
	}
	return nil, fmt.Errorf("a message of byte order %q", b)
}

// messageSize is that of the message at the beginning of what came, false as
// long as too little has come to tell.
func messageSize(data []byte) (size int, ok bool, err error) {
	if len(data) < fixed {
		return 0, false, nil
	}
	o, err := order(data[0])
	if err != nil {
		return 0, false, err
	}
	body, fields := o.Uint32(data[4:]), o.Uint32(data[12:])
	if body > maxMessage || fields > maxMessage {
		return 0, false, fmt.Errorf("a message of more than %d bytes", maxMessage)
	}
	return (fixed+int(fields)+7)/8*8 + int(body), true, nil
}

// reader reads values; the first error stays.
type reader struct {
	order binary.ByteOrder
	data  []byte
	at    int
	err   error
}

func (r *reader) take(n, align int) []byte {
	for r.at%align != 0 {
		r.at++
	}
	if r.err == nil && (n < 0 || r.at+n > len(r.data)) {
		r.err = fmt.Errorf("a message that ends too early")
	}
	if r.err != nil {
		return make([]byte, 8)
	}
	r.at += n
	return r.data[r.at-n : r.at]
}

func (r *reader) uint32() uint32 { return r.order.Uint32(r.take(4, 4)) }

func (r *reader) text(n int) string {
	b := r.take(n+1, 1)
	if r.err != nil {
		return ""
	}
	return string(b[:n])
}

func (r *reader) string() string {
	n := r.uint32()
	if n > maxMessage {
		r.err = fmt.Errorf("a string of %d bytes", n)
		return ""
	}
	return r.text(int(n))
}

func (r *reader) sign() string { return r.text(int(r.take(1, 1)[0])) }

// deepest variants in variants that are read.
const deepest = 8

// value reads one of a simple type.
func (r *reader) value(sign byte, depth int) any {
	switch sign {
	case 's', 'o':
		return r.string()
	case 'g':
		return r.sign()
	case 'b':
		return r.uint32() != 0
	case 'u':
		return r.uint32()
	case 'i':
		return int32(r.uint32())
	case 'h':
		return file(r.uint32())
	case 't':
		return r.order.Uint64(r.take(8, 8))
	case 'y':
		return r.take(1, 1)[0]
	case 'v':
		if inner := r.sign(); len(inner) == 1 && depth < deepest {
			return r.value(inner[0], depth+1)
		}
	}
	if r.err == nil {
		r.err = fmt.Errorf("a value of the type %q, which nothing here asks for", sign)
	}
	return nil
}

// decode reads a whole message. A body of types that nothing here asks for is
// left out.
func decode(data []byte) (*message, error) {
	o, err := order(data[0])
	if err != nil {
		return nil, err
	}
	m := &message{kind: data[1], serial: o.Uint32(data[8:])}
	end := fixed + int(o.Uint32(data[12:]))
	if end > len(data) {
		return nil, fmt.Errorf("a message that ends too early")
	}
	r := &reader{order: o, data: data[:end], at: fixed}
	for r.err == nil && r.at < end {
		code := r.take(1, 8)[0]
		v := r.value('v', 0)
		text, _ := v.(string)
		number, _ := v.(uint32)
		switch code {
		case fieldPath:
			m.path = text
		case fieldInterface:
			m.iface = text
		case fieldMember:
			m.member = text
		case fieldErrorName:
			m.errorName = text
		case fieldSender:
			m.sender = text
		case fieldDestination:
			m.destination = text
		case fieldSignature:
			m.signature = text
		case fieldReplyTo:
			m.replyTo = number
		case fieldFiles:
			m.fileCount = int(min(number, maxFiles+1))
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	if strings.Trim(m.signature, "sogbuihtyv") != "" {
		return m, nil
	}
	body := &reader{order: o, data: bytes.Clone(data[min((end+7)/8*8, len(data)):])}
	for i := range len(m.signature) {
		m.body = append(m.body, body.value(m.signature[i], 0))
	}
	if body.err != nil {
		m.body = nil
	}
	return m, nil
}
