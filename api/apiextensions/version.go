package apiextensions

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// maxWarning bounds a deprecation warning, in bytes: it is sent as a header.
const maxWarning = 256

func validateDeprecation(path *field.Path, v *apiextensionsv1.CustomResourceDefinitionVersion) field.ErrorList {
	if v.DeprecationWarning == nil {
		return nil
	}
	warning := *v.DeprecationWarning
	var faults []string
	if !v.Deprecated {
		faults = append(faults, "can only be set for deprecated versions")
	}
	if fault := warningFault(warning); fault != "" {
		faults = append(faults, fault)
	}
	return check.Messages(path, warning, faults)
}

func warningFault(warning string) string {
	switch {
	case warning == "":
		return "must not be an empty string"
	case len(warning) > maxWarning:
		return fmt.Sprintf("must be <= %d characters, was %d", maxWarning, len(warning))
	case !utf8.ValidString(warning):
		return "must only contain UTF-8 characters"
	}
	for i, r := range warning {
		if !unicode.IsPrint(r) {
			return fmt.Sprintf("must only contain printable UTF-8 characters; non-printable character found at index %d", i)
		}
	}
	return ""
}

var (
	columnTypes   = []string{"boolean", "date", "integer", "number", "string"}
	columnFormats = []string{"byte", "date", "date-time", "double", "float", "int32", "int64", "password"}
)

func validateColumn(path *field.Path, c *apiextensionsv1.CustomResourceColumnDefinition) field.ErrorList {
	errs := check.Required(path.Child("name"), c.Name)
	if c.Type == "" {
		errs = append(errs, field.Required(path.Child("type"), "must be one of "+strings.Join(columnTypes, ",")))
	} else if !slices.Contains(columnTypes, c.Type) {
		errs = append(errs, field.Invalid(path.Child("type"), c.Type, "must be one of "+strings.Join(columnTypes, ",")))
	}
	if c.Format != "" && !slices.Contains(columnFormats, c.Format) {
		errs = append(errs, field.Invalid(path.Child("format"), c.Format, "must be one of "+strings.Join(columnFormats, ",")))
	}
	if c.JSONPath == "" {
		return append(errs, field.Required(path.Child("JSONPath"), ""))
	}
	return append(errs, validatePath(path.Child("JSONPath"), c.JSONPath)...)
}

// validatePath requires a path like ".spec.replicas".
func validatePath(path *field.Path, text string) field.ErrorList {
	if text[0] != '.' {
		return field.ErrorList{field.Invalid(path, text, "must be a simple json path starting with .")}
	}
	if fault := pathFault(text); fault != "" {
		return field.ErrorList{field.Invalid(path, text, "must be a simple json path: "+fault)}
	}
	return nil
}

// pathFault says what is wrong with the brackets of a path.
func pathFault(text string) string {
	inside, quote := false, byte(0)
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote && text[i-1] != '\\' {
				quote = 0
			}
		case inside && (c == '\'' || c == '"'):
			quote = c
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		}
	}
	if inside || quote != 0 {
		return "unterminated array"
	}
	return ""
}

func validateScale(path *field.Path, s *apiextensionsv1.CustomResourceSubresources) field.ErrorList {
	if s == nil || s.Scale == nil {
		return nil
	}
	errs := scalePath(path.Child("specReplicasPath"), s.Scale.SpecReplicasPath, ".spec", ".spec.")
	errs = append(errs, scalePath(path.Child("statusReplicasPath"), s.Scale.StatusReplicasPath, ".status", ".status.")...)
	if p := s.Scale.LabelSelectorPath; p != nil && *p != "" {
		errs = append(errs, scalePath(path.Child("labelSelectorPath"), *p, "either .spec or .status", ".spec.", ".status.")...)
	}
	return errs
}

// scalePath requires a path that begins with one of the prefixes.
func scalePath(path *field.Path, text, where string, prefixes ...string) field.ErrorList {
	if text == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	if errs := validatePath(path, text); len(errs) > 0 {
		return errs
	}
	for _, prefix := range prefixes {
		if strings.HasPrefix(text, prefix) {
			return nil
		}
	}
	return field.ErrorList{field.Invalid(path, text, "should be a json path under "+where)}
}
