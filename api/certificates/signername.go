package certificates

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// legacyUnknown is the signer of certificates.k8s.io/v1beta1 requests that
// named none.
const legacyUnknown = "kubernetes.io/legacy-unknown"

// maxSignerName is a domain, a slash, and a DNS label before a subdomain.
const maxSignerName = validation.DNS1123SubdomainMaxLength + 1 + validation.DNS1123LabelMaxLength + 1 + validation.DNS1123SubdomainMaxLength

// ValidateSignerName requires a domain and a path: "example.com/signer-name".
func ValidateSignerName(path *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	domain, rest, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(rest, "/") {
		return field.ErrorList{field.Invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	var errs field.ErrorList
	if len(domain) > validation.DNS1123SubdomainMaxLength {
		errs = append(errs, field.TooLong(path, domain, validation.DNS1123SubdomainMaxLength))
	}
	errs = append(errs, validateParts(path, domain, validation.IsDNS1123Label)...)
	if !strings.Contains(domain, ".") {
		errs = append(errs, field.Invalid(path, domain, "should be a domain with at least two segments separated by dots"))
	}
	errs = append(errs, validateParts(path, rest, validation.IsDNS1123Subdomain)...)
	if len(name) > maxSignerName {
		errs = append(errs, field.TooLong(path, name, maxSignerName))
	}
	return errs
}

// validateParts checks what is between the dots, and stops at the first part
// that is wrong.
func validateParts(path *field.Path, text string, valid func(string) []string) field.ErrorList {
	for _, part := range strings.Split(text, ".") {
		messages := valid(part)
		if len(messages) == 0 {
			continue
		}
		var errs field.ErrorList
		for _, m := range messages {
			errs = append(errs, field.Invalid(path, text, fmt.Sprintf("validating label %q: %s", part, m)))
		}
		return errs
	}
	return nil
}
