package webhook

import (
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestValidateURL(t *testing.T) {
	for text, want := range map[string]int{
		"https://a": 0, "https://a:8443/b": 0, "http://a": 1, "https:///b": 1, "https://u@a": 1, "https://a#b": 1, "https://a?b": 1,
		"ftp://u@?b#c": 5, "://": 1,
	} {
		if errs := ValidateURL(field.NewPath("url"), text); len(errs) != want {
			t.Errorf("%s: %v, want %d errors", text, errs, want)
		}
	}
}

func TestValidateService(t *testing.T) {
	for path, want := range map[string]int{"": 0, "/": 0, "//": 1, "/a": 0, "/a/": 0, "/a//b": 1, "a": 2, "/A/B": 2} {
		if errs := ValidateService(field.NewPath("service"), "n", "s", &path, 443); len(errs) != want {
			t.Errorf("%s: %v, want %d errors", path, errs, want)
		}
	}
	if errs := ValidateService(field.NewPath("service"), "", "", nil, 0); len(errs) != 3 {
		t.Errorf("%v", errs)
	}
}
