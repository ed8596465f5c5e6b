// Package chart renders the Helm chart of this module without Helm, so that
// the bootstrap tool installs what `helm install` would. It knows the part of
// Helm's language that the chart keeps to; a test renders the chart by both.
package chart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// Release is the name under which a chart is installed.
type Release struct {
	Name, Namespace string
}

// Render gives the chart's objects in the order of their templates' names.
// Values are laid over the chart's own.
func Render(files fs.FS, r Release, values map[string]any) ([]map[string]any, error) {
	var meta struct {
		Name       string `json:"name"`
		Version    string `json:"version"`
		AppVersion string `json:"appVersion"`
	}
	if err := readYAML(files, "Chart.yaml", &meta); err != nil {
		return nil, err
	}
	var own map[string]any
	if err := readYAML(files, "values.yaml", &own); err != nil {
		return nil, err
	}
	if err := known(own, values, "values"); err != nil {
		return nil, err
	}
	data := map[string]any{
		"Values":  overlay(own, values),
		"Chart":   map[string]any{"Name": meta.Name, "Version": meta.Version, "AppVersion": meta.AppVersion},
		"Release": map[string]any{"Name": r.Name, "Namespace": r.Namespace, "Service": "Helm"},
	}
	t, names, err := parse(files)
	if err != nil {
		return nil, err
	}
	var objects []map[string]any
	for _, name := range names {
		var out bytes.Buffer
		if err := t.ExecuteTemplate(&out, name, data); err != nil {
			return nil, fmt.Errorf("render the chart: %w", err)
		}
		docs, err := documents(out.Bytes())
		if err != nil {
			return nil, fmt.Errorf("chart template %s: %w", name, err)
		}
		objects = append(objects, docs...)
	}
	return objects, nil
}

// parse reads all templates; names are those that make objects.
func parse(files fs.FS) (*template.Template, []string, error) {
	t := template.New("").Option("missingkey=error")
	t.Funcs(functions(t))
	entries, err := fs.ReadDir(files, "templates")
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, e := range entries {
		raw, err := fs.ReadFile(files, path.Join("templates", e.Name()))
		if err != nil {
			return nil, nil, err
		}
		if _, err := t.New(e.Name()).Parse(string(raw)); err != nil {
			return nil, nil, fmt.Errorf("chart template: %w", err)
		}
		if !strings.HasPrefix(e.Name(), "_") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return t, names, nil
}

// functions are Helm's, by their names there.
func functions(t *template.Template) template.FuncMap {
	indent := func(n int, s string) string {
		pad := strings.Repeat(" ", n)
		return pad + strings.ReplaceAll(s, "\n", "\n"+pad)
	}
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out bytes.Buffer
			err := t.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"toYaml": func(v any) (string, error) {
			raw, err := sigsyaml.Marshal(v)
			return strings.TrimSuffix(string(raw), "\n"), err
		},
		"indent":  indent,
		"nindent": func(n int, s string) string { return "\n" + indent(n, s) },
		"quote":   func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"default": func(otherwise, v any) any {
			if ok, _ := template.IsTrue(v); ok {
				return v
			}
			return otherwise
		},
		"list": func(v ...any) []any { return v },
		"dict": func(pairs ...any) (map[string]any, error) {
			m := map[string]any{}
			for i := 0; i+1 < len(pairs); i += 2 {
				k, ok := pairs[i].(string)
				if !ok {
					return nil, fmt.Errorf("dict: key %v is no text", pairs[i])
				}
				m[k] = pairs[i+1]
			}
			return m, nil
		},
	}
}

func documents(text []byte) ([]map[string]any, error) {
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	var out []map[string]any
	for {
		var obj map[string]any
		err := d.Decode(&obj)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(obj) > 0 {
			out = append(out, obj)
		}
	}
}

func readYAML(files fs.FS, name string, into any) error {
	raw, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	if err := sigsyaml.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("chart's %s: %w", name, err)
	}
	return nil
}

// known refuses values that no template reads: a misspelt one would be
// ignored. A value that is an empty map in the chart takes anything.
func known(own, given map[string]any, at string) error {
	for _, k := range slices.Sorted(maps.Keys(given)) {
		o, ok := own[k]
		if !ok {
			return fmt.Errorf("%s.%s: the chart has no such value", at, k)
		}
		om, isMap := o.(map[string]any)
		gm, givenMap := given[k].(map[string]any)
		if isMap && givenMap && len(om) > 0 {
			if err := known(om, gm, at+"."+k); err != nil {
				return err
			}
		}
	}
	return nil
}

func overlay(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	for k, v := range over {
		b, isMap := out[k].(map[string]any)
		if o, ok := v.(map[string]any); ok && isMap {
			out[k] = overlay(b, o)
			continue
		}
		out[k] = v
	}
	return out
}

// Adopt marks objects as a release's own, as Helm does: a later `helm upgrade
// --install` takes them over instead of refusing.
func Adopt(objects []map[string]any, r Release) {
	for _, o := range objects {
		meta, ok := o["metadata"].(map[string]any)
		if !ok {
			continue
		}
		a, ok := meta["annotations"].(map[string]any)
		if !ok {
			a = map[string]any{}
			meta["annotations"] = a
		}
		a["meta.helm.sh/release-name"], a["meta.helm.sh/release-namespace"] = r.Name, r.Namespace
	}
}
