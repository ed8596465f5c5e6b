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
}

func newModels() *models {
	return &models{definitions.Load(), map[string]map[string]any{}}
}

// name is the definition of a kind, "" when there is none.
func (m *models) name(gvk schema.GroupVersionKind) string {
	n, _ := m.Kind(gvk)
	return n
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
	return m.Closure(roots...)
}

// kinds is a definition's extension that names its kinds.
func (m *models) kinds(name string) []any {
	var out []any
	for _, gvk := range m.KindsOf(name) {
		out = append(out, kindMap(gvk))
	}
	return out
}

func kindMap(gvk schema.GroupVersionKind) map[string]any {
	return map[string]any{"group": gvk.Group, "kind": gvk.Kind, "version": gvk.Version}
}
