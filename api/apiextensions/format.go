package apiextensions

import (
	"reflect"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// stringFormats are the formats that texts are checked against, and password,
// which any text has. Dashes do not count: "date-time" is "datetime".
var stringFormats = strings.Fields(`bsonobjectid uri email hostname ipv4 ipv6 cidr mac uuid uuid3 uuid4 uuid5 isbn isbn10 isbn13
	creditcard ssn hexcolor rgbcolor byte password date duration datetime k8sshortname k8slongname`)

var numberFormats = []string{"int32", "int64", "float", "double"}

// unknownFormats warns of formats that are stored and not checked.
func unknownFormats(d *apiextensionsv1.CustomResourceDefinition) []string {
	var warnings []string
	for i := range d.Spec.Versions {
		if s := d.Spec.Versions[i].Schema; s != nil && s.OpenAPIV3Schema != nil {
			warnings = addUnknownFormats(warnings, s.OpenAPIV3Schema)
		}
	}
	return warnings
}

func addUnknownFormats(warnings []string, s *schema) []string {
	if s.Format != "" && !knownFormat(s) {
		if w := `unrecognized format "` + s.Format + `"`; !slices.Contains(warnings, w) {
			warnings = append(warnings, w)
		}
	}
	walk(nil, s, func(_ *field.Path, s *schema) {
		warnings = addUnknownFormats(warnings, s)
	})
	return warnings
}

func knownFormat(s *schema) bool {
	number := slices.Contains(numberFormats, s.Format)
	text := slices.Contains(stringFormats, strings.ReplaceAll(s.Format, "-", ""))
	switch s.Type {
	case "integer", "number":
		return number
	case "string":
		return text
	}
	return s.Type == "" && (number || text)
}

func isEmpty(s *schema) bool { return reflect.ValueOf(s).Elem().IsZero() }
