package fieldmanager

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// operand is one side of a comparison: nothing, null, or a value with its
// pointer followed.
type operand struct {
	state state
	v     reflect.Value
}

type state uint8

const (
	absent state = iota
	null
	present
)

// walker compares two objects of one type. Its nodes are valid until it is
// released.
type walker struct {
	arena
	// changed and removed hold the children of the structures that are open.
	changed, removed []node
	// lost is set when the objects hold something that only the library can
	// compare; the result is then void.
	lost bool
	// text is scratch for keys, fields for FieldsV1, names for keys of maps.
	text, fields []byte
	names        []string
}

var walkers = sync.Pool{New: func() any { return &walker{} }}

func newWalker() *walker { return walkers.Get().(*walker) }

func (w *walker) release() {
	w.reset()
	clear(w.changed[:cap(w.changed)])
	clear(w.removed[:cap(w.removed)])
	w.changed, w.removed, w.lost = w.changed[:0], w.removed[:0], false
	walkers.Put(w)
}

// diff gives the paths that r has added or modified, and those that it has
// removed.
func (w *walker) diff(p *plan, l, r operand) (changed, removed node) {
	if l.state == absent {
		return w.added(p, r), removed
	}
	if r.state == absent {
		removed.member = true
	}
	switch p.form {
	case structure:
		w.structure(p, l, r, &changed, &removed)
	case mapping:
		w.mapping(p, l, r, &changed, &removed)
	case set, keyed:
		w.list(p, l, r, &changed, &removed)
	case converted:
		w.converted(p, l, r, &changed, &removed)
	default:
		if l.state != absent && r.state != absent && !equal(p, l, r) {
			changed.member = true
		}
	}
	return changed, removed
}

// added is diff where there is nothing on the left: most of a new object.
func (w *walker) added(p *plan, r operand) node {
	mc := len(w.changed)
	switch p.form {
	case structure:
		for i := range p.fields {
			f := &p.fields[i]
			if v := f.of(r); v.state != absent {
				w.add(f.element, f.plan, v)
			}
		}
	case mapping:
		keys := mapKeys(p, r, nil)
		slices.Sort(keys)
		for _, k := range keys {
			if p.elem.leaf() {
				w.changed = append(w.changed, node{element: "f:" + k, member: true})
				continue
			}
			w.add("f:"+k, p.elem, entry(p, r, k))
		}
	case set, keyed:
		for _, i := range w.items(p, r) {
			w.add(i.element, p.itemPlan(), w.item(p, i))
		}
	case converted:
		if !p.leaf() && !isNumberOrName(r.v) {
			var changed, removed node
			w.any(p.granular, loose{}, w.json(p, r), &changed, &removed)
			changed.member = true
			return changed
		}
	}
	n := node{member: true, children: w.keep(w.changed[mc:])}
	w.changed = w.changed[:mc]
	return n
}

func (w *walker) add(element string, p *plan, r operand) {
	n := w.added(p, r)
	n.element = element
	w.changed = append(w.changed, n)
}

// isNumberOrName is true for what is one, and of the two kinds there are.
func isNumberOrName(v reflect.Value) bool {
	if !v.CanAddr() {
		return false
	}
	x, ok := v.Addr().Interface().(*intstr.IntOrString)
	return ok && (x.Type == intstr.Int || x.Type == intstr.String)
}

// leaf is true when nothing below a value can have owners, whatever it is.
func (p *plan) leaf() bool {
	switch p.form {
	case scalar, atomic:
		return true
	case converted:
		return p.plain
	}
	return false
}

// step compares what is below one element and files the result.
func (w *walker) step(element string, p *plan, l, r operand) {
	changed, removed := w.diff(p, l, r)
	if !changed.empty() {
		changed.element = element
		w.changed = append(w.changed, changed)
	}
	if !removed.empty() {
		removed.element = element
		w.removed = append(w.removed, removed)
	}
}

// close moves what was filed since the marks below the two nodes. Where both
// sides turned out to have nothing inside, they are one leaf.
func (w *walker) close(mc, mr int, some bool, l, r operand, changed, removed *node) {
	changed.children, removed.children = w.keep(w.changed[mc:]), w.keep(w.removed[mr:])
	w.changed, w.removed = w.changed[:mc], w.removed[:mr]
	if !some && l.state != absent && r.state != absent && l.state != r.state {
		changed.member = true
	}
}

func (w *walker) structure(p *plan, l, r operand, changed, removed *node) {
	mc, mr, some := len(w.changed), len(w.removed), false
	for i := range p.fields {
		f := &p.fields[i]
		lf, rf := f.of(l), f.of(r)
		if lf.state == absent && rf.state == absent {
			continue
		}
		some = true
		w.step(f.element, f.plan, lf, rf)
	}
	w.close(mc, mr, some, l, r, changed, removed)
}

// of is a field of a struct.
func (f *fieldPlan) of(s operand) operand {
	if s.state != present {
		return operand{}
	}
	v := s.v
	for _, i := range f.index {
		v = v.Field(i)
	}
	if omits(f.omit, f.zero, v) {
		return operand{}
	}
	return load(f.plan, v)
}

// load follows a value's pointer. Types with JSON of their own stay as they
// are: they decide what is null.
func load(p *plan, v reflect.Value) operand {
	if p.form == converted {
		return operand{present, v}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return operand{state: null}
		}
		v = v.Elem()
		if k := v.Kind(); (k == reflect.Map || k == reflect.Slice) && v.IsNil() {
			return operand{state: null}
		}
	case reflect.Map, reflect.Slice:
		if v.IsNil() {
			return operand{state: null}
		}
	}
	return operand{present, v}
}

func (w *walker) mapping(p *plan, l, r operand, changed, removed *node) {
	if l.state == present && r.state == present && p.sameMap(l.v, r.v) {
		return
	}
	mc, mr := len(w.changed), len(w.removed)
	keys := mapKeys(p, r, mapKeys(p, l, nil))
	slices.Sort(keys)
	keys = slices.Compact(keys)
	for _, k := range keys {
		w.step("f:"+k, p.elem, entry(p, l, k), entry(p, r, k))
	}
	w.close(mc, mr, len(keys) > 0, l, r, changed, removed)
}

func mapKeys(p *plan, m operand, keys []string) []string {
	if m.state != present {
		return keys
	}
	if p.plainMap {
		for k := range m.v.Interface().(map[string]string) {
			keys = append(keys, k)
		}
		return keys
	}
	for it := m.v.MapRange(); it.Next(); {
		keys = append(keys, it.Key().String())
	}
	return keys
}

func entry(p *plan, m operand, key string) operand {
	if m.state != present {
		return operand{}
	}
	k := reflect.ValueOf(key)
	if t := m.v.Type().Key(); t != k.Type() {
		k = k.Convert(t)
	}
	v := m.v.MapIndex(k)
	if !v.IsValid() {
		return operand{}
	}
	return load(p.elem, v)
}

// item is a list's item with its element.
type item struct {
	element string
	v       reflect.Value
}

func (w *walker) list(p *plan, l, r operand, changed, removed *node) {
	mc, mr := len(w.changed), len(w.removed)
	ls, rs := w.items(p, l), w.items(p, r)
	for i, j := 0, 0; i < len(ls) || j < len(rs); {
		order := 0
		switch {
		case i == len(ls):
			order = 1
		case j == len(rs):
			order = -1
		default:
			order = compareElements(ls[i].element, rs[j].element)
		}
		var li, ri operand
		var element string
		if order <= 0 {
			li, element, i = w.item(p, ls[i]), ls[i].element, i+1
		}
		if order >= 0 {
			ri, element, j = w.item(p, rs[j]), rs[j].element, j+1
		}
		w.step(element, p.itemPlan(), li, ri)
	}
	w.close(mc, mr, len(ls)+len(rs) > 0, l, r, changed, removed)
}

var scalarPlan = &plan{form: scalar}

func (p *plan) itemPlan() *plan {
	if p.form == set {
		return scalarPlan
	}
	return p.elem
}

func (w *walker) item(p *plan, i item) operand { return load(p.itemPlan(), i.v) }

// items lists a list's items in order of their elements. Duplicates are the
// library's.
func (w *walker) items(p *plan, l operand) []item {
	if l.state != present || l.v.Len() == 0 {
		return nil
	}
	items := make([]item, l.v.Len())
	for i := range items {
		v := l.v.Index(i)
		items[i] = item{w.element(p, v), v}
	}
	if len(items) == 1 || w.lost {
		return items
	}
	slices.SortFunc(items, func(a, b item) int { return compareElements(a.element, b.element) })
	for i := 1; i < len(items); i++ {
		if items[i].element == items[i-1].element {
			w.lost = true
		}
	}
	return items
}

// element makes the path element of a list's item.
func (w *walker) element(p *plan, v reflect.Value) string {
	w.text = w.appendElement(w.text[:0], p, v)
	return string(w.text)
}

func (w *walker) appendElement(dst []byte, p *plan, v reflect.Value) []byte {
	if p.form == set {
		return w.scalarText(append(dst, 'v', ':'), operand{present, v})
	}
	text, n := append(dst, 'k', ':', '{'), 0
	for i := range p.keys {
		k := &p.keys[i]
		found := k.field.of(operand{present, v})
		if found.state == absent && k.absent == "" {
			continue
		}
		if n > 0 {
			text = append(text, ',')
		}
		n++
		text = append(append(append(text, '"'), k.name...), '"', ':')
		if found.state == absent {
			text = append(text, k.absent...)
		} else {
			text = w.scalarText(text, found)
		}
	}
	if n == 0 {
		w.lost = true
	}
	return append(text, '}')
}

func (w *walker) scalarText(dst []byte, o operand) []byte {
	if o.state != present {
		w.lost = true
		return dst
	}
	switch k := o.v.Kind(); {
	case k == reflect.String:
		text, err := appendJSONString(dst, o.v.String())
		if err != nil {
			w.lost = true
		}
		return text
	case k == reflect.Bool:
		return strconv.AppendBool(dst, o.v.Bool())
	case o.v.CanInt():
		return strconv.AppendInt(dst, o.v.Int(), 10)
	case o.v.CanUint():
		return strconv.AppendUint(dst, o.v.Uint(), 10)
	}
	w.lost = true
	return dst
}

// converted compares values as the JSON they give of themselves.
func (w *walker) converted(p *plan, l, r operand, changed, removed *node) {
	if l.state == present && r.state == present && sameConverted(l.v, r.v) {
		return
	}
	w.any(p.granular, w.json(p, l), w.json(p, r), changed, removed)
}

// sameConverted is quick to see that the usual converted types are equal. It
// may say no where they are.
func sameConverted(l, r reflect.Value) bool {
	if !l.CanAddr() || !r.CanAddr() {
		return false
	}
	switch x := l.Addr().Interface().(type) {
	case *metav1.Time:
		return x.Time == r.Addr().Interface().(*metav1.Time).Time
	case *metav1.MicroTime:
		return x.Time == r.Addr().Interface().(*metav1.MicroTime).Time
	case *intstr.IntOrString:
		return *x == *r.Addr().Interface().(*intstr.IntOrString)
	case *resource.Quantity:
		return sameQuantity(*x, *r.Addr().Interface().(*resource.Quantity))
	}
	return false
}

// sameQuantity is true when both are written alike.
func sameQuantity(a, b resource.Quantity) bool { return a.Format == b.Format && a.Cmp(b) == 0 }

// sameMap is quick to see that the usual maps are equal.
func (p *plan) sameMap(l, r reflect.Value) bool {
	if p.plainMap {
		return maps.Equal(l.Interface().(map[string]string), r.Interface().(map[string]string))
	}
	if x, ok := l.Interface().(corev1.ResourceList); ok {
		return maps.EqualFunc(x, r.Interface().(corev1.ResourceList), sameQuantity)
	}
	return false
}

// loose is an operand as plain JSON data.
type loose struct {
	state state
	v     any
}

func (w *walker) json(p *plan, o operand) loose {
	if o.state != present {
		return loose{state: o.state}
	}
	v, err := p.json.ToUnstructured(o.v)
	if err != nil {
		w.lost = true
	}
	return looseOf(v)
}

func looseOf(v any) loose {
	if v == nil {
		return loose{state: null}
	}
	return loose{present, v}
}

// any compares JSON data: maps by their entries where granular, all else as
// wholes. changed and removed are already members where a side is absent.
func (w *walker) any(granular bool, l, r loose, changed, removed *node) {
	lm, lIsMap := l.v.(map[string]any)
	rm, rIsMap := r.v.(map[string]any)
	if !granular || !lIsMap && !rIsMap {
		if l.state != absent && r.state != absent && !value.Equals(value.NewValueInterface(l.v), value.NewValueInterface(r.v)) {
			changed.member = true
		}
		return
	}
	if l.state == present && !lIsMap || r.state == present && !rIsMap {
		w.lost = true
		return
	}
	mc, mr := len(w.changed), len(w.removed)
	keys := make([]string, 0, len(lm)+len(rm))
	for k := range lm {
		keys = append(keys, k)
	}
	for k := range rm {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	for _, k := range keys {
		w.anyStep(k, looseEntry(lm, k), looseEntry(rm, k))
	}
	w.close(mc, mr, len(keys) > 0, operand{state: l.state}, operand{state: r.state}, changed, removed)
}

func looseEntry(m map[string]any, key string) loose {
	v, ok := m[key]
	if !ok {
		return loose{}
	}
	return looseOf(v)
}

func (w *walker) anyStep(key string, l, r loose) {
	changed, removed := node{element: "f:" + key}, node{element: "f:" + key}
	if l.state == absent {
		changed.member = true
	} else if r.state == absent {
		removed.member = true
	}
	w.any(true, l, r, &changed, &removed)
	if !changed.empty() {
		w.changed = append(w.changed, changed)
	}
	if !removed.empty() {
		w.removed = append(w.removed, removed)
	}
}

// equal compares scalars and atomic values as the library does: lists of Go
// values deeply, structs and maps by their JSON.
func equal(p *plan, l, r operand) bool {
	if l.state != present || r.state != present {
		return l.state == r.state
	}
	switch k := l.v.Kind(); {
	case k == reflect.String:
		return l.v.String() == r.v.String()
	case k == reflect.Bool:
		return l.v.Bool() == r.v.Bool()
	case l.v.CanInt():
		return l.v.Int() == r.v.Int()
	case l.v.CanUint():
		return l.v.Uint() == r.v.Uint()
	case l.v.CanFloat():
		return l.v.Float() == r.v.Float()
	case k == reflect.Slice && p.form == scalar:
		return string(l.v.Bytes()) == string(r.v.Bytes())
	case k == reflect.Slice:
		return reflect.DeepEqual(l.v.Interface(), r.v.Interface())
	}
	a, errA := value.NewValueReflect(addressed(l.v))
	b, errB := value.NewValueReflect(addressed(r.v))
	return errA == nil && errB == nil && value.Equals(a, b)
}

func addressed(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p.Interface()
}
