package rpc

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/apiserver/internal/registry"
	pb "xebec.dev/proto/gen/control/v1"
)

// projection keeps some fields of a protobuf message and drops the rest,
// without decoding it. Nil keeps everything.
type projection struct{ root *kept }

// kept is what stays of one message: a nil child is the whole field.
type kept struct {
	fields map[protowire.Number]*kept
	// except turns fields into those that go, at this level.
	except bool
}

// Field numbers that all kinds share.
const (
	numberMetadata      protowire.Number = 1
	numberManagedFields protowire.Number = 17
)

// projection compiles what a subscriber asked for.
func (s *Server) projection(t *registry.Target, q *pb.Projection) (*projection, error) {
	if !q.GetMetadataOnly() && len(q.GetFields()) == 0 {
		return nil, nil
	}
	p := &projection{root: &kept{fields: map[protowire.Number]*kept{
		numberMetadata: {except: true, fields: map[protowire.Number]*kept{numberManagedFields: nil}},
	}}}
	typ := reflect.TypeOf(t.New()).Elem()
	for _, path := range q.GetFields() {
		if err := p.add(typ, path); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("projection: %s has no field %q: %v", t.Kind, path, err))
		}
	}
	return p, nil
}

func (p *projection) add(typ reflect.Type, path string) error {
	numbers, err := fieldNumbers(typ, strings.Split(path, "."))
	if err != nil {
		return err
	}
	if numbers[0] == numberMetadata {
		// Metadata is sent anyway; naming it or managedFields adds the latter.
		if len(numbers) == 1 || numbers[1] == numberManagedFields {
			p.root.fields[numberMetadata] = nil
		}
		return nil
	}
	at := p.root
	for i, n := range numbers {
		child, there := at.fields[n]
		switch {
		case i == len(numbers)-1:
			at.fields[n] = nil
		case there && child == nil:
			return nil // all of it stays already
		case !there:
			child = &kept{fields: map[protowire.Number]*kept{}}
			at.fields[n] = child
		}
		at = child
	}
	return nil
}

// fieldNumbers follows JSON names through struct tags. Inline structs take no
// name in JSON but a field in protobuf.
func fieldNumbers(typ reflect.Type, names []string) ([]protowire.Number, error) {
	var out []protowire.Number
	for _, name := range names {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct {
			return nil, fmt.Errorf("nothing below a %s", typ.Kind())
		}
		numbers, next, ok := findField(typ, name)
		if !ok {
			return nil, fmt.Errorf("no %q in %s", name, typ.Name())
		}
		out = append(out, numbers...)
		typ = next
	}
	return out, nil
}

func findField(typ reflect.Type, name string) ([]protowire.Number, reflect.Type, bool) {
	for f := range typ.Fields() {
		jsonName, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		n, hasNumber := number(f.Tag.Get("protobuf"))
		if jsonName == name && hasNumber {
			return []protowire.Number{n}, f.Type, true
		}
		inline := jsonName == "" && (f.Anonymous || strings.Contains(options, "inline"))
		if inline && hasNumber && f.Type.Kind() == reflect.Struct {
			if below, next, ok := findField(f.Type, name); ok {
				return append([]protowire.Number{n}, below...), next, true
			}
		}
	}
	return nil, nil, false
}

func number(tag string) (protowire.Number, bool) {
	parts := strings.Split(tag, ",")
	if len(parts) < 2 {
		return 0, false
	}
	n, err := strconv.Atoi(parts[1])
	return protowire.Number(n), err == nil
}

// apply projects a message. Bytes that can't be parsed are passed on whole:
// the reader will say what is wrong with them.
func (p *projection) apply(raw []byte) []byte {
	if p == nil {
		return raw
	}
	out, ok := p.root.project(make([]byte, 0, len(raw)/2), raw)
	if !ok {
		return raw
	}
	return out
}

func (k *kept) project(dst, raw []byte) ([]byte, bool) {
	for len(raw) > 0 {
		num, kind, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return dst, false
		}
		size := protowire.ConsumeFieldValue(num, kind, raw[n:])
		if size < 0 {
			return dst, false
		}
		child, named := k.fields[num]
		switch {
		case named == k.except:
			// dropped
		case child == nil || kind != protowire.BytesType:
			dst = append(dst, raw[:n+size]...)
		default:
			value, _ := protowire.ConsumeBytes(raw[n:])
			below, ok := child.project(nil, value)
			if !ok {
				return dst, false
			}
			dst = protowire.AppendTag(dst, num, kind)
			dst = protowire.AppendBytes(dst, below)
		}
		raw = raw[n+size:]
	}
	return dst, true
}
