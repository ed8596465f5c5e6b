package apiextensions

import (
	"fmt"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const maxSelectable = 8

func validateSelectable(path *field.Path, v *apiextensionsv1.CustomResourceDefinitionVersion) field.ErrorList {
	var errs field.ErrorList
	if n := len(v.SelectableFields); n > maxSelectable {
		errs = append(errs, field.TooMany(path, n, maxSelectable))
	}
	var root *schema
	if v.Schema != nil {
		root = v.Schema.OpenAPIV3Schema
	}
	seen := map[string]bool{}
	for i := range v.SelectableFields {
		text, p := v.SelectableFields[i].JSONPath, path.Index(i).Child("jsonPath")
		if text == "" {
			errs = append(errs, field.Required(p, ""))
			continue
		}
		found, names, err := resolve(root, text)
		switch {
		case err != nil:
			errs = append(errs, field.Invalid(p, text, "is an invalid path: "+err.Error()))
			continue
		case !selectableType(found):
			errs = append(errs, field.Invalid(p, text, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."))
		case names[0] == "metadata":
			errs = append(errs, field.Invalid(p, text, "must not point to fields in metadata"))
		}
		normal := strings.Join(names, "\x00")
		if seen[normal] {
			errs = append(errs, field.Duplicate(p, text))
		}
		seen[normal] = true
	}
	return errs
}

func selectableType(s *schema) bool {
	switch s.Type {
	case "string", "boolean", "integer":
		return true
	}
	return false
}

// resolve finds the schema of the field at a path like ".spec.color" or
// ".spec['color']", and the names on the way.
func resolve(s *schema, text string) (*schema, []string, error) {
	names, err := split(text)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		next := child(s, name)
		if next == nil {
			return nil, nil, fmt.Errorf("does not refer to a valid field")
		}
		s = next
	}
	return s, names, nil
}

func child(s *schema, name string) *schema {
	if s == nil || s.Type != "object" {
		return nil
	}
	if p, ok := s.Properties[name]; ok {
		return &p
	}
	if s.AdditionalProperties != nil {
		return s.AdditionalProperties.Schema
	}
	return nil
}

func split(text string) ([]string, error) {
	var names []string
	for rest := text; rest != ""; {
		switch rest[0] {
		case '.':
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			if end == 1 {
				return nil, fmt.Errorf("unexpected end of JSON path")
			}
			names, rest = append(names, rest[1:end]), rest[end:]
		case '[':
			if len(rest) < 2 || rest[1] != '\'' {
				return nil, fmt.Errorf("array notation is not allowed")
			}
			end := strings.Index(rest[2:], "']") + 2
			if end < 2 {
				return nil, fmt.Errorf("unexpected end of JSON path")
			}
			names, rest = append(names, strings.ReplaceAll(rest[2:end], `\'`, "'")), rest[end+2:]
		default:
			token := rest
			if end := strings.IndexAny(rest, ".["); end >= 0 {
				token = rest[:end]
			}
			return nil, fmt.Errorf("expected [ or . but got: %s", token)
		}
	}
	return names, nil
}
