package encode

import (
	"encoding/json"
	"io"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/codec"
	"xebec.dev/apiserver/internal/storage"
)

// This file writes tables of stored objects. Cells are made from structs; what
// a row shows of the object itself is made from the bytes.

// columns and row are the resource's, or the default ones.
func (e *Encoder) columns() []metav1.TableColumnDefinition {
	if e.res.Columns == nil || e.res.Row == nil {
		return defaultColumns
	}
	return e.res.Columns
}

func (e *Encoder) row(obj runtime.Object, now metav1.Time) []any {
	if e.res.Columns == nil || e.res.Row == nil {
		return defaultRow(obj, now)
	}
	return e.res.Row(obj, now)
}

// writeTable writes the table of a list.
func (e *Encoder) writeTable(w io.Writer, f Format, l *storage.List) error {
	meta, err := json.Marshal(listMeta(l))
	if err != nil {
		return err
	}
	return chunked(w, func(c *chunks) {
		if c.buf, c.err = e.appendTableHead(c.buf, f, meta); c.err != nil {
			return
		}
		now := metav1.Now()
		for i, o := range l.Objects {
			if i > 0 {
				c.buf = append(c.buf, ',')
			}
			if c.buf, err = e.appendRow(c.buf, f, o, o.Revision, now); err != nil {
				c.err = err
				return
			}
			if c.flush(piece); c.err != nil {
				return
			}
		}
		c.buf = append(c.buf, "]}\n"...)
	})
}

// appendTable appends the table of one object as compact JSON.
func (e *Encoder) appendTable(dst []byte, f Format, o *storage.Object, revision int64) ([]byte, error) {
	meta := append(strconv.AppendInt([]byte(`{"resourceVersion":"`), revision, 10), `"}`...)
	dst, err := e.appendTableHead(dst, f, meta)
	if err != nil {
		return dst, err
	}
	if dst, err = e.appendRow(dst, f, o, revision, metav1.Now()); err != nil {
		return dst, err
	}
	return append(dst, "]}"...), nil
}

func (e *Encoder) appendTableHead(dst []byte, f Format, meta []byte) ([]byte, error) {
	dst = append(dst, `{"kind":"Table","apiVersion":"`...)
	dst = append(dst, f.metaVersion()...)
	dst = append(dst, `","metadata":`...)
	dst = append(dst, meta...)
	dst = append(dst, `,"columnDefinitions":`...)
	columns := []byte("null")
	if !f.NoColumns {
		var err error
		if columns, err = json.Marshal(e.columns()); err != nil {
			return dst, err
		}
	}
	dst = append(dst, columns...)
	return append(dst, `,"rows":[`...), nil
}

func (e *Encoder) appendRow(dst []byte, f Format, o *storage.Object, revision int64, now metav1.Time) ([]byte, error) {
	obj, err := e.Decode(o)
	if err != nil {
		return dst, err
	}
	setRevision(obj, revision)
	dst = append(dst, `{"cells":`...)
	if dst, err = appendCells(dst, e.row(obj, now)); err != nil {
		return dst, err
	}
	if e.res.RowConditions != nil {
		if conditions := e.res.RowConditions(obj); len(conditions) > 0 {
			b, err := json.Marshal(conditions)
			if err != nil {
				return dst, err
			}
			dst = append(append(dst, `,"conditions":`...), b...)
		}
	}
	dst = append(dst, `,"object":`...)
	if dst, err = e.appendRowObject(dst, f, o, obj, revision); err != nil {
		return dst, err
	}
	return append(dst, '}'), nil
}

func (e *Encoder) appendRowObject(dst []byte, f Format, o *storage.Object, obj runtime.Object, revision int64) ([]byte, error) {
	show := Format{Beta: f.Beta, Shape: Partial}
	switch f.Include {
	case IncludeNone:
		return append(dst, "null"...), nil
	case IncludeObject:
		show.Shape = Whole
	}
	if e.fromBytes(show) {
		return e.appendJSON(dst, show, o, revision)
	}
	var shown runtime.Object
	var err error
	if show.Shape == Whole {
		shown, err = e.convert(obj)
	} else {
		shown, err = partial(f, obj)
	}
	if err != nil {
		return dst, err
	}
	b, err := json.Marshal(shown)
	return append(dst, b...), err
}

func appendCells(dst []byte, cells []any) ([]byte, error) {
	dst = append(dst, '[')
	for i, c := range cells {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch v := c.(type) {
		case string:
			dst = codec.AppendQuoted(dst, []byte(v))
		case int64:
			dst = strconv.AppendInt(dst, v, 10)
		case int:
			dst = strconv.AppendInt(dst, int64(v), 10)
		default:
			b, err := json.Marshal(c)
			if err != nil {
				return dst, err
			}
			dst = append(dst, b...)
		}
	}
	return append(dst, ']'), nil
}
