package encode

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/apiserver/internal/storage"
)

// WriteList writes the answer that carries a list. Errors that are statuses
// come before anything is written.
func (e *Encoder) WriteList(w io.Writer, f Format, l *storage.List) error {
	meta := listMeta(l)
	objs := make([]runtime.Object, 0, len(l.Objects))
	for _, o := range l.Objects {
		obj, err := e.Decode(o)
		if err != nil {
			return err
		}
		objs = append(objs, obj)
	}
	return e.WriteStructs(w, f, objs, meta)
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
