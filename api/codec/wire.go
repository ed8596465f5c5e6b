package codec

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Protobuf wire types.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// reader takes a protobuf message apart. What it returns aliases its input.
type reader struct{ b []byte }

func (r *reader) more() bool { return len(r.b) > 0 }

func (r *reader) varint() (uint64, error) {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := uint64(r.b[0])
		r.b = r.b[1:]
		return v, nil
	}
	v, n := binary.Uvarint(r.b)
	if n == 0 {
		return 0, errTruncated
	}
	if n < 0 {
		return 0, errOverflow
	}
	r.b = r.b[n:]
	return v, nil
}

var errOverflow = fmt.Errorf("proto: integer overflow")

func (r *reader) tag() (num int, wire int, err error) {
	v, err := r.varint()
	if err != nil {
		return 0, 0, err
	}
	num, wire = int(v>>3), int(v&7)
	if num <= 0 || v>>3 > 1<<29-1 {
		return 0, 0, fmt.Errorf("proto: illegal tag %d (wire type %d)", int32(v>>3), wire)
	}
	return num, wire, nil
}

func (r *reader) bytes() ([]byte, error) {
	n, err := r.varint()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.b)) {
		return nil, errTruncated
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b, nil
}

func (r *reader) skip(wire int) error {
	switch wire {
	case wireVarint:
		_, err := r.varint()
		return err
	case wireBytes:
		_, err := r.bytes()
		return err
	case wireFixed64:
		return r.drop(8)
	case wireFixed32:
		return r.drop(4)
	}
	return fmt.Errorf("proto: illegal wireType %d", wire)
}

func (r *reader) drop(n int) error {
	if len(r.b) < n {
		return errTruncated
	}
	r.b = r.b[n:]
	return nil
}

// lenSize is the length of n as a varint.
func lenSize(n int) int { return (bits.Len64(uint64(n)|1) + 6) / 7 }

func appendString(dst []byte, field byte, s string) []byte {
	dst = append(dst, field<<3|wireBytes)
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
