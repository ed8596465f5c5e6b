package fieldmanager

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	smd "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// form is how a value is compared and who can own what of it.
type form uint8

const (
	// scalar values have one owner: strings, numbers, bytes.
	scalar form = iota
	// atomic values are structs, maps and lists that have one owner.
	atomic
	// structure is a struct whose fields have owners.
	structure
	// mapping is a map whose entries have owners.
	mapping
	// set is a list of scalars that each have owners.
	set
	// keyed is a list of structs, told apart by key fields.
	keyed
	// converted is a type with its own JSON: quantities, times, raw JSON.
	converted
)

// plan is how values of one Go type are walked under one schema. Plans are
// immutable once compiled and may be cyclic.
type plan struct {
	form form
	// fields of a structure, in order of their names.
	fields []fieldPlan
	// elem is of a mapping's values or a keyed list's items.
	elem *plan
	// keys of a keyed list, in order of their names.
	keys []keyPlan
	// json converts a converted type.
	json *value.TypeReflectCacheEntry
	// granular is true for raw JSON whose map entries have owners.
	granular bool
	// plain is true for a converted type whose JSON is a scalar, always.
	plain bool
	// plainMap is true for map[string]string.
	plainMap bool
}

type fieldPlan struct {
	// element is the field as a path element, "f:name", and key that as a
	// member of FieldsV1.
	element string
	key     []byte
	name    string
	index   []int
	omit    omission
	// zero decides for omitByFunc.
	zero func(reflect.Value) bool
	plan *plan
}

type keyPlan struct {
	name string
	// field is where the key is found in an item.
	field *fieldPlan
	// absent is the JSON of the key's default; "" when there is none.
	absent string
}

// omission says which values of a field do not appear in JSON.
type omission uint8

const (
	omitNever omission = iota
	omitLen
	omitNil
	omitFalse
	omitInt
	omitUint
	omitFloat
	omitByFunc
)

// compiler makes plans. It is not safe for concurrent use.
type compiler struct {
	atoms *atoms
	plans map[planKey]*plan
	// added are plans that are not known to be whole yet.
	added []planKey
}

type planKey struct {
	typ    reflect.Type
	schema string
}

// compile makes the plan of a Go type under a definition, or an error when the
// type is one that only the library can walk. It takes from plans and adds to
// them.
func compile(t reflect.Type, definition string, a *atoms, plans map[planKey]*plan) (*plan, error) {
	c := &compiler{atoms: a, plans: plans}
	root, err := c.plan(t, smd.TypeRef{NamedType: &definition})
	if err == nil && root.form != structure {
		err = fmt.Errorf("%v is not an object", t)
	}
	if err != nil {
		for _, key := range c.added {
			delete(plans, key)
		}
		return nil, err
	}
	return root, nil
}

// without leaves fields out, down to two levels, which is as deep as whole
// fields without owners are.
func (p *plan) without(skip func(path string) bool) *plan { return p.prune("", 2, skip) }

func (p *plan) prune(prefix string, levels int, skip func(path string) bool) *plan {
	if p.form != structure || levels == 0 {
		return p
	}
	out := *p
	out.fields = nil
	for _, f := range p.fields {
		if skip(prefix + f.name) {
			continue
		}
		f.plan = f.plan.prune(prefix+f.name+".", levels-1, skip)
		out.fields = append(out.fields, f)
	}
	return &out
}

// fits reports whether no one owns a part of what is atomic, as happens when
// a schema has changed.
func (p *plan) fits(n *node) bool {
	if len(n.children) == 0 || p.form == scalar || p.granular {
		return true
	}
	if p.form == atomic || p.form == converted {
		return false
	}
	i := 0
	for j := range n.children {
		c := &n.children[j]
		sub := p.elem
		switch p.form {
		case set:
			return true
		case structure:
			for i < len(p.fields) && p.fields[i].element < c.element {
				i++
			}
			if i == len(p.fields) || p.fields[i].element != c.element {
				continue
			}
			sub = p.fields[i].plan
		}
		if !sub.fits(c) {
			return false
		}
	}
	return true
}

func (c *compiler) plan(t reflect.Type, ref smd.TypeRef) (*plan, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	key := planKey{typ: t}
	if ref.NamedType != nil {
		key.schema = *ref.NamedType
		if ref.ElementRelationship != nil {
			key.schema += "|" + string(*ref.ElementRelationship)
		}
		if p, ok := c.plans[key]; ok {
			return p, nil
		}
	}
	atom, err := c.atoms.resolve(ref)
	if err != nil {
		return nil, err
	}
	p := &plan{}
	if key.schema != "" {
		c.plans[key] = p
		c.added = append(c.added, key)
	}
	return p, c.fill(p, t, atom)
}

func (c *compiler) fill(p *plan, t reflect.Type, atom smd.Atom) error {
	entry := value.TypeReflectEntryOf(t)
	switch k := t.Kind(); {
	case entry.CanConvertToUnstructured():
		p.form, p.json = converted, entry
		p.plain = t == reflect.TypeFor[resource.Quantity]() || t == reflect.TypeFor[metav1.Time]() || t == reflect.TypeFor[metav1.MicroTime]()
		p.granular = atom.Map != nil && atom.Map.ElementRelationship != smd.Atomic
		if p.granular && len(atom.Map.Fields) > 0 {
			return fmt.Errorf("%v has JSON and fields of its own", t)
		}
		return nil
	case k == reflect.Struct:
		return c.structure(p, t, atom.Map)
	case k == reflect.Map:
		return c.mapping(p, t, atom.Map)
	case k == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return c.list(p, t, atom.List)
	case isScalar(t) && atom.Scalar != nil:
		p.form = scalar
		return nil
	}
	return fmt.Errorf("%v does not fit its schema", t)
}

func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Float32, reflect.Float64:
		return true
	case reflect.Slice:
		return t.Elem().Kind() == reflect.Uint8
	}
	return false
}

func (c *compiler) structure(p *plan, t reflect.Type, m *smd.Map) error {
	if m == nil {
		return fmt.Errorf("%v is a struct, not in its schema", t)
	}
	if m.ElementRelationship == smd.Atomic {
		p.form = atomic
		return nil
	}
	p.form = structure
	if err := c.fields(p, t, m, nil, nil); err != nil {
		return err
	}
	slices.SortFunc(p.fields, func(a, b fieldPlan) int { return strings.Compare(a.name, b.name) })
	return nil
}

// fields adds a struct's fields, and those of structs embedded in it; with
// names given, only those.
func (c *compiler) fields(p *plan, t reflect.Type, m *smd.Map, prefix []int, names []string) error {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		index := append(slices.Clone(prefix), i)
		if f.Anonymous && name == "" {
			if f.Type.Kind() != reflect.Struct {
				return fmt.Errorf("%v embeds %v", t, f.Type)
			}
			if err := c.fields(p, f.Type, m, index, names); err != nil {
				return err
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		if names != nil && !slices.Contains(names, name) {
			continue
		}
		member, ok := m.FindField(name)
		if !ok {
			return fmt.Errorf("%v.%s is not in the schema", t, name)
		}
		sub, err := c.plan(f.Type, member.Type)
		if err != nil {
			return err
		}
		field := fieldPlan{element: "f:" + name, key: append(appendKey(nil, "f:"+name), ':'), name: name, index: index, plan: sub}
		field.omit, field.zero = omissionOf(f.Type, strings.Split(options, ","))
		p.fields = append(p.fields, field)
	}
	return nil
}

func omissionOf(t reflect.Type, options []string) (omission, func(reflect.Value) bool) {
	empty := omitNever
	if slices.Contains(options, "omitempty") {
		empty = emptyOf(t)
	}
	if !slices.Contains(options, "omitzero") {
		return empty, nil
	}
	zero := value.OmitZeroFunc(t)
	return omitByFunc, func(v reflect.Value) bool { return omits(empty, nil, v) || zero(v) }
}

func emptyOf(t reflect.Type) omission {
	switch t.Kind() {
	case reflect.String, reflect.Map, reflect.Slice, reflect.Array:
		return omitLen
	case reflect.Pointer, reflect.Interface:
		return omitNil
	case reflect.Bool:
		return omitFalse
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return omitInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return omitUint
	case reflect.Float32, reflect.Float64:
		return omitFloat
	}
	return omitNever
}

func omits(o omission, zero func(reflect.Value) bool, v reflect.Value) bool {
	switch o {
	case omitLen:
		return v.Len() == 0
	case omitNil:
		return v.IsNil()
	case omitFalse:
		return !v.Bool()
	case omitInt:
		return v.Int() == 0
	case omitUint:
		return v.Uint() == 0
	case omitFloat:
		return v.Float() == 0
	case omitByFunc:
		return zero(v)
	}
	return false
}

func (c *compiler) mapping(p *plan, t reflect.Type, m *smd.Map) error {
	if m == nil {
		return fmt.Errorf("%v is a map, not in its schema", t)
	}
	if m.ElementRelationship == smd.Atomic {
		p.form = atomic
		return nil
	}
	if len(m.Fields) > 0 || t.Key().Kind() != reflect.String {
		return fmt.Errorf("%v is not a plain map", t)
	}
	p.form, p.plainMap = mapping, t == reflect.TypeFor[map[string]string]()
	elem, err := c.plan(t.Elem(), m.ElementType)
	p.elem = elem
	return err
}

func (c *compiler) list(p *plan, t reflect.Type, l *smd.List) error {
	switch {
	case l == nil:
		return fmt.Errorf("%v is a list, not in its schema", t)
	case l.ElementRelationship != smd.Associative:
		p.form = atomic
		return nil
	case len(l.Keys) == 0:
		if p.form = set; !isScalar(t.Elem()) || value.TypeReflectEntryOf(t.Elem()).CanConvertToUnstructured() {
			return fmt.Errorf("%v is a set of what is not a scalar", t)
		}
		return nil
	}
	p.form = keyed
	elem, err := c.plan(t.Elem(), l.ElementType)
	if err != nil {
		return err
	}
	p.elem = elem
	atom, err := c.atoms.resolve(l.ElementType)
	if err != nil {
		return err
	}
	if t.Elem().Kind() != reflect.Struct || atom.Map == nil {
		return fmt.Errorf("%v is keyed but not of structs", t)
	}
	return c.keyFields(p, t.Elem(), atom.Map, l.Keys)
}

// keyFields finds the keys among an item's fields. The item may be atomic, so
// the fields are not those of its plan.
func (c *compiler) keyFields(p *plan, item reflect.Type, m *smd.Map, keys []string) error {
	all := &plan{}
	// Items may hold lists of their own kind: what is not a key is left alone.
	if err := c.fields(all, item, m, nil, keys); err != nil {
		return err
	}
	for _, name := range keys {
		i := slices.IndexFunc(all.fields, func(f fieldPlan) bool { return f.name == name })
		if i < 0 || all.fields[i].plan.form != scalar {
			return fmt.Errorf("%v has no scalar key %s", item, name)
		}
		member, _ := m.FindField(name)
		absent := ""
		if member.Default != nil {
			text, err := jsonText(value.NewValueInterface(member.Default))
			if err != nil {
				return err
			}
			absent = text
		}
		p.keys = append(p.keys, keyPlan{name: name, field: &all.fields[i], absent: absent})
	}
	slices.SortFunc(p.keys, func(a, b keyPlan) int { return strings.Compare(a.name, b.name) })
	return nil
}
