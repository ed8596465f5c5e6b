// Package encode turns stored bytes into answers. What a client reads most,
// whole objects in protobuf or JSON, is made from the bytes alone: protobuf by
// copying, JSON by transcoding. Structs are built for tables and for versions
// other than the stored one.
package encode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/codec"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// Encoder encodes the objects of one resource at one version. It is immutable
// and safe for concurrent use; make one per served version and keep it.
type Encoder struct {
	res        scheme.Served
	apiVersion string
	kind       string
	listKind   string
	// version is the index among the served versions, for Memo keys.
	version int
	// custom objects are stored as JSON.
	custom bool
	// direct objects are stored in the version that is served, so that answers
	// are made of the stored bytes.
	direct bool
	// head begins the JSON object: `"kind":"Pod","apiVersion":"v1"`.
	head string
	// object and meta make JSON of whole objects and of their metadata. They
	// are nil unless direct and not custom.
	object, meta *codec.Transcoder
}

// New makes the Encoder of a resource at a version.
func New(res scheme.Served) *Encoder {
	e := &Encoder{res: res}
	gv := schema.GroupVersion{Group: res.At.Group, Version: res.At.Version}
	e.apiVersion, e.kind, e.listKind = gv.String(), res.At.Kind, res.Lists()
	if e.kind == "" {
		e.kind = res.Kind
	}
	if res.At.Kind != "" && res.At.Kind != res.Kind {
		e.listKind = res.At.Kind + "List"
	}
	e.version = slices.IndexFunc(res.ServedVersions(), func(v scheme.Version) bool {
		return v.Group == res.At.Group && v.Version == res.At.Version
	})
	m, isMessage := res.New().(scheme.Message)
	e.custom = !isMessage
	e.head = string(appendHead(nil, e.kind, e.apiVersion))
	e.direct = res.At.Encode == nil
	if e.direct && isMessage && hasMetadata(m) {
		e.object = codec.NewTranscoder(m)
		e.meta = codec.NewTranscoder(&metav1.ObjectMeta{})
	}
	return e
}

// hasMetadata reports whether the type's protobuf form has ObjectMeta as its
// first field, as all objects do.
func hasMetadata(m scheme.Message) bool {
	f, ok := reflect.TypeOf(m).Elem().FieldByName("ObjectMeta")
	return ok && f.Type == reflect.TypeFor[metav1.ObjectMeta]() && strings.HasPrefix(f.Tag.Get("protobuf"), "bytes,1,")
}

func appendHead(dst []byte, kind, apiVersion string) []byte {
	dst = append(dst, `"kind":`...)
	dst = codec.AppendQuoted(dst, []byte(kind))
	dst = append(dst, `,"apiVersion":`...)
	return codec.AppendQuoted(dst, []byte(apiVersion))
}

// Custom reports whether the objects are custom resources, stored as JSON and
// without a protobuf form.
func (e *Encoder) Custom() bool { return e.custom }

// Decode makes the stored object's struct, with its resourceVersion.
func (e *Encoder) Decode(o *storage.Object) (runtime.Object, error) {
	obj := e.res.New()
	if m, ok := obj.(scheme.Message); ok {
		if err := m.Unmarshal(o.Raw); err != nil {
			return nil, fmt.Errorf("decode stored %s %s/%s: %w", e.kind, o.Namespace, o.Name, err)
		}
	} else if err := json.Unmarshal(o.Raw, obj); err != nil {
		return nil, fmt.Errorf("decode stored %s %s/%s: %w", e.kind, o.Namespace, o.Name, err)
	}
	codec.RestoreKinds(obj)
	setRevision(obj, o.Revision)
	return obj, nil
}

func setRevision(obj runtime.Object, revision int64) {
	if m, ok := obj.(metav1.Object); ok && revision != 0 {
		m.SetResourceVersion(strconv.FormatInt(revision, 10))
	}
}

// AppendObject appends the answer that carries one object.
func (e *Encoder) AppendObject(dst []byte, f Format, o *storage.Object) ([]byte, error) {
	return e.appendAt(dst, f, o, o.Revision)
}

// appendAt is AppendObject at a revision other than the object's.
func (e *Encoder) appendAt(dst []byte, f Format, o *storage.Object, revision int64) ([]byte, error) {
	switch {
	case f.Shape == Table && f.Media != Protobuf:
		b, err := e.appendTable(nil, f, o, revision)
		if err != nil {
			return dst, err
		}
		return appendJSON(dst, f, b)
	case !e.fromBytes(f):
		obj, err := e.Decode(o)
		if err != nil {
			return dst, err
		}
		setRevision(obj, revision)
		return e.AppendStruct(dst, f, obj)
	case f.Media == Protobuf:
		return e.appendProtobuf(dst, f, o, revision)
	case f.Media == JSON && !f.Pretty:
		dst, err := e.appendJSON(dst, f, o, revision)
		return append(dst, '\n'), err
	}
	b, err := e.appendJSON(nil, f, o, revision)
	if err != nil {
		return dst, err
	}
	return appendJSON(dst, f, b)
}

// fromBytes reports whether an object's answer is made without its struct.
func (e *Encoder) fromBytes(f Format) bool {
	if f.Shape != Whole && f.Shape != Partial {
		return false
	}
	if e.custom {
		return e.direct && f.Media != Protobuf && f.Shape == Whole
	}
	return e.object != nil
}

// AppendStruct appends the answer that carries an object of the storage type.
// The struct is shown as it is, resourceVersion included; its kind is not
// looked at. It is not changed.
func (e *Encoder) AppendStruct(dst []byte, f Format, obj runtime.Object) ([]byte, error) {
	switch f.Shape {
	case Table:
		t, err := e.table(f, []runtime.Object{obj}, metav1.ListMeta{})
		if err != nil {
			return dst, err
		}
		if m, ok := obj.(metav1.Object); ok {
			t.ResourceVersion = m.GetResourceVersion()
		}
		return appendAny(dst, f, t)
	case Partial:
		p, err := partial(f, obj)
		if err != nil {
			return dst, err
		}
		return appendAny(dst, f, p)
	case PartialList:
		return dst, NotAcceptable(fmt.Sprintf("you requested PartialObjectMetadataList, but the requested object is not a list (%s)", e.goType(e.res.Kind)))
	}
	out, err := e.convert(obj)
	if err != nil {
		return dst, err
	}
	return appendAny(dst, f, out)
}

// convert gives an object of the served version with its kind set, sharing
// with obj what it can.
func (e *Encoder) convert(obj runtime.Object) (runtime.Object, error) {
	out := obj
	if e.res.At.Encode != nil {
		in, ok := obj.(scheme.Object)
		if !ok {
			return nil, fmt.Errorf("encode %s: %T is not an object", e.kind, obj)
		}
		var err error
		if out, err = e.res.At.Encode(in); err != nil {
			return nil, err
		}
	} else {
		out = shallow(obj)
	}
	out.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(e.apiVersion, e.kind))
	return out, nil
}

// shallow copies an object so that its kind can be set without the original's
// being.
func shallow(obj runtime.Object) runtime.Object {
	v := reflect.ValueOf(obj)
	if _, custom := obj.(runtime.Unstructured); custom || v.Kind() != reflect.Pointer {
		return obj.DeepCopyObject()
	}
	c := reflect.New(v.Type().Elem())
	c.Elem().Set(v.Elem())
	return c.Interface().(runtime.Object)
}

// goType is how Kubernetes prints the Go type of one of its internal kinds.
func (e *Encoder) goType(kind string) string {
	return "*" + codec.InternalPackage(e.res.Group) + "." + kind
}

// appendAny serializes a struct whose kind is set.
func appendAny(dst []byte, f Format, obj runtime.Object) ([]byte, error) {
	if f.Media == Protobuf {
		return appendProtobuf(dst, obj)
	}
	b, err := json.Marshal(obj)
	if err != nil {
		return dst, err
	}
	return appendJSON(dst, f, b)
}

// appendJSON finishes JSON as the format asks: indented, as YAML, or with the
// newline that ends plain JSON answers.
func appendJSON(dst []byte, f Format, b []byte) ([]byte, error) {
	switch {
	case f.Media == YAML:
		y, err := codec.YAMLFromJSON(b)
		return append(dst, y...), err
	case f.Pretty:
		buf := bytes.NewBuffer(dst)
		err := json.Indent(buf, b, "", "  ")
		return buf.Bytes(), err
	}
	return append(append(dst, b...), '\n'), nil
}

func appendProtobuf(dst []byte, obj runtime.Object) ([]byte, error) {
	gvk := obj.GetObjectKind().GroupVersionKind()
	m, ok := obj.(scheme.Message)
	if !ok {
		return dst, NotAcceptable(fmt.Sprintf("object %T does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message", obj))
	}
	apiVersion, kind := gvk.ToAPIVersionAndKind()
	n := m.Size()
	dst = codec.AppendEnvelopeHeader(dst, apiVersion, kind, n)
	start := len(dst)
	dst = append(dst, make([]byte, n)...)
	if _, err := m.MarshalToSizedBuffer(dst[start:]); err != nil {
		return dst, err
	}
	return codec.AppendEnvelopeTail(dst), nil
}
