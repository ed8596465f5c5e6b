package codec_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// filler makes random values of any API type.
type filler struct {
	*rand.Rand
	// sparse is the chance in eight that a field stays zero.
	sparse int
}

var words = []string{"", "a", "name", "10.0.0.1", "a longer text that takes more than eight bytes", "<html> & \"quotes\" \\", "tab\tline\nfeed\x00\x7f", "grüße", "日本語", "\u2028", "bad\xffutf8", "{\"json\":1}", "🚀"}

var quantities = []string{"0", "1", "100m", "1500m", "1000m", "2000", "1Gi", "1024Mi", "1000Mi", "8010156Ki", "16Ki", "1.5Gi", "1e3", "999G", "-5", "0.5", "123456789", "1234567890123", "12E", "5n", "1000k", "7Ti"}

func (r filler) text() string { return words[r.IntN(len(words))] }

func (r filler) fill(v reflect.Value, depth int) {
	if r.IntN(8) < r.sparse {
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *metav1.Time:
		p.Time = time.Unix(r.Int64N(4e9)-1e9, 0)
		return
	case *metav1.MicroTime:
		p.Time = time.Unix(r.Int64N(4e9)-1e9, r.Int64N(1e6)*1000)
		return
	case *metav1.Duration:
		p.Duration = time.Duration(r.Int64N(1e15) - 1e14)
		return
	case *resource.Quantity:
		*p = resource.MustParse(quantities[r.IntN(len(quantities))])
		return
	case *intstr.IntOrString:
		if *p = intstr.FromInt32(int32(r.Uint32())); r.IntN(2) == 0 {
			*p = intstr.FromString(r.text())
		}
		return
	case *metav1.FieldsV1:
		p.SetRawString([]string{`{}`, `{"f:metadata":{"f:labels":{".":{},"k:{\"a\":1}":{}}}}`, `{"f:x<y":{}}`, "{ \"a\": [1, 2] }"}[r.IntN(4)])
		return
	case *runtime.RawExtension:
		p.Raw = []byte([]string{`{"a":1}`, `{"spec":{"x":[1,2,{"y":null}],"z":"text"}}`, `{"a":1.5e3,"b":"ü"}`, `[]`, `"s"`}[r.IntN(5)])
		return
	case *metav1.TypeMeta:
		return
	}
	r.fillKind(v, depth)
}

func (r filler) fillKind(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(r.text())
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64() >> r.IntN(64)))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> r.IntN(64))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(r.NormFloat64() * 1e6)
	case reflect.Pointer:
		if depth > 12 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		r.fill(v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				r.fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		if depth > 12 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			r.fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(4) {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			k.SetString(r.text())
			r.fill(e, depth+1)
			v.SetMapIndex(k, e)
		}
	case reflect.Interface:
	default:
		panic(fmt.Sprint(v.Type()))
	}
}
