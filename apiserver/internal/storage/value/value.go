// Package value is the form of objects in etcd: the same as Kubernetes', byte
// for byte, so that either can serve what the other wrote.
//
// Built-in objects are "k8s\x00" and a runtime.Unknown message that holds the
// object's protobuf; custom resources are JSON and a newline, and so are
// CustomResourceDefinitions and APIServices. Any of them may be encrypted,
// under a prefix "k8s:enc:".
package value

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/json"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage/index"
)

// Transformer encrypts values at rest. The key's full path is authenticated
// with the value, so that values cannot be swapped between keys.
type Transformer interface {
	ToStorage(data []byte, path string) ([]byte, error)
	// FromStorage undoes ToStorage. Stale means that the value should be
	// written again: another key or method is in use now.
	FromStorage(data []byte, path string) (out []byte, stale bool, err error)
}

// Codec is the form of one resource's values. It is immutable.
type Codec struct {
	r *scheme.Resource
	// json objects are JSON here and in etcd; text ones in etcd only.
	json, text  bool
	typeMeta    []byte // field 1 of runtime.Unknown, with its tag
	transformer Transformer
}

var magic = []byte("k8s\x00")

// trailer is the empty contentEncoding and contentType.
var trailer = []byte{0x1a, 0, 0x22, 0}

// NewCodec makes the codec of a resource; t may be nil.
func NewCodec(r *scheme.Resource, t Transformer) *Codec {
	var meta []byte
	meta = protowire.AppendTag(meta, 1, protowire.BytesType)
	meta = protowire.AppendString(meta, groupVersion(r.Group, r.Version))
	meta = protowire.AppendTag(meta, 2, protowire.BytesType)
	meta = protowire.AppendString(meta, r.Kind)
	head := protowire.AppendTag(nil, 1, protowire.BytesType)
	c := &Codec{r: r, json: index.IsJSON(r), typeMeta: protowire.AppendBytes(head, meta), transformer: t}
	c.text = !c.json && (r.Group == "apiextensions.k8s.io" || r.Group == "apiregistration.k8s.io")
	return c
}

func groupVersion(group, version string) string {
	return schema.GroupVersion{Group: group, Version: version}.String()
}

// Seal makes the stored value of an object's bytes.
func (c *Codec) Seal(raw []byte, path string) ([]byte, error) { return c.SealInto(nil, raw, path) }

// SealInto is Seal into the memory of dst, if it is enough. The value is raw
// itself where nothing has to be added.
func (c *Codec) SealInto(dst, raw []byte, path string) ([]byte, error) {
	v, err := c.plain(dst, raw)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", path, err)
	}
	if c.transformer == nil {
		return v, nil
	}
	v, err = c.transformer.ToStorage(v, path)
	if err != nil {
		return nil, fmt.Errorf("encrypt %s: %w", path, err)
	}
	return v, nil
}

func (c *Codec) plain(dst, raw []byte) ([]byte, error) {
	if c.text {
		o := c.r.New().(scheme.Object)
		if err := o.Unmarshal(raw); err != nil {
			return nil, err
		}
		o.GetObjectKind().SetGroupVersionKind(c.r.GroupVersionKind())
		v, err := stdjson.Marshal(o)
		return append(v, '\n'), err
	}
	if c.json {
		if n := len(raw); n > 0 && raw[n-1] == '\n' {
			return raw, nil
		}
		v := make([]byte, len(raw)+1)
		copy(v, raw)
		v[len(raw)] = '\n'
		return v, nil
	}
	n := len(magic) + len(c.typeMeta) + 1 + protowire.SizeBytes(len(raw)) + len(trailer)
	v := slices.Grow(dst[:0], n)
	v = append(v, magic...)
	v = append(v, c.typeMeta...)
	v = protowire.AppendTag(v, 2, protowire.BytesType)
	v = protowire.AppendBytes(v, raw)
	return append(v, trailer...), nil
}

// Open takes the object's bytes out of a stored value; they alias it where
// they can.
func (c *Codec) Open(v []byte, path string) (raw []byte, stale bool, err error) {
	if c.transformer != nil {
		if v, stale, err = c.transformer.FromStorage(v, path); err != nil {
			return nil, false, fmt.Errorf("decrypt %s: %w", path, err)
		}
	} else if bytes.HasPrefix(v, []byte("k8s:enc:")) {
		return nil, false, fmt.Errorf("%s is encrypted and no key is configured", path)
	}
	var converted bool
	if bytes.HasPrefix(v, magic) {
		raw, converted, err = c.envelope(v[len(magic):])
	} else {
		raw, converted, err = c.fromText(v)
	}
	if err != nil {
		return nil, false, fmt.Errorf("decode %s: %w", path, err)
	}
	return raw, stale || converted, nil
}

// envelope opens a runtime.Unknown. It tells whether the object is in another
// form than this codec writes.
func (c *Codec) envelope(v []byte) (raw []byte, converted bool, err error) {
	if c.json {
		return nil, false, fmt.Errorf("a custom resource is stored as protobuf")
	}
	own := bytes.HasPrefix(v, c.typeMeta)
	var meta []byte
	for len(v) > 0 {
		number, typ, n := protowire.ConsumeTag(v)
		if n < 0 {
			return nil, false, protowire.ParseError(n)
		}
		if typ != protowire.BytesType {
			return nil, false, fmt.Errorf("unexpected wire type in the envelope")
		}
		b, l := protowire.ConsumeBytes(v[n:])
		if l < 0 {
			return nil, false, protowire.ParseError(l)
		}
		switch number {
		case 1:
			meta = b
		case 2:
			raw = b
		case 3, 4:
			if len(b) > 0 {
				return nil, false, fmt.Errorf("the content has an encoding of its own, %q", b)
			}
		}
		v = v[n+l:]
	}
	if own {
		return raw[:len(raw):len(raw)], c.text, nil
	}
	gvk, err := typeMeta(meta)
	if err != nil {
		return nil, false, err
	}
	stored := raw
	raw, err = c.convert(gvk, func(into any) error {
		m, ok := into.(interface{ Unmarshal([]byte) error })
		if !ok {
			return fmt.Errorf("%s has no protobuf form", gvk)
		}
		return m.Unmarshal(stored)
	})
	return raw, true, err
}

func typeMeta(b []byte) (schema.GroupVersionKind, error) {
	var s [2]string
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 || typ != protowire.BytesType {
			return schema.GroupVersionKind{}, fmt.Errorf("the envelope's type is malformed")
		}
		v, l := protowire.ConsumeBytes(b[n:])
		if l < 0 {
			return schema.GroupVersionKind{}, fmt.Errorf("the envelope's type is malformed")
		}
		if number == 1 || number == 2 {
			s[number-1] = string(v)
		}
		b = b[n+l:]
	}
	return schema.FromAPIVersionAndKind(s[0], s[1]), nil
}

// fromText opens a JSON value. Kubernetes stores built-in objects as JSON too
// when it is told to (--storage-media-type).
func (c *Codec) fromText(v []byte) (raw []byte, converted bool, err error) {
	v = bytes.TrimSuffix(v, []byte("\n"))
	if len(v) == 0 || v[0] != '{' {
		return nil, false, fmt.Errorf("neither protobuf nor JSON")
	}
	if c.json {
		return v[:len(v):len(v)], false, nil
	}
	var meta struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.UnmarshalCaseSensitivePreserveInts(v, &meta); err != nil {
		return nil, false, err
	}
	gvk := schema.FromAPIVersionAndKind(meta.APIVersion, meta.Kind)
	raw, err = c.convert(gvk, func(into any) error {
		return json.UnmarshalCaseSensitivePreserveInts(v, into)
	})
	return raw, !c.text || gvk != c.r.GroupVersionKind(), err
}

// convert decodes an object of any known version and encodes it in the
// storage version: it was stored before that version was chosen.
func (c *Codec) convert(gvk schema.GroupVersionKind, decode func(into any) error) ([]byte, error) {
	if gvk == c.r.GroupVersionKind() {
		o := c.r.New().(scheme.Object)
		if err := decode(o); err != nil {
			return nil, err
		}
		return marshal(o)
	}
	for _, v := range slices.Concat(c.r.Served, c.r.Stored) {
		kind := v.Kind
		if kind == "" {
			kind = c.r.Kind
		}
		if gvk.Group != v.Group || gvk.Version != v.Version || gvk.Kind != kind || v.Decode == nil {
			continue
		}
		in := v.New()
		if err := decode(in); err != nil {
			return nil, err
		}
		o, err := v.Decode(in)
		if err != nil {
			return nil, err
		}
		return marshal(o)
	}
	return nil, fmt.Errorf("stored as %s, which is not a version of %s", gvk, c.r.GroupResource())
}

func marshal(o scheme.Object) ([]byte, error) {
	o.SetResourceVersion("")
	return o.Marshal()
}
