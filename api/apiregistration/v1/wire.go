package v1

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The protobuf form, byte for byte that of Kubernetes: fields in the order of
// their numbers, texts and numbers written even when empty. Messages are
// written back to front, as the generated code of their metadata is: a
// message's length is known by the time its tag is written.

type message interface {
	Size() int
	MarshalToSizedBuffer(b []byte) (int, error)
}

const (
	varint = 0
	bytes  = 2
)

// writer fills b from its end; n is where the next thing ends.
type writer struct {
	b   []byte
	n   int
	err error
}

func (w *writer) varint(v uint64) {
	w.n -= varintSize(v)
	if w.n < 0 {
		w.err, w.n = io.ErrShortBuffer, 0
		return
	}
	binary.PutUvarint(w.b[w.n:], v)
}

func (w *writer) tag(field, wire int) { w.varint(uint64(field<<3 | wire)) }

func (w *writer) number(field int, v uint64) {
	w.varint(v)
	w.tag(field, varint)
}

func (w *writer) bool(field int, v bool) {
	if v {
		w.number(field, 1)
	} else {
		w.number(field, 0)
	}
}

func (w *writer) text(field int, s string) {
	w.n -= len(s)
	if w.n < 0 {
		w.err, w.n = io.ErrShortBuffer, 0
		return
	}
	copy(w.b[w.n:], s)
	w.varint(uint64(len(s)))
	w.tag(field, bytes)
}

func (w *writer) message(field int, m message) {
	if w.err != nil {
		return
	}
	size, err := m.MarshalToSizedBuffer(w.b[:w.n])
	if err != nil {
		w.err = err
		return
	}
	w.n -= size
	w.varint(uint64(size))
	w.tag(field, bytes)
}

func (w *writer) done() (int, error) { return len(w.b) - w.n, w.err }

func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// sized is the size of a length-delimited field with a number below 16.
func sized(n int) int { return 1 + varintSize(uint64(n)) + n }

func marshal(m message) ([]byte, error) {
	b := make([]byte, m.Size())
	n, err := m.MarshalToSizedBuffer(b)
	return b[len(b)-n:], err
}

// Marshal encodes s.
func (s *APIService) Marshal() ([]byte, error) { return marshal(s) }

// Size is the length of the encoding.
func (s *APIService) Size() int {
	return sized(s.ObjectMeta.Size()) + sized(s.Spec.Size()) + sized(s.Status.Size())
}

// MarshalToSizedBuffer encodes s at the end of b.
func (s *APIService) MarshalToSizedBuffer(b []byte) (int, error) {
	w := writer{b: b, n: len(b)}
	w.message(3, &s.Status)
	w.message(2, &s.Spec)
	w.message(1, &s.ObjectMeta)
	return w.done()
}

// Marshal encodes l.
func (l *APIServiceList) Marshal() ([]byte, error) { return marshal(l) }

// Size is the length of the encoding.
func (l *APIServiceList) Size() int {
	n := sized(l.ListMeta.Size())
	for i := range l.Items {
		n += sized(l.Items[i].Size())
	}
	return n
}

// MarshalToSizedBuffer encodes l at the end of b.
func (l *APIServiceList) MarshalToSizedBuffer(b []byte) (int, error) {
	w := writer{b: b, n: len(b)}
	for i := len(l.Items) - 1; i >= 0; i-- {
		w.message(2, &l.Items[i])
	}
	w.message(1, &l.ListMeta)
	return w.done()
}

// Size is the length of the encoding.
func (s *APIServiceSpec) Size() int {
	n := sized(len(s.Group)) + sized(len(s.Version)) + 2
	n += 2 + varintSize(uint64(s.GroupPriorityMinimum)) + varintSize(uint64(s.VersionPriority))
	if s.Service != nil {
		n += sized(s.Service.Size())
	}
	if s.CABundle != nil {
		n += sized(len(s.CABundle))
	}
	return n
}

// MarshalToSizedBuffer encodes s at the end of b.
func (s *APIServiceSpec) MarshalToSizedBuffer(b []byte) (int, error) {
	w := writer{b: b, n: len(b)}
	w.number(8, uint64(s.VersionPriority))
	w.number(7, uint64(s.GroupPriorityMinimum))
	if s.CABundle != nil {
		w.text(5, string(s.CABundle))
	}
	w.bool(4, s.InsecureSkipTLSVerify)
	w.text(3, s.Version)
	w.text(2, s.Group)
	if s.Service != nil {
		w.message(1, s.Service)
	}
	return w.done()
}

// Size is the length of the encoding.
func (r *ServiceReference) Size() int {
	n := sized(len(r.Namespace)) + sized(len(r.Name))
	if r.Port != nil {
		n += 1 + varintSize(uint64(*r.Port))
	}
	return n
}

// MarshalToSizedBuffer encodes r at the end of b.
func (r *ServiceReference) MarshalToSizedBuffer(b []byte) (int, error) {
	w := writer{b: b, n: len(b)}
	if r.Port != nil {
		w.number(3, uint64(*r.Port))
	}
	w.text(2, r.Name)
	w.text(1, r.Namespace)
	return w.done()
}

// Size is the length of the encoding.
func (s *APIServiceStatus) Size() int {
	n := 0
	for i := range s.Conditions {
		n += sized(s.Conditions[i].Size())
	}
	return n
}

// MarshalToSizedBuffer encodes s at the end of b.
func (s *APIServiceStatus) MarshalToSizedBuffer(b []byte) (int, error) {
	w := writer{b: b, n: len(b)}
	for i := len(s.Conditions) - 1; i >= 0; i-- {
		w.message(1, &s.Conditions[i])
	}
	return w.done()
}

// Size is the length of the encoding.
func (c *APIServiceCondition) Size() int {
	return sized(len(c.Type)) + sized(len(c.Status)) + sized(c.LastTransitionTime.Size()) + sized(len(c.Reason)) + sized(len(c.Message))
}

// MarshalToSizedBuffer encodes c at the end of b.
func (c *APIServiceCondition) MarshalToSizedBuffer(b []byte) (int, error) {
	w := writer{b: b, n: len(b)}
	w.text(5, c.Message)
	w.text(4, c.Reason)
	w.message(3, &c.LastTransitionTime)
	w.text(2, c.Status)
	w.text(1, c.Type)
	return w.done()
}

// part is one field of a message.
type part struct {
	field int
	// number is the value of a varint, data that of the rest.
	number uint64
	data   []byte
}

// read calls f with the fields of a message that have the wire type of the
// schema: bytes, or varint where numbers says so. Unknown fields are skipped.
func read(b []byte, numbers uint16, f func(p part) error) error {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 || key>>3 == 0 || key>>3 > 1<<29-1 {
			return fmt.Errorf("proto: illegal tag")
		}
		b = b[n:]
		p, wire := part{field: int(key >> 3)}, int(key&7)
		size, err := p.take(b, wire)
		if err != nil {
			return err
		}
		b = b[size:]
		want := bytes
		if p.field < 16 && numbers&(1<<p.field) != 0 {
			want = varint
		}
		if wire != want {
			if p.field <= 8 {
				return fmt.Errorf("proto: wrong wireType = %d for field %d", wire, p.field)
			}
			continue
		}
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

// take reads a field's value and returns its length.
func (p *part) take(b []byte, wire int) (int, error) {
	size := 0
	switch wire {
	case varint:
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, io.ErrUnexpectedEOF
		}
		p.number = v
		return n, nil
	case bytes:
		v, n := binary.Uvarint(b)
		if n <= 0 || v > uint64(len(b)-n) {
			return 0, io.ErrUnexpectedEOF
		}
		p.data = b[n : n+int(v)]
		return n + int(v), nil
	case 1:
		size = 8
	case 5:
		size = 4
	default:
		return 0, fmt.Errorf("proto: illegal wireType %d", wire)
	}
	if size > len(b) {
		return 0, io.ErrUnexpectedEOF
	}
	return size, nil
}

// Unmarshal merges an encoding into s.
func (s *APIService) Unmarshal(b []byte) error {
	return read(b, 0, func(p part) error {
		switch p.field {
		case 1:
			return s.ObjectMeta.Unmarshal(p.data)
		case 2:
			return s.Spec.Unmarshal(p.data)
		case 3:
			return s.Status.Unmarshal(p.data)
		}
		return nil
	})
}

// Unmarshal merges an encoding into l.
func (l *APIServiceList) Unmarshal(b []byte) error {
	return read(b, 0, func(p part) error {
		switch p.field {
		case 1:
			return l.ListMeta.Unmarshal(p.data)
		case 2:
			l.Items = append(l.Items, APIService{})
			return l.Items[len(l.Items)-1].Unmarshal(p.data)
		}
		return nil
	})
}

// Unmarshal merges an encoding into s.
func (s *APIServiceSpec) Unmarshal(b []byte) error {
	return read(b, 1<<4|1<<7|1<<8, func(p part) error {
		switch p.field {
		case 1:
			if s.Service == nil {
				s.Service = new(ServiceReference)
			}
			return s.Service.Unmarshal(p.data)
		case 2:
			s.Group = string(p.data)
		case 3:
			s.Version = string(p.data)
		case 4:
			s.InsecureSkipTLSVerify = p.number != 0
		case 5:
			s.CABundle = append([]byte{}, p.data...)
		case 7:
			s.GroupPriorityMinimum = int32(p.number)
		case 8:
			s.VersionPriority = int32(p.number)
		}
		return nil
	})
}

// Unmarshal merges an encoding into r.
func (r *ServiceReference) Unmarshal(b []byte) error {
	return read(b, 1<<3, func(p part) error {
		switch p.field {
		case 1:
			r.Namespace = string(p.data)
		case 2:
			r.Name = string(p.data)
		case 3:
			port := int32(p.number)
			r.Port = &port
		}
		return nil
	})
}

// Unmarshal merges an encoding into s.
func (s *APIServiceStatus) Unmarshal(b []byte) error {
	return read(b, 0, func(p part) error {
		if p.field != 1 {
			return nil
		}
		s.Conditions = append(s.Conditions, APIServiceCondition{})
		return s.Conditions[len(s.Conditions)-1].Unmarshal(p.data)
	})
}

// Unmarshal merges an encoding into c.
func (c *APIServiceCondition) Unmarshal(b []byte) error {
	return read(b, 0, func(p part) error {
		switch p.field {
		case 1:
			c.Type = string(p.data)
		case 2:
			c.Status = string(p.data)
		case 3:
			c.LastTransitionTime = metav1.Time{}
			return c.LastTransitionTime.Unmarshal(p.data)
		case 4:
			c.Reason = string(p.data)
		case 5:
			c.Message = string(p.data)
		}
		return nil
	})
}
