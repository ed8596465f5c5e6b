package encode

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"xebec.dev/api/codec"
	"xebec.dev/apiserver/internal/storage"
)

// Kinds of meta.k8s.io.
const (
	metaV1       = "meta.k8s.io/v1"
	metaV1beta1  = "meta.k8s.io/v1beta1"
	partialKind  = "PartialObjectMetadata"
	partialsKind = "PartialObjectMetadataList"
)

// metaVersion is the format's version of meta.k8s.io.
func (f Format) metaVersion() string {
	if f.Beta {
		return metaV1beta1
	}
	return metaV1
}

// appendProtobuf appends an object in its envelope. The resourceVersion is a
// second metadata field, which merges into the first when it is read.
func (e *Encoder) appendProtobuf(dst []byte, f Format, o *storage.Object, revision int64) ([]byte, error) {
	raw, apiVersion, kind := o.Raw, e.apiVersion, e.kind
	if f.Shape == Partial {
		var err error
		if raw, err = e.metadataField(o); err != nil {
			return dst, err
		}
		apiVersion, kind = f.metaVersion(), partialKind
	}
	dst = codec.AppendEnvelopeHeader(dst, apiVersion, kind, len(raw)+revisionSize(revision))
	dst = append(dst, raw...)
	dst = appendRevision(dst, revision)
	return codec.AppendEnvelopeTail(dst), nil
}

// envelopeSize is the length of what appendProtobuf appends.
func (e *Encoder) envelopeSize(o *storage.Object, revision int64) int {
	return codec.EnvelopeSize(e.apiVersion, e.kind, len(o.Raw)+revisionSize(revision))
}

// metadataField is the metadata of an object with its tag and length, which
// is all of a PartialObjectMetadata message.
func (e *Encoder) metadataField(o *storage.Object) ([]byte, error) {
	field, _, err := codec.Field(o.Raw, 1)
	if err != nil {
		return nil, fmt.Errorf("metadata of stored %s %s/%s: %w", e.kind, o.Namespace, o.Name, err)
	}
	return field, nil
}

// appendRevision appends a metadata field that has only a resourceVersion, the
// sixth field of ObjectMeta.
func appendRevision(dst []byte, revision int64) []byte {
	n := digits(revision)
	dst = append(dst, 1<<3|2, byte(n+2), 6<<3|2, byte(n))
	return strconv.AppendInt(dst, revision, 10)
}

func revisionSize(revision int64) int { return 4 + digits(revision) }

func digits(n int64) int {
	count := 1
	if n < 0 {
		count, n = 2, -n
	}
	for ; n >= 10; n /= 10 {
		count++
	}
	return count
}

// appendJSON appends an object as compact JSON without a newline.
func (e *Encoder) appendJSON(dst []byte, f Format, o *storage.Object, revision int64) ([]byte, error) {
	if f.Shape == Partial {
		return e.appendPartial(dst, f, o, revision)
	}
	if e.custom {
		return e.appendCustom(dst, o, revision)
	}
	return e.appendItem(dst, e.head, o, revision)
}

// appendItem appends an object that begins with head; items of lists have none.
func (e *Encoder) appendItem(dst []byte, head string, o *storage.Object, revision int64) ([]byte, error) {
	dst, err := e.object.Append(dst, o.Raw, head, revision)
	if err != nil {
		return dst, fmt.Errorf("decode stored %s %s/%s: %w", e.kind, o.Namespace, o.Name, err)
	}
	return dst, nil
}

func (e *Encoder) appendPartial(dst []byte, f Format, o *storage.Object, revision int64) ([]byte, error) {
	_, meta, err := codec.Field(o.Raw, 1)
	if err != nil {
		return dst, fmt.Errorf("metadata of stored %s %s/%s: %w", e.kind, o.Namespace, o.Name, err)
	}
	dst = append(dst, `{"kind":"PartialObjectMetadata","apiVersion":"`...)
	dst = append(dst, f.metaVersion()...)
	dst = append(dst, `","metadata":`...)
	if dst, err = e.meta.Append(dst, meta, "", revision); err != nil {
		return dst, fmt.Errorf("metadata of stored %s %s/%s: %w", e.kind, o.Namespace, o.Name, err)
	}
	return append(dst, '}'), nil
}

// appendBytesField appends a protobuf field's tag and length, for bytes to
// follow.
func appendBytesField(dst []byte, num byte, size int) []byte {
	return binary.AppendUvarint(append(dst, num<<3|2), uint64(size))
}

func bytesFieldSize(size int) int { return 1 + uvarintSize(size) + size }

func uvarintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
