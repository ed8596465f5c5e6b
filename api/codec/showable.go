package codec

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// UnmarshalShowable decodes a protobuf message, and refuses one that has no
// JSON form: raw JSON in it that is not JSON, a union of no type.
func UnmarshalShowable(raw []byte, into interface{ Unmarshal([]byte) error }) error {
	t := reflect.TypeOf(into).Elem()
	if err := checkDepth(t, raw); err != nil {
		return err
	}
	if err := into.Unmarshal(raw); err != nil {
		return err
	}
	if p := showing.of(t); p != nil && !p.shows(reflect.ValueOf(into).Elem()) {
		if _, err := json.Marshal(into); err != nil {
			return err
		}
		return errors.New("the object has no JSON form")
	}
	return nil
}

// shownPlan leads to what of a type may have no JSON form; nil where all has.
// Plans may be cyclic.
type shownPlan struct {
	// check decides for a value; without it, what is inside decides.
	check  func(v reflect.Value) bool
	fields []shownField
	elem   *shownPlan // of a pointer, slice, array or map
}

type shownField struct {
	index int
	plan  *shownPlan
}

func (p *shownPlan) shows(v reflect.Value) bool {
	if p.check != nil {
		return p.check(v)
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range p.fields {
			if !f.plan.shows(v.Field(f.index)) {
				return false
			}
		}
	case reflect.Pointer:
		return v.IsNil() || p.elem.shows(v.Elem())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if !p.elem.shows(v.Index(i)) {
				return false
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if !p.elem.shows(it.Value()) {
				return false
			}
		}
	}
	return true
}

// shownPlans are the plans of the types seen so far.
type shownPlans struct {
	plans sync.Map // reflect.Type to *shownPlan
	mu    sync.Mutex
}

var showing shownPlans

func (s *shownPlans) of(t reflect.Type) *shownPlan {
	if p, ok := s.plans.Load(t); ok {
		return p.(*shownPlan)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := compileShown(t, map[reflect.Type]*shownPlan{})
	s.plans.Store(t, p)
	return p
}

var (
	marshaler  = reflect.TypeFor[json.Marshaler]()
	alwaysJSON = map[reflect.Type]bool{
		reflect.TypeFor[resource.Quantity](): true, reflect.TypeFor[metav1.Time](): true,
		reflect.TypeFor[metav1.MicroTime](): true, reflect.TypeFor[metav1.Duration](): true,
	}
)

func compileShown(t reflect.Type, under map[reflect.Type]*shownPlan) *shownPlan {
	switch {
	case alwaysJSON[t]:
		return nil
	case t == reflect.TypeFor[intstr.IntOrString]():
		return &shownPlan{check: isIntOrString}
	case t == reflect.TypeFor[metav1.FieldsV1]():
		return &shownPlan{check: isJSON}
	case t.Kind() != reflect.Pointer && (t.Implements(marshaler) || reflect.PointerTo(t).Implements(marshaler)), t.Kind() == reflect.Interface:
		return &shownPlan{check: marshals}
	}
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		return &shownPlan{check: isFinite}
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		if elem := compileShown(t.Elem(), under); elem != nil {
			return &shownPlan{elem: elem}
		}
	case reflect.Struct:
		if p := under[t]; p != nil {
			return p
		}
		p := &shownPlan{}
		under[t] = p
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() || f.Tag.Get("json") == "-" {
				continue
			}
			if sub := compileShown(f.Type, under); sub != nil {
				p.fields = append(p.fields, shownField{i, sub})
			}
		}
		if len(p.fields) > 0 {
			return p
		}
		delete(under, t)
	}
	return nil
}

func isIntOrString(v reflect.Value) bool {
	t := intstr.Type(v.FieldByName("Type").Int())
	return t == intstr.Int || t == intstr.String
}

func isJSON(v reflect.Value) bool {
	if !v.CanAddr() {
		return marshals(v)
	}
	raw := v.Addr().Interface().(*metav1.FieldsV1).GetRawBytes()
	return len(raw) == 0 || json.Valid(raw) || marshals(v)
}

func isFinite(v reflect.Value) bool {
	f := v.Float()
	return !math.IsNaN(f) && !math.IsInf(f, 0)
}

func marshals(v reflect.Value) bool {
	if v.CanAddr() {
		v = v.Addr()
	}
	_, err := json.Marshal(v.Interface())
	return err == nil
}
