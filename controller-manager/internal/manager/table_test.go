package manager

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"xebec.dev/controller-manager/internal/control"
)

var update = flag.Bool("update", false, "write controllers.md")

const document = "../../controllers.md"

// TestTable: names are unique, no field has two writers, and controllers.md
// shows what the table says.
func TestTable(t *testing.T) {
	names, writers := map[string]string{}, map[string]string{}
	for _, s := range Table() {
		for _, n := range []string{s.Name, s.Alias} {
			if other, ok := names[n]; ok && n != "" {
				t.Errorf("%s and %s are both called %s", s.Name, other, n)
			}
			names[n] = s.Name
		}
		if s.ServiceAccount == "" || s.EventSource == "" || len(s.Reads) == 0 || s.New == nil {
			t.Errorf("%s: ServiceAccount, EventSource, Reads and New are required", s.Name)
		}
		for _, w := range s.Writes {
			if !strings.Contains(w, ":") {
				continue
			}
			if other, ok := writers[w]; ok {
				t.Errorf("%s and %s both write %s", s.Name, other, w)
			}
			writers[w] = s.Name
		}
	}
	want := render(Table())
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(document)
	if err != nil || string(have) != want {
		t.Errorf("controllers.md is not what the table says (go test -update writes it): %v", err)
	}
}

func render(table []control.Spec) string {
	var b strings.Builder
	b.WriteString("# Controllers\n\nWritten by `go test ./internal/manager -update` from the table.\n\n")
	b.WriteString("| name | also | service account | events from | reads | writes |\n|---|---|---|---|---|---|\n")
	for _, s := range table {
		name := s.Name
		if s.OffByDefault {
			name += " (off by default)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", name, s.Alias, s.ServiceAccount, s.EventSource, strings.Join(s.Reads, ", "), strings.Join(s.Writes, ", "))
	}
	return b.String()
}

func TestChoose(t *testing.T) {
	table := []control.Spec{{Name: "a-controller", Alias: "a"}, {Name: "b-controller", Alias: "b", OffByDefault: true}, {Name: "c-controller"}}
	for _, c := range []struct{ words, want string }{
		{"*", "a-controller c-controller"},
		{"*,b", "a-controller b-controller c-controller"},
		{"*,b-controller,-a", "b-controller c-controller"},
		{"c-controller", "c-controller"},
		{"-a,a", ""},
		{"*,service", "a-controller c-controller"},
		{"nobody", "error: \"nobody\" is not in the list of known controllers"},
	} {
		got, err := choose(table, strings.Split(c.words, ","))
		var names []string
		for _, s := range got {
			names = append(names, s.Name)
		}
		text := strings.Join(names, " ")
		if err != nil {
			text = "error: " + err.Error()
		}
		if text != c.want {
			t.Errorf("--controllers=%s: %s, want %s", c.words, text, c.want)
		}
	}
}
