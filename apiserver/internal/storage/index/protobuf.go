package index

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is what is wanted of a protobuf message: its fields by number.
type message struct {
	fields []wanted
}

// wanted is a field to look at. Exactly one of message and a leaf is set.
type wanted struct {
	message *message
	leaf    int
	kind    kind
}

type kind uint8

const (
	unwanted kind = iota
	nested
	stringLeaf
	intLeaf
	boolLeaf
	labelsLeaf
)

func (m *message) at(number int) *wanted {
	for number >= len(m.fields) {
		m.fields = append(m.fields, wanted{})
	}
	return &m.fields[number]
}

// add resolves a JSON path in a Go type to field numbers, by the struct tags.
func (m *message) add(t reflect.Type, path []string, leaf int) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return fmt.Errorf("%s has no fields", t)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		number := fieldNumber(f)
		if name == "" && strings.Contains(options, "inline") {
			if number == 0 {
				continue // TypeMeta is not in protobuf
			}
			inner := m.into(number)
			if err := inner.add(f.Type, path, leaf); err == nil {
				return nil
			}
			continue
		}
		if name != path[0] || number == 0 {
			continue
		}
		if len(path) > 1 {
			return m.into(number).add(f.Type, path[1:], leaf)
		}
		k, err := leafKind(f.Type)
		if err != nil {
			return err
		}
		w := m.at(number)
		w.leaf, w.kind = leaf, k
		return nil
	}
	return fmt.Errorf("%s has no field %q", t, path[0])
}

func (m *message) into(number int) *message {
	w := m.at(number)
	if w.message == nil {
		w.message, w.kind = &message{}, nested
	}
	return w.message
}

func fieldNumber(f reflect.StructField) int {
	parts := strings.Split(f.Tag.Get("protobuf"), ",")
	if len(parts) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(parts[1])
	return n
}

func leafKind(t reflect.Type) (kind, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return stringLeaf, nil
	case reflect.Bool:
		return boolLeaf, nil
	case reflect.Int32, reflect.Int64:
		return intLeaf, nil
	case reflect.Map:
		if t.Elem().Kind() == reflect.String {
			return labelsLeaf, nil
		}
	}
	return 0, fmt.Errorf("%s cannot be selected by", t)
}

var errWire = errors.New("not a valid protobuf message")

// scan walks a message's wire form. Of a field that occurs twice the last
// counts, as protobuf has it.
func (m *message) scan(b []byte, s *state) error {
	var nothing wanted
	for len(b) > 0 {
		number, typ, n := tag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		w := &nothing
		if int(number) < len(m.fields) {
			w = &m.fields[number]
		}
		switch {
		case typ == protowire.BytesType:
			v, n := content(b)
			if n < 0 {
				return errWire
			}
			b = b[n:]
			if w.kind == unwanted {
				continue
			}
			if err := w.bytes(v, s); err != nil {
				return err
			}
		case typ == protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return errWire
			}
			b = b[n:]
			w.varint(v, s)
		default:
			n := protowire.ConsumeFieldValue(number, typ, b)
			if n < 0 {
				return errWire
			}
			b = b[n:]
		}
	}
	return nil
}

// tag is protowire.ConsumeTag, and quicker for the numbers that fields mostly
// have. b is not empty.
func tag(b []byte) (protowire.Number, protowire.Type, int) {
	if c := b[0]; c < 0x80 && c>>3 != 0 {
		return protowire.Number(c >> 3), protowire.Type(c & 7), 1
	}
	return protowire.ConsumeTag(b)
}

// content is protowire.ConsumeBytes, and quicker for lengths below 16 KB.
func content(b []byte) ([]byte, int) {
	n, l := 0, 0
	switch {
	case len(b) > 0 && b[0] < 0x80:
		n, l = int(b[0]), 1
	case len(b) > 1 && b[1] < 0x80:
		n, l = int(b[0]&0x7f)|int(b[1])<<7, 2
	default:
		return protowire.ConsumeBytes(b)
	}
	if len(b)-l < n {
		return nil, -1
	}
	return b[l : l+n], l + n
}

func (w *wanted) bytes(v []byte, s *state) error {
	switch w.kind {
	case nested:
		return w.message.scan(v, s)
	case stringLeaf:
		s.leaves[w.leaf] = alias(v)
	case labelsLeaf:
		return s.label(v)
	}
	return nil
}

func (w *wanted) varint(v uint64, s *state) {
	switch w.kind {
	case intLeaf:
		s.leaves[w.leaf] = ""
		if v != 0 {
			s.leaves[w.leaf] = decimal(int64(v))
		}
	case boolLeaf:
		s.leaves[w.leaf] = ""
		if v != 0 {
			s.leaves[w.leaf] = "true"
		}
	}
}

// label adds one entry of the map of labels.
func (s *state) label(b []byte) error {
	var pair [2][]byte
	for len(b) > 0 {
		number, typ, n := tag(b)
		if n < 0 || typ != protowire.BytesType {
			return errWire
		}
		v, l := content(b[n:])
		if l < 0 {
			return errWire
		}
		if number == 1 || number == 2 {
			pair[number-1] = v
		}
		b = b[n+l:]
	}
	s.setLabel(alias(pair[0]), alias(pair[1]))
	return nil
}

func (s *state) setLabel(key, value string) {
	// In order, as they come from Kubernetes, a key is never there already.
	if n := len(s.labels); n > 0 && s.labels[n-2] >= key {
		for i := 0; i < n; i += 2 {
			if s.labels[i] == key {
				s.labels[i+1] = value
				return
			}
		}
	}
	s.labels = append(s.labels, key, value)
}
