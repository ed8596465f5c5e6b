package declared

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

type box struct {
	Name  string   `json:"name"`
	Size  *int32   `json:"size,omitempty"`
	Words []string `json:"words,omitempty"`
	Items []thing  `json:"items,omitempty"`
	A     *thing   `json:"a,omitempty"`
	B     *thing   `json:"b,omitempty"`
	Kept  string   `json:"kept,omitempty"`
}

type thing struct {
	Name string `json:"name"`
	Once *int64 `json:"once,omitempty"`
}

var table = Parse(`
box
  name:  required format=k8s-short-name maxLength=5
  size:  minimum=1 maximum=9 monotonic
  words: maxItems=2 minItems=1
  items: listMapKey=name update=NoAddItem
  a:     zeroOrOneOfMember
  b:     zeroOrOneOfMember
  kept:  immutable
thing
  name: required
  once: update=NoModify update=NoUnset
`)

func number[T int32 | int64](n T) *T { return &n }

func TestRules(t *testing.T) {
	fine := box{Name: "n", Size: number(int32(3)), Items: []thing{{Name: "i", Once: number(int64(1))}}, Kept: "k"}
	for _, c := range []struct {
		name   string
		change func(b *box)
		update bool
		want   []string
	}{
		{name: "fine", change: func(b *box) {}},
		{name: "required", change: func(b *box) { b.Name = "" }, want: []string{"x.name: Required value"}},
		{name: "too long", change: func(b *box) { b.Name = "abcdef" }, want: []string{"x.name: Too long: may not be more than 5 characters"}},
		{name: "numbers", change: func(b *box) { b.Size = number(int32(10)) }, want: []string{"x.size: Invalid value: 10: must be less than or equal to 9"}},
		{name: "many", change: func(b *box) { b.Words = []string{"a", "b", "c"} }, want: []string{"x.words: Too many: 3: must have at most 2 items"}},
		{name: "within items", change: func(b *box) { b.Items = append(b.Items, thing{}, thing{Name: "i"}) }, want: []string{
			`x.items[2]: Duplicate value: {"name":"i"}`, "x.items[1].name: Required value"}},
		{name: "both", change: func(b *box) { b.A, b.B = &thing{Name: "a"}, &thing{} }, want: []string{
			"x.b.name: Required value", "x: Invalid value: \"{`a`, `b`}\": must specify exactly one of: `a`, `b`"}},
		{name: "immutable", update: true, change: func(b *box) { b.Kept = "" }, want: []string{"x.kept: Invalid value: null: field is immutable"}},
		{name: "monotonic", update: true, change: func(b *box) { b.Size = number(int32(2)) }, want: []string{"x.size: Invalid value: 2: may not be decreased from 3"}},
		{name: "once", update: true, change: func(b *box) { b.Items = []thing{{Name: "i", Once: number(int64(2))}} },
			want: []string{"x.items[0].once: Invalid value: null: field cannot be modified once set"}},
		{name: "unset", update: true, change: func(b *box) { b.Items = []thing{{Name: "i"}} },
			want: []string{"x.items[0].once: Invalid value: null: field cannot be cleared once set"}},
		{name: "added", update: true, change: func(b *box) { b.Items = []thing{b.Items[0], {Name: "j"}} },
			want: []string{"x.items[1]: Forbidden: item may not be added"}},
	} {
		b := fine
		c.change(&b)
		errs := table.Create(field.NewPath("x"), &b)
		if c.update {
			errs = table.Update(field.NewPath("x"), &b, &fine)
		}
		var got []string
		for _, e := range errs {
			got = append(got, e.Error())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// What was wrong before may stay.
func TestUnchanged(t *testing.T) {
	bad := box{Items: []thing{{}, {Name: "a"}}}
	next := box{Items: []thing{{}, {Name: "a", Once: number(int64(1))}}}
	if errs := table.Update(field.NewPath("x"), &next, &bad); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{"t\n a: requird", "t\n a: maxItems=x", "t\n a: format=k8s-tall-name"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is understood", text)
				}
			}()
			Parse(text)
		}()
	}
	if got := Parse("box\n name: required\n nope: required\nother\n").Missing(box{}); !slices.Equal(got, []string{"box.nope", "other"}) {
		t.Errorf("missing %q", got)
	}
}
