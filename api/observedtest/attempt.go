package observedtest

import (
	"encoding/json"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// Attempt is one create or update of a validation table: Old and then a merge
// patch make the update; Want are "field: message" lines, all of them.
type Attempt struct {
	Name string
	// Old is the object before, as JSON; empty is a create of Patch alone.
	Old string
	// Patch is a merge patch of Old, or the object to create.
	Patch string
	// Subresource to patch; "" is the main resource.
	Subresource string
	Want        []string
	Warnings    []string
}

// Attempts runs a table against one resource. Base, when given, is what each
// Old or created object is merged over.
func Attempts(t *testing.T, r scheme.Resource, base string, table []Attempt) {
	t.Helper()
	s := scheme.New([]scheme.Resource{r})
	for _, a := range table {
		t.Run(a.Name, func(t *testing.T) {
			t.Helper()
			m := memory{scheme: s, objects: map[string]runtime.Object{}}
			served := scheme.Served{Resource: &r}
			first := a.Patch
			if a.Old != "" {
				first = a.Old
			}
			got := m.attempt(t, served, "", parse(t, first), parse(t, base), nil)
			if a.Old != "" {
				if got.code != 201 {
					t.Fatalf("the old object is refused: %v", lines(got))
				}
				old := got.body.(runtime.Object)
				got = m.attempt(t, served, a.Subresource, parse(t, a.Patch), toJSON(old), old)
			}
			if want, have := toJSON(orEmpty(a.Want)), toJSON(orEmpty(lines(got))); !equalScalar(want, have) {
				t.Errorf("refusals\n  %s\nwant\n  %s", brief(have), brief(want))
			}
			if got.code < 300 && !equalScalar(toJSON(orEmpty(a.Warnings)), toJSON(orEmpty(got.warnings))) {
				t.Errorf("warnings %q, want %q", got.warnings, a.Warnings)
			}
		})
	}
}

func (m *memory) attempt(t *testing.T, r scheme.Served, sub string, patch, base any, old runtime.Object) *answer {
	t.Helper()
	obj, err := decode(r, mergePatch(base, patch))
	if err != nil {
		t.Fatal(err)
	}
	if old != nil {
		return m.update(r, sub, obj, old, &Step{})
	}
	if meta := obj.(metav1.Object); meta.GetName() == "" {
		meta.SetName("x")
	}
	return m.create(r, obj, &Step{})
}

func parse(t *testing.T, text string) any {
	t.Helper()
	if text == "" {
		return map[string]any{}
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func lines(a *answer) []string {
	s, ok := a.body.(*metav1.Status)
	if !ok {
		return nil
	}
	var out []string
	for _, c := range s.Details.Causes {
		out = append(out, c.Field+": "+c.Message)
	}
	return out
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
