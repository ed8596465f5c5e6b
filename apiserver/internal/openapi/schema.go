package openapi

import "strings"

const (
	definitionPrefix = "#/definitions/"
	componentPrefix  = "#/components/schemas/"
)

// rewrite copies a schema, and each schema in it, through f, which may change
// its copy and return another.
func rewrite(s map[string]any, f func(map[string]any) map[string]any) map[string]any {
	out := make(map[string]any, len(s))
	for key, v := range s {
		switch key {
		case "properties":
			out[key] = rewriteEach(v, f)
		case "items", "additionalProperties", "not":
			out[key] = rewriteAny(v, f)
		case "allOf", "oneOf", "anyOf":
			list, _ := v.([]any)
			copied := make([]any, len(list))
			for i, sub := range list {
				copied[i] = rewriteAny(sub, f)
			}
			out[key] = copied
		default:
			out[key] = v
		}
	}
	return f(out)
}

func rewriteEach(v any, f func(map[string]any) map[string]any) any {
	m, _ := v.(map[string]any)
	out := make(map[string]any, len(m))
	for name, sub := range m {
		out[name] = rewriteAny(sub, f)
	}
	return out
}

func rewriteAny(v any, f func(map[string]any) map[string]any) any {
	if m, ok := v.(map[string]any); ok {
		return rewrite(m, f)
	}
	return v
}

// toV3 points references at components. A reference with something beside it
// goes into an allOf: OpenAPI v3 ignores what stands beside a reference.
func toV3(s map[string]any) map[string]any {
	ref, ok := s["$ref"].(string)
	if !ok {
		return s
	}
	ref = componentPrefix + strings.TrimPrefix(ref, definitionPrefix)
	if len(s) == 1 {
		s["$ref"] = ref
		return s
	}
	delete(s, "$ref")
	s["allOf"] = []any{map[string]any{"$ref": ref}}
	return s
}

// toV2 takes out what OpenAPI v2 does not have: defaults, which its clients
// must not apply, and alternatives, where a string stands for all.
func toV2(s map[string]any) map[string]any {
	delete(s, "default")
	delete(s, "nullable")
	if _, ok := s["oneOf"]; ok {
		delete(s, "oneOf")
		s["type"] = "string"
	}
	delete(s, "anyOf")
	delete(s, "not")
	return s
}

// schemas are definitions in one form, with their kinds; custom ones may have
// a form of their own.
func (m *models) schemas(names []string, form, custom func(map[string]any) map[string]any) map[string]any {
	out := make(map[string]any, len(names))
	for _, name := range names {
		f := form
		if m.isCustom(name) {
			f = custom
		}
		s := rewrite(m.schema(name), f)
		if kinds := m.kinds(name); len(kinds) > 0 {
			s["x-kubernetes-group-version-kind"] = kinds
		}
		out[name] = s
	}
	return out
}
