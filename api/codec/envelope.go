// Package codec has the wire forms of API objects: the protobuf envelope,
// protobuf to JSON without structs, and JSON and YAML into structs with the
// strictness that fieldValidation asks for. All of it is pure.
package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Magic begins every protobuf object outside of gRPC: "k8s" and a zero byte.
var Magic = []byte{'k', '8', 's', 0}

// Envelope is the Unknown message that carries an object's bytes with its kind.
type Envelope struct {
	APIVersion string
	Kind       string
	// Raw is the object's own message.
	Raw []byte
	// ContentEncoding and ContentType are empty for protobuf objects.
	ContentEncoding string
	ContentType     string
}

// ErrNotEnvelope is data that does not begin with Magic.
var ErrNotEnvelope = fmt.Errorf("provided data does not appear to be a protobuf message, expected prefix %v", Magic)

var errTruncated = errors.New("unexpected EOF")

// EnvelopeSize is the length of AppendEnvelopeHeader's output plus raw bytes.
func EnvelopeSize(apiVersion, kind string, raw int) int {
	return EnvelopeHeaderSize(apiVersion, kind, raw) + raw + len(emptyTail)
}

// emptyTail are the empty contentEncoding and contentType, which Kubernetes
// writes even when empty.
const emptyTail = "\x1a\x00\x22\x00"

// EnvelopeHeaderSize is the length of what precedes the raw bytes.
func EnvelopeHeaderSize(apiVersion, kind string, raw int) int {
	return len(Magic) + 1 + lenSize(typeMetaSize(apiVersion, kind)) + typeMetaSize(apiVersion, kind) + 1 + lenSize(raw)
}

func typeMetaSize(apiVersion, kind string) int {
	return 2 + lenSize(len(apiVersion)) + len(apiVersion) + lenSize(len(kind)) + len(kind)
}

// AppendEnvelopeHeader writes everything before raw bytes of that length.
// Follow with the raw bytes and AppendEnvelopeTail.
func AppendEnvelopeHeader(dst []byte, apiVersion, kind string, raw int) []byte {
	dst = append(dst, Magic...)
	dst = append(dst, 0x0a)
	dst = binary.AppendUvarint(dst, uint64(typeMetaSize(apiVersion, kind)))
	dst = appendString(dst, 1, apiVersion)
	dst = appendString(dst, 2, kind)
	dst = append(dst, 0x12)
	return binary.AppendUvarint(dst, uint64(raw))
}

// AppendEnvelopeTail ends an envelope.
func AppendEnvelopeTail(dst []byte) []byte { return append(dst, emptyTail...) }

// AppendEnvelope wraps raw.
func AppendEnvelope(dst []byte, apiVersion, kind string, raw []byte) []byte {
	dst = AppendEnvelopeHeader(dst, apiVersion, kind, len(raw))
	dst = append(dst, raw...)
	return AppendEnvelopeTail(dst)
}

// ParseEnvelope reads an envelope; Raw aliases data.
func ParseEnvelope(data []byte) (Envelope, error) {
	var e Envelope
	if !bytes.HasPrefix(data, Magic) {
		return e, ErrNotEnvelope
	}
	r := reader{data[len(Magic):]}
	for r.more() {
		num, wire, err := r.tag()
		if err != nil {
			return e, err
		}
		if num > 4 || wire != wireBytes {
			if num <= 4 {
				return e, fmt.Errorf("proto: wrong wireType = %d for field %s", wire, [...]string{"", "TypeMeta", "Raw", "ContentEncoding", "ContentType"}[num])
			}
			if err := r.skip(wire); err != nil {
				return e, err
			}
			continue
		}
		b, err := r.bytes()
		if err != nil {
			return e, err
		}
		switch num {
		case 1:
			if err := e.typeMeta(b); err != nil {
				return e, err
			}
		case 2:
			e.Raw = b
		case 3:
			e.ContentEncoding = string(b)
		case 4:
			e.ContentType = string(b)
		}
	}
	return e, nil
}

func (e *Envelope) typeMeta(data []byte) error {
	r := reader{data}
	for r.more() {
		num, wire, err := r.tag()
		if err != nil {
			return err
		}
		if (num != 1 && num != 2) || wire != wireBytes {
			if err := r.skip(wire); err != nil {
				return err
			}
			continue
		}
		b, err := r.bytes()
		if err != nil {
			return err
		}
		if num == 1 {
			e.APIVersion = string(b)
		} else {
			e.Kind = string(b)
		}
	}
	return nil
}
