// Package check has the small field checks that many kinds share. Each returns
// nil, without allocating, when the value is fine.
package check

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Immutable is the message about a field that may not change.
const Immutable = validation.FieldImmutableErrorMsg

// Messages makes one Invalid error of each message.
func Messages(p *field.Path, value any, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, m := range messages {
		errs = append(errs, field.Invalid(p, value, m))
	}
	return errs
}

// Subdomain requires a DNS subdomain.
func Subdomain(p *field.Path, value string) field.ErrorList {
	if subdomain(value) {
		return nil
	}
	return Messages(p, value, utilvalidation.IsDNS1123Subdomain(value))
}

// Label requires a DNS label.
func Label(p *field.Path, value string) field.ErrorList {
	if len(value) <= utilvalidation.DNS1123LabelMaxLength && label(value) {
		return nil
	}
	return Messages(p, value, utilvalidation.IsDNS1123Label(value))
}

// subdomain and label decide the common case without a regular expression.
func subdomain(s string) bool {
	if len(s) > utilvalidation.DNS1123SubdomainMaxLength {
		return false
	}
	for {
		part, rest, more := strings.Cut(s, ".")
		if !label(part) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

func label(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// QualifiedName requires a name with an optional DNS prefix: "example.com/Name".
func QualifiedName(p *field.Path, value string) field.ErrorList {
	return Messages(p, value, utilvalidation.IsQualifiedName(value))
}

// PathSegment requires a name that can stand in a URL path.
func PathSegment(p *field.Path, value string) field.ErrorList {
	return Messages(p, value, path.IsValidPathSegmentName(value))
}

// Required requires a text that is not empty.
func Required(p *field.Path, value string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return nil
}

// OneOf requires one of the values and lists them as given.
func OneOf[T ~string](p *field.Path, value T, supported ...T) field.ErrorList {
	if slices.Contains(supported, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(p, value, supported)}
}

// OneOfSorted is OneOf with the values listed in order.
func OneOfSorted[T ~string](p *field.Path, value T, supported ...T) field.ErrorList {
	if slices.Contains(supported, value) {
		return nil
	}
	sorted := slices.Clone(supported)
	slices.SortFunc(sorted, func(a, b T) int { return cmp.Compare(string(a), string(b)) })
	return field.ErrorList{field.NotSupported(p, value, sorted)}
}

// Unchanged requires that a field equals the old one, and prints the new value
// as given by show, or as it is when show is nil.
func Unchanged[T any](p *field.Path, now, old T, show func(any) json.Marshaler) field.ErrorList {
	if apiequality.Semantic.DeepEqual(now, old) {
		return nil
	}
	if show != nil {
		return field.ErrorList{field.Invalid(p, show(now), Immutable)}
	}
	return field.ErrorList{field.Invalid(p, now, Immutable)}
}

// CSIDriverName requires the name of a CSI driver: at most 63 bytes, a DNS
// subdomain in any case.
func CSIDriverName(p *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	if len(name) > 63 {
		errs = append(errs, field.TooLong(p, "", 63))
	}
	return append(errs, Messages(p, name, utilvalidation.IsDNS1123Subdomain(strings.ToLower(name)))...)
}
