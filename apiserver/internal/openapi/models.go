package openapi

import (
	"encoding/json"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	definitions "xebec.dev/api/openapi"
)

// models are the schemas, decoded as they are needed for one document.
type models struct {
	*definitions.Definitions
	decoded map[string]map[string]any
	// customs are the kinds of custom definitions, names the reverse.
	customs map[string]schema.GroupVersionKind
	names   map[schema.GroupVersionKind]string
}

func newModels(custom []CustomKind) (*models, error) {
	m := &models{
		Definitions: definitions.Load(), decoded: map[string]map[string]any{},
		customs: map[string]schema.GroupVersionKind{}, names: map[schema.GroupVersionKind]string{},
	}
	for i := range custom {
		if err := m.custom(&custom[i]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// name is the definition of a kind, "" when there is none.
func (m *models) name(gvk schema.GroupVersionKind) string {
	if n, ok := m.names[gvk]; ok {
		return n
	}
	n, _ := m.Kind(gvk)
	return n
}

// isCustom reports whether a definition is of a custom resource.
func (m *models) isCustom(name string) bool {
	_, ok := m.customs[name]
	return ok
}

// schema decodes a definition. Callers do not change the result.
func (m *models) schema(name string) map[string]any {
	if s, ok := m.decoded[name]; ok {
		return s
	}
	var s map[string]any
	if raw := m.Schema(name); raw != nil {
		if err := json.Unmarshal(raw, &s); err != nil {
			panic("openapi: definition of " + name + ": " + err.Error())
		}
	}
	m.decoded[name] = s
	return s
}

// parameters are the fields of an options kind as query parameters.
func (m *models) parameters(name string, without ...string) []parameter {
	properties, _ := m.schema(name)["properties"].(map[string]any)
	var out []parameter
	for field, v := range properties {
		s, _ := v.(map[string]any)
		typ, _ := s["type"].(string)
		if field == "kind" || field == "apiVersion" || typ == "" || slices.Contains(without, field) {
			continue
		}
		if typ == "array" {
			// Lists are given by repeating the parameter.
			typ = "string"
		}
		description, _ := s["description"].(string)
		out = append(out, parameter{name: field, in: "query", description: description, typ: typ})
	}
	return sorted(out)
}

// used are the definitions that paths speak of, and all that those need.
func (m *models) used(items []pathItem) []string {
	var roots []string
	for _, item := range items {
		for _, o := range item.operations {
			if o.body != nil && o.body.model != "" {
				roots = append(roots, o.body.model)
			}
			for _, r := range o.responses {
				if r.content != nil && r.content.model != "" {
					roots = append(roots, r.content.model)
				}
			}
		}
	}
	customs := []string{}
	for _, name := range roots {
		if m.isCustom(name) {
			customs = append(customs, name)
		}
	}
	if len(customs) == 0 {
		return m.Closure(roots...)
	}
	roots = slices.DeleteFunc(roots, m.isCustom)
	// Lists name their items, and all name one of these.
	for name := range m.customs {
		if !slices.Contains(customs, name) {
			customs = append(customs, name)
		}
	}
	all := append(m.Closure(append(roots, objectMetaModel, listMetaModel)...), customs...)
	slices.Sort(all)
	return slices.Compact(all)
}

// kinds is a definition's extension that names its kinds.
func (m *models) kinds(name string) []any {
	var out []any
	if gvk, ok := m.customs[name]; ok {
		return []any{kindMap(gvk)}
	}
	for _, gvk := range m.KindsOf(name) {
		out = append(out, kindMap(gvk))
	}
	return out
}

func kindMap(gvk schema.GroupVersionKind) map[string]any {
	return map[string]any{"group": gvk.Group, "kind": gvk.Kind, "version": gvk.Version}
}
