// Package declared checks objects by tables of rules, in the words of the
// "+k8s:" tags of the API's types:
//
//	PodGroupSpec
//	  podGroupTemplates: maxItems=8 listMapKey=name update=NoAddItem
//	  priority: immutable maximum=1000000000
//
// Newer kinds of Kubernetes are specified by such tags alone. A walk by
// reflection is slow beside handwritten code, so this is for kinds that are
// rarely written.
package declared

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Rules are the rules of some types' fields, by the names of the Go type and
// of the field in JSON.
type Rules map[string]map[string]Rule

// Rule is what is declared of one field.
type Rule struct {
	required, immutable, monotonic            bool
	noSet, noUnset, noModify, noAdd, noRemove bool
	// member is set on members of the type's union, of which exactly one is
	// given; atMostOne makes that at most one.
	member, atMostOne   bool
	format              string
	enum                []string
	minimum, maximum    *int64
	maxItems, minItems  int
	maxLength, maxBytes int
	// key is the JSON field that tells a list's items apart.
	key string
}

// Parse reads a table. It panics on a word it does not know, which is a
// mistake in the program.
func Parse(text string) Rules {
	rules := Rules{}
	var fields map[string]Rule
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case strings.HasSuffix(words[0], ":"):
			fields[strings.TrimSuffix(words[0], ":")] = parseRule(words[1:])
		default:
			fields = map[string]Rule{}
			for _, name := range words {
				rules[name] = fields
			}
		}
	}
	return rules
}

func parseRule(words []string) Rule {
	var r Rule
	flags := map[string]*bool{
		"required": &r.required, "immutable": &r.immutable, "monotonic": &r.monotonic, "unionMember": &r.member,
		"zeroOrOneOfMember": &r.atMostOne, "update=NoSet": &r.noSet, "update=NoUnset": &r.noUnset, "update=NoModify": &r.noModify,
		"update=NoAddItem": &r.noAdd, "update=NoRemoveItem": &r.noRemove,
	}
	numbers := map[string]*int{"maxItems": &r.maxItems, "minItems": &r.minItems, "maxLength": &r.maxLength, "maxBytes": &r.maxBytes}
	for _, word := range words {
		if flag := flags[word]; flag != nil {
			*flag = true
			continue
		}
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case name == "format":
			r.format = value
		case name == "enum":
			r.enum = strings.Split(value, ",")
		case name == "listMapKey":
			r.key = value
		case numbers[name] != nil && err == nil:
			*numbers[name] = int(n)
		case name == "minimum" && err == nil:
			r.minimum = &n
		case name == "maximum" && err == nil:
			r.maximum = &n
		default:
			panic("declared: unknown rule " + word)
		}
	}
	if r.format != "" && formats[r.format] == nil {
		panic("declared: unknown format " + r.format)
	}
	return r
}

// Create checks a new value, a pointer to a struct.
func (r Rules) Create(path *field.Path, value any) field.ErrorList {
	return r.fields(path, reflect.ValueOf(value).Elem(), reflect.Value{})
}

// Update checks what has changed in a value.
func (r Rules) Update(path *field.Path, value, old any) field.ErrorList {
	return r.fields(path, reflect.ValueOf(value).Elem(), reflect.ValueOf(old).Elem())
}

// fields checks a struct; old is not valid when there is none to compare with.
func (r Rules) fields(path *field.Path, v, old reflect.Value) field.ErrorList {
	var errs field.ErrorList
	table := r[v.Type().Name()]
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		var before reflect.Value
		if old.IsValid() {
			before = old.Field(i)
		}
		errs = append(errs, r.field(path.Child(name), table[name], v.Field(i), before)...)
	}
	return append(errs, union(path, table, v, old)...)
}

// field checks one field, unless it is as it was: objects that broke a rule
// before it was made may stay.
func (r Rules) field(path *field.Path, rule Rule, v, old reflect.Value) field.ErrorList {
	if old.IsValid() && same(v, old) {
		return nil
	}
	var errs field.ErrorList
	if old.IsValid() {
		if rule.immutable {
			return append(field.ErrorList{field.Invalid(path, nil, "field is immutable")}, rule.presence(path, v)...)
		}
		errs = rule.transition(path, v, old)
	}
	if absent := rule.presence(path, v); len(absent) > 0 || v.Kind() != reflect.Struct && unset(v) {
		return append(errs, absent...)
	}
	errs = append(errs, rule.value(path, v)...)
	return append(errs, r.within(path, rule, v, old)...)
}

// presence checks that a value is there, and a list not too long: otherwise
// nothing more is said of it.
func (r *Rule) presence(path *field.Path, v reflect.Value) field.ErrorList {
	switch {
	case v.Kind() != reflect.Struct && unset(v):
		if r.required {
			return field.ErrorList{field.Required(path, "")}
		}
	case v.Kind() == reflect.Slice && r.maxItems > 0 && v.Len() > r.maxItems:
		return field.ErrorList{field.TooMany(path, v.Len(), r.maxItems)}
	}
	return nil
}

// within goes into structs and lists of structs.
func (r Rules) within(path *field.Path, rule Rule, v, old reflect.Value) field.ErrorList {
	switch v.Kind() {
	case reflect.Pointer:
		if old.IsValid() && old.IsNil() {
			return r.within(path, rule, v.Elem(), reflect.Value{})
		}
		if old.IsValid() {
			old = old.Elem()
		}
		return r.within(path, rule, v.Elem(), old)
	case reflect.Struct:
		if r[v.Type().Name()] != nil {
			return r.fields(path, v, old)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct && r[v.Type().Elem().Name()] != nil {
			return r.items(path, rule, v, old)
		}
	}
	return nil
}

func (r Rules) items(path *field.Path, rule Rule, v, old reflect.Value) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range v.Len() {
		key := keyOf(v.Index(i), rule.key)
		if rule.key != "" && seen[key] {
			errs = append(errs, field.Duplicate(path.Index(i), v.Index(i).Interface()))
		}
		seen[key] = true
	}
	for i := range v.Len() {
		item := v.Index(i)
		var before reflect.Value
		if old.IsValid() {
			before = find(old, rule.key, item)
		}
		if before.IsValid() && same(item, before) {
			continue
		}
		errs = append(errs, r.fields(path.Index(i), item, before)...)
	}
	return errs
}

// find is the item of a list that has the same key or, in a list without
// keys, the same value.
func find(list reflect.Value, key string, item reflect.Value) reflect.Value {
	for i := range list.Len() {
		o := list.Index(i)
		if key != "" && keyOf(o, key) == keyOf(item, key) || key == "" && same(o, item) {
			return o
		}
	}
	return reflect.Value{}
}

func keyOf(item reflect.Value, key string) string {
	for i := range item.NumField() {
		if name, _, _ := strings.Cut(item.Type().Field(i).Tag.Get("json"), ","); name == key && key != "" {
			return fmt.Sprint(item.Field(i).Interface())
		}
	}
	return ""
}

// union requires one of the members to be given. Which members are given is
// only looked at again when it has changed.
func union(path *field.Path, table map[string]Rule, v, old reflect.Value) field.ErrorList {
	var names, given, before []string
	atMostOne := false
	for _, name := range slices.Sorted(maps.Keys(table)) {
		rule := table[name]
		if !rule.member && !rule.atMostOne {
			continue
		}
		atMostOne = atMostOne || rule.atMostOne
		names = append(names, "`"+name+"`")
		if !unset(byName(v, name)) {
			given = append(given, "`"+name+"`")
		}
		if old.IsValid() && !unset(byName(old, name)) {
			before = append(before, "`"+name+"`")
		}
	}
	switch {
	case len(names) == 0 || old.IsValid() && slices.Equal(given, before):
		return nil
	case len(given) == 0 && !atMostOne:
		return field.ErrorList{field.Invalid(path, "", "must specify one of: "+strings.Join(names, ", "))}
	case len(given) > 1:
		return field.ErrorList{field.Invalid(path, "{"+strings.Join(given, ", ")+"}", "must specify exactly one of: "+strings.Join(names, ", "))}
	}
	return nil
}

func byName(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if n, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); n == name {
			return v.Field(i)
		}
	}
	panic("declared: " + v.Type().Name() + " has no field " + name)
}

func same(a, b reflect.Value) bool {
	return apiequality.Semantic.DeepEqual(a.Interface(), b.Interface())
}

func unset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	return v.IsZero()
}

// Missing lists what a table declares and the types do not have; a test of
// each table asks for it.
func (r Rules) Missing(types ...any) []string {
	known := map[string]reflect.Type{}
	for _, t := range types {
		collect(known, reflect.TypeOf(t))
	}
	var missing []string
	for name, fields := range r {
		t := known[name]
		if t == nil {
			missing = append(missing, name)
			continue
		}
		for f := range fields {
			if !hasField(t, f) {
				missing = append(missing, name+"."+f)
			}
		}
	}
	slices.Sort(missing)
	return missing
}

func collect(known map[string]reflect.Type, t reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || known[t.Name()] != nil {
		return
	}
	known[t.Name()] = t
	for i := range t.NumField() {
		collect(known, t.Field(i).Type)
	}
}

func hasField(t reflect.Type, name string) bool {
	for i := range t.NumField() {
		if n, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); n == name {
			return true
		}
	}
	return false
}
