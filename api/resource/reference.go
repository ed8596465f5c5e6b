package resource

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

func (n requestNames) has(reference string) bool {
	request, sub, ok := strings.Cut(reference, "/")
	subs, known := n[request]
	return known && (!ok || subs[sub])
}

func validateReference(reference string, names requestNames, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	parts := strings.Split(reference, "/")
	if len(parts) <= 2 {
		for _, p := range parts {
			errs = append(errs, check.Label(path, p)...)
		}
		if names.has(reference) {
			return errs
		}
	}
	return append(errs, field.Invalid(path, reference, "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"))
}
