package core_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/core"
	"xebec.dev/api/observedtest"
)

// The columns are those that kubectl's users know, and every row fills them.
func TestColumns(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(observedtest.Dir(), "static", "tables.json"))
	if err != nil {
		t.Fatal(err)
	}
	var tables map[string][]metav1.TableColumnDefinition
	if err := json.Unmarshal(text, &tables); err != nil {
		t.Fatal(err)
	}
	for _, r := range core.Resources() {
		want, ok := tables["api/v1/"+r.Plural]
		if !ok || r.Columns == nil && len(want) == 2 {
			continue // Name and Created At
		}
		if len(r.Columns) != len(want) {
			t.Errorf("%s: %d columns, want %d", r.Plural, len(r.Columns), len(want))
			continue
		}
		for i, c := range r.Columns {
			if c.Description == "" {
				t.Errorf("%s: column %s has no description", r.Plural, c.Name)
			}
			c.Description, want[i].Description = "", ""
			if c != want[i] {
				t.Errorf("%s: column %+v, want %+v", r.Plural, c, want[i])
			}
		}
		if cells := r.Row(r.New(), metav1.Now()); len(cells) != len(want) {
			t.Errorf("%s: %d cells, want %d", r.Plural, len(cells), len(want))
		}
	}
}
