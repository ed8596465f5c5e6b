package encode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/codec"
	"xebec.dev/apiserver/internal/storage"
)

// WriteList writes the answer that carries a list. It goes out in pieces, so
// that a large list takes no more memory than a small one. Errors that are
// statuses come before anything is written.
func (e *Encoder) WriteList(w io.Writer, f Format, l *storage.List) error {
	write := e.writeJSONList
	switch {
	case f.Shape == Table && f.Media != Protobuf:
		write = e.writeTable
	case !e.listFromBytes(f):
		return e.writeDecoded(w, f, l)
	case f.Media == Protobuf:
		return e.writeProtobufList(w, f, l)
	}
	if f.Media == JSON && !f.Pretty {
		return write(w, f, l)
	}
	var b bytes.Buffer
	if err := write(&b, f, l); err != nil {
		return err
	}
	out, err := appendJSON(nil, f, bytes.TrimSuffix(b.Bytes(), []byte{'\n'}))
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// listFromBytes reports whether a list is made without structs.
func (e *Encoder) listFromBytes(f Format) bool {
	if f.Shape == PartialList {
		f.Shape = Partial
	} else if f.Shape == Partial {
		return false
	}
	return e.fromBytes(f)
}

func (e *Encoder) writeDecoded(w io.Writer, f Format, l *storage.List) error {
	objs := make([]runtime.Object, 0, len(l.Objects))
	for _, o := range l.Objects {
		obj, err := e.Decode(o)
		if err != nil {
			return err
		}
		objs = append(objs, obj)
	}
	return e.WriteStructs(w, f, objs, listMeta(l))
}

// piece is about how much of a list is written at a time.
const piece = 64 << 10

// Most lists are short: buffers grow to a piece only for those that need it.
var pieces = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}

// chunks gathers small writes.
type chunks struct {
	w   io.Writer
	buf []byte
	err error
}

func (c *chunks) flush(at int) {
	if len(c.buf) >= at && c.err == nil {
		_, c.err = c.w.Write(c.buf)
		c.buf = c.buf[:0]
	}
}

// chunked runs f with a buffer from the pool and writes what f leaves in it.
func chunked(w io.Writer, f func(c *chunks)) error {
	p := pieces.Get().(*[]byte)
	c := chunks{w: w, buf: (*p)[:0]}
	f(&c)
	c.flush(1)
	if cap(c.buf) <= 4*piece {
		*p = c.buf
		pieces.Put(p)
	}
	return c.err
}

func (e *Encoder) writeJSONList(w io.Writer, f Format, l *storage.List) error {
	meta, err := json.Marshal(listMeta(l))
	if err != nil {
		return err
	}
	return chunked(w, func(c *chunks) {
		c.buf = e.appendListHead(c.buf, f, meta)
		for i, o := range l.Objects {
			if i > 0 {
				c.buf = append(c.buf, ',')
			}
			if c.buf, err = e.appendListItem(c.buf, f, o); err != nil {
				c.err = err
				return
			}
			if c.flush(piece); c.err != nil {
				return
			}
		}
		c.buf = e.appendListTail(c.buf, f, meta, len(l.Objects))
	})
}

// appendListHead begins a JSON list. Custom resources' lists are written in
// the order of their names, as Kubernetes does.
func (e *Encoder) appendListHead(dst []byte, f Format, meta []byte) []byte {
	dst = append(dst, '{')
	if e.custom {
		dst = append(dst, `"apiVersion":`...)
		dst = codec.AppendQuoted(dst, []byte(e.apiVersion))
		return append(dst, `,"items":[`...)
	}
	kind, apiVersion := e.listKind, e.apiVersion
	if f.Shape == PartialList {
		kind, apiVersion = partialsKind, f.metaVersion()
	}
	dst = appendHead(dst, kind, apiVersion)
	dst = append(dst, `,"metadata":`...)
	dst = append(dst, meta...)
	return append(dst, `,"items":[`...)
}

func (e *Encoder) appendListTail(dst []byte, f Format, meta []byte, items int) []byte {
	if e.custom {
		dst = append(dst, `],"kind":`...)
		dst = codec.AppendQuoted(dst, []byte(e.listKind))
		dst = append(dst, `,"metadata":`...)
		dst = append(dst, meta...)
		return append(dst, "}\n"...)
	}
	if items == 0 && f.Shape == PartialList {
		return append(dst[:len(dst)-1], "null}\n"...)
	}
	return append(dst, "]}\n"...)
}

func (e *Encoder) appendListItem(dst []byte, f Format, o *storage.Object) ([]byte, error) {
	switch {
	case f.Shape == PartialList:
		return e.appendPartial(dst, f, o, o.Revision)
	case e.custom:
		return e.appendCustom(dst, o, o.Revision)
	}
	return e.appendItem(dst, "", o, o.Revision)
}

// Every list message has its metadata in field 1 and its items in field 2.
const (
	listMetaField  = 1
	listItemsField = 2
)

func (e *Encoder) writeProtobufList(w io.Writer, f Format, l *storage.List) error {
	m := listMeta(l)
	meta, err := m.Marshal()
	if err != nil {
		return err
	}
	kind, apiVersion := e.listKind, e.apiVersion
	if f.Shape == PartialList {
		kind, apiVersion = partialsKind, f.metaVersion()
	}
	size := bytesFieldSize(len(meta))
	for _, o := range l.Objects {
		raw, err := e.listItem(f, o)
		if err != nil {
			return err
		}
		size += bytesFieldSize(len(raw) + revisionSize(o.Revision))
	}
	return chunked(w, func(c *chunks) {
		c.buf = codec.AppendEnvelopeHeader(c.buf, apiVersion, kind, size)
		c.buf = append(appendBytesField(c.buf, listMetaField, len(meta)), meta...)
		for _, o := range l.Objects {
			raw, _ := e.listItem(f, o) // has been looked at above
			c.buf = appendBytesField(c.buf, listItemsField, len(raw)+revisionSize(o.Revision))
			c.buf = appendRevision(append(c.buf, raw...), o.Revision)
			if c.flush(piece); c.err != nil {
				return
			}
		}
		c.buf = codec.AppendEnvelopeTail(c.buf)
	})
}

func (e *Encoder) listItem(f Format, o *storage.Object) ([]byte, error) {
	if f.Shape == PartialList {
		return e.metadataField(o)
	}
	return o.Raw, nil
}

// WriteStructs is WriteList for structs of the storage type, as a
// deletecollection answers.
func (e *Encoder) WriteStructs(w io.Writer, f Format, objs []runtime.Object, meta metav1.ListMeta) error {
	var list any
	switch f.Shape {
	case Table:
		t, err := e.table(f, objs, meta)
		if err != nil {
			return err
		}
		list = t
	case Partial:
		return NotAcceptable(fmt.Sprintf("you requested PartialObjectMetadata, but the requested object is a list (%s)", e.goType(e.res.Lists())))
	case PartialList:
		l := &metav1.PartialObjectMetadataList{ListMeta: meta}
		l.SetGroupVersionKind(f.metaKind("PartialObjectMetadataList"))
		for _, o := range objs {
			p, err := partial(f, o)
			if err != nil {
				return err
			}
			l.Items = append(l.Items, *p)
		}
		list = l
	default:
		l, err := e.list(objs, meta)
		if err != nil {
			return err
		}
		list = l
	}
	obj, ok := list.(runtime.Object)
	var b []byte
	var err error
	if ok {
		b, err = appendAny(nil, f, obj)
	} else if b, err = json.Marshal(list); err == nil {
		b, err = appendJSON(nil, f, b)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

func listMeta(l *storage.List) metav1.ListMeta {
	return metav1.ListMeta{
		ResourceVersion:    strconv.FormatInt(l.Revision, 10),
		Continue:           l.Continue,
		RemainingItemCount: l.Remaining,
	}
}

// list makes the list struct of the served version. Items of built-in lists
// carry no kind; those of custom resources do.
func (e *Encoder) list(objs []runtime.Object, meta metav1.ListMeta) (any, error) {
	if e.custom {
		items := make([]runtime.Object, 0, len(objs))
		for _, o := range objs {
			c, err := e.convert(o)
			if err != nil {
				return nil, err
			}
			items = append(items, c)
		}
		return struct {
			APIVersion string           `json:"apiVersion"`
			Items      []runtime.Object `json:"items"`
			Kind       string           `json:"kind"`
			Metadata   metav1.ListMeta  `json:"metadata"`
		}{e.apiVersion, items, e.listKind, meta}, nil
	}
	newList := e.res.At.NewList
	if newList == nil {
		newList = e.res.NewList
	}
	list := newList()
	items := reflect.ValueOf(list).Elem().FieldByName("Items")
	items.Set(reflect.MakeSlice(items.Type(), 0, len(objs)))
	for _, o := range objs {
		c, err := e.convert(o)
		if err != nil {
			return nil, err
		}
		v := reflect.ValueOf(c).Elem()
		v.FieldByName("TypeMeta").SetZero()
		items.Set(reflect.Append(items, v))
	}
	reflect.ValueOf(list).Elem().FieldByName("ListMeta").Set(reflect.ValueOf(meta))
	list.GetObjectKind().SetGroupVersionKind(parseKind(e.apiVersion, e.listKind))
	return list, nil
}
