package scheme

import (
	"math/rand/v2"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TestOrdinaryIsValid compares with the library: what is ordinary must be
// valid, and what people use must be ordinary.
func TestOrdinaryIsValid(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	alphabet := []string{"a", "Z", "0", "-", "_", ".", "/", "é", " ", "", "abcdefghij", strings.Repeat("x", 61), strings.Repeat("y.", 125)}
	ordinary := 0
	for range 50_000 {
		var key, value strings.Builder
		for range 1 + random.IntN(6) {
			key.WriteString(alphabet[random.IntN(len(alphabet))])
			value.WriteString(alphabet[random.IntN(len(alphabet))])
		}
		m := map[string]string{key.String(): value.String()}
		if ordinaryLabels(m) {
			ordinary++
			if errs := metavalidation.ValidateLabels(m, field.NewPath("labels")); len(errs) > 0 {
				t.Fatal(errs)
			}
		}
		if ordinaryAnnotations(m) {
			if errs := validation.ValidateAnnotations(m, field.NewPath("annotations")); len(errs) > 0 {
				t.Fatal(errs)
			}
		}
	}
	if ordinary < 1000 {
		t.Errorf("only %d label sets were ordinary", ordinary)
	}
	for _, key := range []string{"app", "app.kubernetes.io/name", "pod-template-hash", "x/Y_z.1", "a-b.c-d/e"} {
		if !ordinaryKey(key) {
			t.Errorf("%q is not ordinary", key)
		}
	}
	if ordinaryAnnotations(map[string]string{"a": strings.Repeat("v", annotationsSize)}) {
		t.Error("too many annotations are ordinary")
	}
}
