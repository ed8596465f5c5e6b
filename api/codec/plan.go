package codec

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// kind is how a protobuf value becomes a JSON value.
type kind uint8

const (
	kindString kind = iota
	kindBytes
	kindBool
	kindInt64
	kindInt32
	kindUint64
	kindUint32
	kindFloat64
	kindFloat32
	kindMessage
	kindTime
	kindMicroTime
	kindDuration
	kindQuantity
	kindIntOrString
	kindFields
	kindRaw
	// kindStrings is a message of repeated strings that JSON shows as a list.
	kindStrings
	// kindOther is a message with a JSON form of its own: it is decoded.
	kindOther
)

var specialKinds = map[reflect.Type]kind{
	reflect.TypeFor[metav1.Time]():          kindTime,
	reflect.TypeFor[metav1.MicroTime]():     kindMicroTime,
	reflect.TypeFor[metav1.Duration]():      kindDuration,
	reflect.TypeFor[resource.Quantity]():    kindQuantity,
	reflect.TypeFor[intstr.IntOrString]():   kindIntOrString,
	reflect.TypeFor[metav1.FieldsV1]():      kindFields,
	reflect.TypeFor[runtime.RawExtension](): kindRaw,
}

// value says how one value, not repeated, is transcoded.
type value struct {
	kind kind
	// message of kindMessage.
	message *message
	// typ of kindOther.
	typ reflect.Type
	// zero is the JSON of the Go zero value.
	zero []byte
}

// fieldPlan says how one protobuf field is transcoded.
type fieldPlan struct {
	value
	num int
	// wire is the wire type of the field's entries, and of its values.
	wire, valueWire uint8
	// name is `,"name":`.
	name []byte
	// missing is what to write when the field is absent: `,"name":null`. Empty
	// when nothing is.
	missing []byte
	// inline messages put their fields into the parent object.
	inline   bool
	pointer  bool
	repeated bool
	isMap    bool
	// omitEmpty leaves out zero scalars, omitZero also zero structs (of Time only).
	omitEmpty bool
	omitZero  bool
	// objectMeta is the metadata of an API object, where the resourceVersion
	// goes; revision is that field of it.
	objectMeta, revision bool
}

// message is the plan of a Go struct: how its protobuf form becomes JSON.
type message struct {
	typ reflect.Type
	// fields in order of their numbers.
	fields []fieldPlan
	// ops by field number.
	ops []op
	// shown are the fields that JSON has even when they are absent.
	shown []*fieldPlan
	// firstShown is the number of the first of them, else beyond all.
	firstShown int
	// always is written first: fields without a protobuf form that JSON shows,
	// each after a comma.
	always []byte
}

// compiler makes plans; it holds those under way, since types may recurse.
type compiler struct{ messages map[reflect.Type]*message }

// plans are shared: many kinds have the same messages within.
var plans = struct {
	sync.Mutex
	compiler
}{compiler: compiler{map[reflect.Type]*message{}}}

func planOf(t reflect.Type) (*message, error) {
	plans.Lock()
	defer plans.Unlock()
	m, err := plans.message(t)
	if err != nil {
		plans.messages = map[reflect.Type]*message{} // some may be incomplete
		return nil, err
	}
	return m, nil
}

var messager = reflect.TypeFor[interface{ Unmarshal([]byte) error }]()
var jsonMarshaler = reflect.TypeFor[json.Marshaler]()

func (c *compiler) message(t reflect.Type) (*message, error) {
	if m, ok := c.messages[t]; ok {
		return m, nil
	}
	m := &message{typ: t}
	c.messages[t] = m
	names := map[string]bool{}
	for i := range t.NumField() {
		if err := c.field(m, t.Field(i), names); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t, t.Field(i).Name, err)
		}
	}
	slices.SortFunc(m.fields, func(a, b fieldPlan) int { return a.num - b.num })
	return m, m.compile()
}

// compile makes what the fields are looked up by, once they are all known.
func (m *message) compile() error {
	if n := len(m.fields); n > 0 {
		if most := m.fields[n-1].num; most >= 1024 {
			return fmt.Errorf("%s: field number %d", m.typ, most)
		}
		m.ops = make([]op, m.fields[n-1].num+1)
	}
	for i := range m.fields {
		f := &m.fields[i]
		if m.ops[f.num].code != opUnknown {
			return fmt.Errorf("%s: field number %d is given twice", m.typ, f.num)
		}
		f.revision = m.typ == reflect.TypeFor[metav1.ObjectMeta]() && string(f.name) == `,"resourceVersion":`
		if len(f.missing) > 0 || f.revision {
			m.shown = append(m.shown, f)
		}
		m.ops[f.num] = f.op()
	}
	m.firstShown = math.MaxInt
	if len(m.shown) > 0 {
		m.firstShown = m.shown[0].num
	}
	return nil
}

// field adds one struct field to the plan. names are the JSON names taken.
func (c *compiler) field(m *message, sf reflect.StructField, names map[string]bool) error {
	if !sf.IsExported() && !sf.Anonymous {
		return nil
	}
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return fmt.Errorf("has no JSON form")
	}
	name, options, _ := strings.Cut(tag, ",")
	f := fieldPlan{}
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
		case "string":
			return fmt.Errorf("the string option")
		}
	}
	f.inline = sf.Anonymous && name == ""
	if f.inline {
		if err := claimInline(sf.Type, names); err != nil {
			return err
		}
	} else {
		if name == "" {
			name = sf.Name
		}
		if names[name] {
			return fmt.Errorf("JSON name %s is taken", name)
		}
		names[name] = true
		f.name = append(AppendQuoted([]byte{','}, []byte(name)), ':')
	}
	return c.wire(m, f, sf)
}

// claimInline takes the JSON names of an embedded struct.
func claimInline(t reflect.Type, names map[string]bool) error {
	if t.Kind() != reflect.Struct || t.Implements(jsonMarshaler) {
		return fmt.Errorf("cannot be inlined")
	}
	for i := range t.NumField() {
		sf := t.Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		switch {
		case sf.Anonymous && name == "":
			if err := claimInline(sf.Type, names); err != nil {
				return err
			}
			continue
		case name == "":
			name = sf.Name
		}
		if names[name] {
			return fmt.Errorf("JSON name %s is taken", name)
		}
		names[name] = true
	}
	return nil
}

// wire completes a field's plan from its protobuf tag and Go type.
func (c *compiler) wire(m *message, f fieldPlan, sf reflect.StructField) error {
	zero, err := json.Marshal(reflect.New(sf.Type).Interface())
	if err != nil {
		return err
	}
	if f.inline {
		if f.missing = zero[1 : len(zero)-1]; len(f.missing) > 0 {
			f.missing = slices.Concat([]byte{','}, f.missing)
		}
	} else if !f.omitZero && !(f.omitEmpty && isEmpty(sf.Type)) {
		f.missing = slices.Concat(f.name, zero)
	}
	tag, ok := sf.Tag.Lookup("protobuf")
	if !ok {
		m.always = append(m.always, f.missing...)
		return nil
	}
	parts := strings.Split(tag, ",")
	if len(parts) < 3 {
		return fmt.Errorf("protobuf tag %q", tag)
	}
	if f.num, err = strconv.Atoi(parts[1]); err != nil || f.num <= 0 {
		return fmt.Errorf("protobuf tag %q", tag)
	}
	// The tag's wire type is not looked at: it is written by hand and sometimes
	// wrong. The generated code follows the Go type.
	if err := c.shape(&f, sf.Type); err != nil {
		return err
	}
	if f.omitZero && f.kind != kindTime && f.kind != kindMicroTime {
		return fmt.Errorf("omitzero of %s", sf.Type)
	}
	f.valueWire = uint8(f.kind.wireType())
	if f.wire = f.valueWire; f.isMap {
		f.wire = wireBytes
	}
	f.objectMeta = sf.Type == reflect.TypeFor[metav1.ObjectMeta]()
	restoreKinds(m.typ, &f)
	m.fields = append(m.fields, f)
	return nil
}

// isEmpty reports whether omitempty leaves out the type's zero value.
func isEmpty(t reflect.Type) bool { return t.Kind() != reflect.Struct }

// shape fills repeated, map, pointer and value.
func (c *compiler) shape(f *fieldPlan, t reflect.Type) (err error) {
	switch {
	case t.Kind() == reflect.Map:
		if t.Key().Kind() != reflect.String || t.Key().Implements(reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()) {
			return fmt.Errorf("map key %s", t.Key())
		}
		f.isMap = true
		t = t.Elem()
		if t.Kind() == reflect.Pointer {
			return fmt.Errorf("map of %s", t)
		}
		f.value, err = c.value(t)
		return err
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 && !reflect.PointerTo(t).Implements(messager):
		f.repeated = true
		t = t.Elem()
		if t.Kind() == reflect.Pointer {
			return fmt.Errorf("list of %s", t)
		}
	case t.Kind() == reflect.Pointer:
		f.pointer = true
		t = t.Elem()
	}
	f.value, err = c.value(t)
	return err
}

// value plans one value.
func (c *compiler) value(t reflect.Type) (value, error) {
	v := value{}
	var err error
	if v.zero, err = json.Marshal(reflect.New(t).Interface()); err != nil {
		return v, err
	}
	if k, ok := specialKinds[t]; ok {
		v.kind = k
		return v, nil
	}
	isMessage := reflect.PointerTo(t).Implements(messager)
	if t.Implements(jsonMarshaler) || reflect.PointerTo(t).Implements(jsonMarshaler) {
		if !isMessage {
			return v, fmt.Errorf("%s has a JSON form of its own", t)
		}
		v.kind, v.typ = kindOther, t
		return v, nil
	}
	switch t.Kind() {
	case reflect.Struct:
		if !isMessage {
			return v, fmt.Errorf("%s is not a message", t)
		}
		v.kind = kindMessage
		v.message, err = c.message(t)
		return v, err
	case reflect.Slice:
		if isMessage && t.Elem().Kind() == reflect.String {
			v.kind = kindStrings
			return v, nil
		}
		if t.Elem().Kind() == reflect.Uint8 && !isMessage {
			v.kind = kindBytes
			return v, nil
		}
	}
	k, ok := scalarKinds[t.Kind()]
	if !ok || isMessage {
		return v, fmt.Errorf("%s has no plan", t)
	}
	v.kind = k
	return v, nil
}

var scalarKinds = map[reflect.Kind]kind{
	reflect.String: kindString, reflect.Bool: kindBool, reflect.Float64: kindFloat64, reflect.Float32: kindFloat32,
	reflect.Int: kindInt64, reflect.Int64: kindInt64, reflect.Int32: kindInt32, reflect.Uint64: kindUint64, reflect.Uint32: kindUint32,
}

// wireType of a kind's protobuf form.
func (k kind) wireType() int {
	switch k {
	case kindBool, kindInt64, kindInt32, kindUint64, kindUint32:
		return wireVarint
	case kindFloat64:
		return wireFixed64
	case kindFloat32:
		return wireFixed32
	}
	return wireBytes
}
