package apiextensions

import (
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

func validateNames(path *field.Path, n *apiextensionsv1.CustomResourceDefinitionNames) field.ErrorList {
	errs := check.Required(path.Child("plural"), n.Plural)
	errs = append(errs, check.Required(path.Child("singular"), n.Singular)...)
	errs = append(errs, check.Required(path.Child("kind"), n.Kind)...)
	errs = append(errs, check.Required(path.Child("listKind"), n.ListKind)...)

	errs = append(errs, nameFaults(path.Child("plural"), n.Plural)...)
	errs = append(errs, nameFaults(path.Child("singular"), n.Singular)...)
	errs = append(errs, kindFaults(path.Child("kind"), n.Kind)...)
	errs = append(errs, kindFaults(path.Child("listKind"), n.ListKind)...)
	for i, name := range n.ShortNames {
		errs = append(errs, check.Messages(path.Child("shortNames").Index(i), name, validation.IsDNS1035Label(name))...)
	}
	if n.Kind != "" && n.Kind == n.ListKind {
		errs = append(errs, field.Invalid(path.Child("listKind"), n.ListKind, "kind and listKind may not be the same"))
	}
	for i, name := range n.Categories {
		errs = append(errs, check.Messages(path.Child("categories").Index(i), name, validation.IsDNS1035Label(name))...)
	}
	return errs
}

func nameFaults(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return nil
	}
	return check.Messages(path, name, validation.IsDNS1035Label(name))
}

func kindFaults(path *field.Path, kind string) field.ErrorList {
	if kind == "" {
		return nil
	}
	faults := validation.IsDNS1035Label(strings.ToLower(kind))
	if len(faults) == 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, kind, "may have mixed case, but should otherwise match: "+strings.Join(faults, ","))}
}
