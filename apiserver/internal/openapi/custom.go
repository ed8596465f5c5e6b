package openapi

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// CustomKind is a kind of custom resource, which brings its own schema.
type CustomKind struct {
	Kind     schema.GroupVersionKind
	ListKind string
	Plural   string
	// Schema is the version's openAPIV3Schema as JSON; nil is none.
	Schema []byte
}

// model names a custom kind's definition: com.example.v1.Foo.
func (k *CustomKind) model(kind string) string {
	labels := strings.Split(k.Kind.Group, ".")
	slices.Reverse(labels)
	return strings.Join(append(labels, k.Kind.Version, kind), ".")
}

const (
	objectMetaModel = meta + "ObjectMeta"
	listMetaModel   = meta + "ListMeta"
	conventions     = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
)

// custom adds a custom kind, and its list, to the models.
func (m *models) custom(k *CustomKind) error {
	s := map[string]any{}
	if k.Schema != nil {
		if err := json.Unmarshal(k.Schema, &s); err != nil {
			return err
		}
	} else {
		s["type"], s["x-kubernetes-preserve-unknown-fields"] = "object", true
	}
	m.complete(s, true)
	name, list := k.model(k.Kind.Kind), k.model(k.ListKind)
	m.add(name, k.Kind, s)
	properties := m.typeMeta()
	properties["metadata"] = reference(listMetaModel, "Standard list metadata. More info: "+conventions+"#types-kinds")
	properties["items"] = map[string]any{
		"description": "List of " + k.Plural + ". More info: " + conventions,
		"type":        "array", "items": map[string]any{"$ref": definitionPrefix + name},
	}
	m.add(list, k.Kind.GroupVersion().WithKind(k.ListKind), map[string]any{
		"description": k.ListKind + " is a list of " + k.Kind.Kind, "type": "object",
		"required": []any{"items"}, "properties": properties,
	})
	return nil
}

func (m *models) add(name string, gvk schema.GroupVersionKind, s map[string]any) {
	m.decoded[name] = s
	m.customs[name] = gvk
	m.names[gvk] = name
}

func reference(model, description string) map[string]any {
	return map[string]any{"$ref": definitionPrefix + model, "description": description}
}

// typeMeta are the fields apiVersion and kind, as a built-in kind has them.
func (m *models) typeMeta() map[string]any {
	list, _ := m.schema(meta + "Status")["properties"].(map[string]any)
	return map[string]any{"apiVersion": list["apiVersion"], "kind": list["kind"]}
}

// complete adds what every object has: to the outermost, and to embedded
// resources below.
func (m *models) complete(s map[string]any, object bool) {
	properties, _ := s["properties"].(map[string]any)
	for _, p := range properties {
		if sub, ok := p.(map[string]any); ok {
			m.complete(sub, false)
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if sub, ok := s[key].(map[string]any); ok {
			m.complete(sub, false)
		}
	}
	if embedded, _ := s["x-kubernetes-embedded-resource"].(bool); !object && !embedded {
		return
	}
	if properties == nil {
		properties = map[string]any{}
		s["properties"] = properties
	}
	for name, p := range m.typeMeta() {
		properties[name] = p
	}
	properties["metadata"] = reference(objectMetaModel, "Standard object's metadata. More info: "+conventions+"#metadata")
}

// customToV2 takes out of a custom schema what OpenAPI v2, or its clients, do
// not understand. Where null is a value, or unknown fields are kept, clients
// would refuse what the server takes: nothing is said there.
func customToV2(s map[string]any) map[string]any {
	for _, key := range []string{"default", "oneOf", "anyOf", "allOf", "not"} {
		delete(s, key)
	}
	properties, _ := s["properties"].(map[string]any)
	if required, ok := s["required"].([]any); ok {
		required = slices.DeleteFunc(slices.Clone(required), func(name any) bool {
			field, _ := name.(string)
			p, ok := properties[field].(map[string]any)
			return ok && saysNothing(p)
		})
		if s["required"] = required; len(required) == 0 {
			delete(s, "required")
		}
	}
	if nullable, _ := s["nullable"].(bool); nullable {
		for _, key := range []string{"type", "items", "properties", "additionalProperties"} {
			delete(s, key)
		}
	}
	delete(s, "nullable")
	if unknown, _ := s["x-kubernetes-preserve-unknown-fields"].(bool); unknown {
		delete(s, "items")
		delete(s, "properties")
		if m, _ := properties["metadata"].(map[string]any); m["$ref"] == definitionPrefix+objectMetaModel {
			s["properties"] = map[string]any{"apiVersion": properties["apiVersion"], "kind": properties["kind"], "metadata": m}
		}
	}
	return s
}

// saysNothing is true of what is left of a schema of what may be null.
func saysNothing(s map[string]any) bool {
	for _, key := range []string{"type", "$ref", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"} {
		if s[key] != nil {
			return false
		}
	}
	return true
}
