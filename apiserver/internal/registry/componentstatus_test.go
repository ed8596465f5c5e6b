package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestComponents(t *testing.T) {
	says := func(err error) func(context.Context) error { return func(context.Context) error { return err } }
	r := &Registry{Options: Options{Components: []Component{
		{Name: "well", Check: says(nil)}, {Name: "unwell", Check: says(Unwell("refused"))}, {Name: "unasked", Check: says(errors.New("no store"))},
	}}}
	for selector, want := range map[string]string{
		"":                       "well True ok \"\"\nunwell False refused \"\"\nunasked False  \"no store\"\n",
		"metadata.name=unwell":   "unwell False refused \"\"\n",
		"metadata.namespace=abc": "",
	} {
		l, err := r.components(t.Context(), &metav1.ListOptions{FieldSelector: selector})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, o := range l.Objects {
			var c corev1.ComponentStatus
			if err := c.Unmarshal(o.Raw); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s %s %s %q\n", c.Name, c.Conditions[0].Status, c.Conditions[0].Message, c.Conditions[0].Error)
		}
		if b.String() != want {
			t.Errorf("%q: %s", selector, b.String())
		}
	}
}
