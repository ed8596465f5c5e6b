package codec

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// This file fills structs from JSON quickly, for the documents that nearly all
// clients send: names as they are spelled in the API, none unknown, none
// twice, values of the right type. Whatever is different, or wrong, is left to
// sigs.k8s.io/json, whose results and messages are those of Kubernetes. So a
// filler must be right when it says true, and may say false at will.

// filler fills the zero value at p from the next JSON value.
type filler func(r *scanner, p unsafe.Pointer) bool

// fillers by type; nil for types that have none.
var fillers sync.Map // reflect.Type → filler

// TryJSON decodes a document into an empty struct if there is nothing unusual
// about either. When it gives up, false, it leaves the struct empty. Strings of
// the struct share one copy of the document.
func TryJSON(data []byte, into any) bool {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct || !v.Elem().IsZero() {
		return false
	}
	f := fillerOf(v.Type().Elem())
	if f == nil {
		return false
	}
	// Strings of the struct are pieces of this copy.
	r := scanner{s: string(data)}
	if f(&r, v.UnsafePointer()) && r.atEnd() {
		return true
	}
	v.Elem().SetZero()
	return false
}

func fillerOf(t reflect.Type) filler {
	if f, ok := fillers.Load(t); ok {
		return f.(filler)
	}
	c := fillCompiler{map[reflect.Type]*filler{}}
	f := c.structure(t)
	actual, _ := fillers.LoadOrStore(t, f)
	return actual.(filler)
}

// fillCompiler makes fillers; it holds those under way, since types recurse.
type fillCompiler struct{ structs map[reflect.Type]*filler }

// fillField is a member of a struct, its own or of an embedded one.
type fillField struct {
	name   string
	offset uintptr
	fill   filler
}

// maxFields is how many members a set of those seen can hold.
const maxFields = 128

func (c *fillCompiler) structure(t reflect.Type) filler {
	if f, ok := c.structs[t]; ok {
		// Recursive: known only once it is complete.
		return func(r *scanner, p unsafe.Pointer) bool { return *f != nil && (*f)(r, p) }
	}
	ref := new(filler)
	c.structs[t] = ref
	fields, ok := c.fields(nil, t, 0)
	if !ok || len(fields) > maxFields {
		return nil
	}
	names := make(map[string]int, len(fields))
	for i, f := range fields {
		if _, twice := names[f.name]; twice {
			return nil
		}
		names[f.name] = i
	}
	*ref = func(r *scanner, p unsafe.Pointer) bool { return fillStruct(r, p, fields, names) }
	return *ref
}

func (c *fillCompiler) fields(fields []fillField, t reflect.Type, offset uintptr) ([]fillField, bool) {
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if strings.Contains(options, "string") {
			return nil, false
		}
		if sf.Anonymous && name == "" {
			if sf.Type.Kind() != reflect.Struct || reflect.PointerTo(sf.Type).Implements(jsonUnmarshaler) {
				return nil, false
			}
			var ok bool
			if fields, ok = c.fields(fields, sf.Type, offset+sf.Offset); !ok {
				return nil, false
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		if name == "" {
			name = sf.Name
		}
		fill := c.value(sf.Type)
		if fill == nil {
			return nil, false
		}
		fields = append(fields, fillField{name, offset + sf.Offset, fill})
	}
	return fields, true
}

func fillStruct(r *scanner, p unsafe.Pointer, fields []fillField, names map[string]int) bool {
	if r.null() {
		return true
	}
	if !r.take('{') {
		return false
	}
	if r.depth++; r.depth > maxDepth {
		return false
	}
	if r.take('}') {
		r.depth--
		return true
	}
	var seen [maxFields / 64]uint64
	for next := 0; ; next++ {
		name, ok := r.string()
		if !ok || !r.take(':') {
			return false
		}
		// Documents mostly keep to the order of the struct.
		if next >= len(fields) || fields[next].name != name {
			if next, ok = names[name]; !ok {
				return false
			}
		}
		if seen[next/64]&(1<<(next%64)) != 0 {
			return false
		}
		seen[next/64] |= 1 << (next % 64)
		f := &fields[next]
		if !f.fill(r, unsafe.Add(p, f.offset)) {
			return false
		}
		if r.take('}') {
			r.depth--
			return true
		}
		if !r.take(',') {
			return false
		}
	}
}

var jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
var textUnmarshaler = reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()

var specialFillers = map[reflect.Type]filler{
	reflect.TypeFor[metav1.Time]():        fillTime,
	reflect.TypeFor[metav1.MicroTime]():   fillMicroTime,
	reflect.TypeFor[intstr.IntOrString](): fillIntOrString,
	reflect.TypeFor[resource.Quantity]():  fillQuantity,
}

// value makes the filler of a type, nil if there is none.
func (c *fillCompiler) value(t reflect.Type) filler {
	if f, ok := specialFillers[t]; ok {
		return f
	}
	if t.Kind() == reflect.Pointer {
		return c.pointer(t.Elem())
	}
	if t.Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(jsonUnmarshaler) {
		return unmarshalerFiller(t)
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return nil
	}
	switch t.Kind() {
	case reflect.String:
		return fillString
	case reflect.Bool:
		return fillBool
	case reflect.Int64, reflect.Int:
		return fillInt64
	case reflect.Int32:
		return fillInt32
	case reflect.Float64:
		return fillFloat64
	case reflect.Struct:
		return c.structure(t)
	case reflect.Slice:
		return c.slice(t)
	case reflect.Map:
		return c.maps(t)
	}
	return nil
}

func fillString(r *scanner, p unsafe.Pointer) bool {
	s, ok := r.string()
	if !ok {
		return r.null()
	}
	*(*string)(p) = s
	return true
}

func fillBool(r *scanner, p unsafe.Pointer) bool {
	v, ok := r.bool()
	if !ok {
		return r.null()
	}
	*(*bool)(p) = v
	return true
}

func fillInt64(r *scanner, p unsafe.Pointer) bool {
	v, ok := r.integer(64)
	if !ok {
		return r.null()
	}
	*(*int64)(p) = v
	return true
}

func fillInt32(r *scanner, p unsafe.Pointer) bool {
	v, ok := r.integer(32)
	if !ok {
		return r.null()
	}
	*(*int32)(p) = int32(v)
	return true
}

func fillFloat64(r *scanner, p unsafe.Pointer) bool {
	text, ok := r.number()
	if !ok {
		return r.null()
	}
	v, err := strconv.ParseFloat(text, 64)
	*(*float64)(p) = v
	return err == nil
}

func fillTime(r *scanner, p unsafe.Pointer) bool {
	return fillTimeOf(r, &(*metav1.Time)(p).Time, time.RFC3339)
}

func fillMicroTime(r *scanner, p unsafe.Pointer) bool {
	return fillTimeOf(r, &(*metav1.MicroTime)(p).Time, metav1.RFC3339Micro)
}

func fillTimeOf(r *scanner, t *time.Time, layout string) bool {
	s, ok := r.string()
	if !ok {
		return r.null()
	}
	v, err := time.Parse(layout, s)
	if err != nil {
		return false
	}
	*t = v.Local()
	return true
}

func fillIntOrString(r *scanner, p unsafe.Pointer) bool {
	v := (*intstr.IntOrString)(p)
	if r.peek() == '"' {
		s, ok := r.string()
		v.Type, v.StrVal = intstr.String, s
		return ok
	}
	n, ok := r.integer(32)
	v.Type, v.IntVal = intstr.Int, int32(n)
	return ok
}

func fillQuantity(r *scanner, p unsafe.Pointer) bool {
	// The type looks at the text between the quotes, escapes and all.
	s, ok := r.value()
	if !ok || s[0] != '"' || strings.IndexByte(s, '\\') >= 0 {
		return false
	}
	v, err := resource.ParseQuantity(s[1 : len(s)-1])
	if err != nil {
		return false
	}
	*(*resource.Quantity)(p) = v
	return true
}

// unmarshalerFiller hands the value's text to the type.
func unmarshalerFiller(t reflect.Type) filler {
	if !reflect.PointerTo(t).Implements(jsonUnmarshaler) {
		return nil
	}
	return func(r *scanner, p unsafe.Pointer) bool {
		text, ok := r.value()
		if !ok {
			return false
		}
		return reflect.NewAt(t, p).Interface().(json.Unmarshaler).UnmarshalJSON([]byte(text)) == nil
	}
}

func (c *fillCompiler) pointer(t reflect.Type) filler {
	if t.Kind() == reflect.Pointer {
		return nil
	}
	fill := c.value(t)
	if fill == nil {
		return nil
	}
	return func(r *scanner, p unsafe.Pointer) bool {
		if r.null() {
			return true
		}
		v := reflect.New(t).UnsafePointer()
		*(*unsafe.Pointer)(p) = v
		return fill(r, v)
	}
}

func (c *fillCompiler) slice(t reflect.Type) filler {
	switch e := t.Elem(); {
	case e.Kind() == reflect.Uint8:
		return fillBytes
	case e.Kind() == reflect.String && !reflect.PointerTo(e).Implements(jsonUnmarshaler) && !reflect.PointerTo(e).Implements(textUnmarshaler):
		return fillStrings
	}
	fill := c.value(t.Elem())
	if fill == nil {
		return nil
	}
	size := t.Elem().Size()
	return func(r *scanner, p unsafe.Pointer) bool {
		if r.null() {
			return true
		}
		if !r.take('[') {
			return false
		}
		list, n := reflect.MakeSlice(t, 0, 0), 0
		for empty := r.take(']'); !empty; {
			if n == list.Cap() {
				grown := reflect.MakeSlice(t, max(2, 2*n), max(2, 2*n))
				reflect.Copy(grown, list.Slice(0, n))
				list = grown
			}
			if !fill(r, unsafe.Add(list.UnsafePointer(), uintptr(n)*size)) {
				return false
			}
			n++
			if r.take(']') {
				break
			}
			if !r.take(',') {
				return false
			}
		}
		reflect.NewAt(t, p).Elem().Set(list.Slice(0, n))
		return true
	}
}

func fillBytes(r *scanner, p unsafe.Pointer) bool {
	s, ok := r.string()
	if !ok {
		return r.null()
	}
	b, err := base64.StdEncoding.DecodeString(s)
	*(*[]byte)(p) = b
	return err == nil
}

func fillStrings(r *scanner, p unsafe.Pointer) bool {
	if r.null() {
		return true
	}
	if !r.take('[') {
		return false
	}
	list := []string{}
	for empty := r.take(']'); !empty; {
		var s string
		if !fillString(r, unsafe.Pointer(&s)) {
			return false
		}
		list = append(list, s)
		if r.take(']') {
			break
		}
		if !r.take(',') {
			return false
		}
	}
	*(*[]string)(p) = list
	return true
}

// maps makes the filler of a map with strings for keys.
func (c *fillCompiler) maps(t reflect.Type) filler {
	if t.Key().Kind() != reflect.String || reflect.PointerTo(t.Key()).Implements(textUnmarshaler) {
		return nil
	}
	if t == reflect.TypeFor[map[string]string]() {
		return fillStringMap
	}
	fill := c.value(t.Elem())
	if fill == nil {
		return nil
	}
	return func(r *scanner, p unsafe.Pointer) bool {
		if r.null() {
			return true
		}
		if !r.take('{') {
			return false
		}
		m := reflect.MakeMap(t)
		for empty := r.take('}'); !empty; {
			name, ok := r.string()
			if !ok || !r.take(':') {
				return false
			}
			k, e := reflect.New(t.Key()).Elem(), reflect.New(t.Elem())
			k.SetString(name)
			if !fill(r, e.UnsafePointer()) {
				return false
			}
			n := m.Len()
			if m.SetMapIndex(k, e.Elem()); m.Len() == n {
				return false // given twice
			}
			if r.take('}') {
				break
			}
			if !r.take(',') {
				return false
			}
		}
		reflect.NewAt(t, p).Elem().Set(m)
		return true
	}
}

func fillStringMap(r *scanner, p unsafe.Pointer) bool {
	if r.null() {
		return true
	}
	if !r.take('{') {
		return false
	}
	m := map[string]string{}
	for empty := r.take('}'); !empty; {
		name, ok := r.string()
		if !ok || !r.take(':') {
			return false
		}
		var s string
		if !fillString(r, unsafe.Pointer(&s)) {
			return false
		}
		n := len(m)
		if m[name] = s; len(m) == n {
			return false // given twice
		}
		if r.take('}') {
			break
		}
		if !r.take(',') {
			return false
		}
	}
	*(*map[string]string)(p) = m
	return true
}
