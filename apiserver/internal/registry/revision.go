package registry

import (
	"errors"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type gr = schema.GroupResource

// parseRevision reads a resourceVersion parameter; its error is the field
// error that Kubernetes prints.
func parseRevision(v string) (int64, error) {
	n, err := strconv.ParseUint(v, 10, 63)
	if err == nil {
		return int64(n), nil
	}
	var num *strconv.NumError
	if errors.As(err, &num) {
		err = num.Err
	}
	return 0, field.Invalid(field.NewPath("resourceVersion"), v, fmt.Sprintf("strconv.ParseUint: parsing %q: %v", v, err))
}

// listVersion is parseRevision for lists, which answer 400.
func listVersion(v string) (int64, error) {
	n, err := parseRevision(v)
	if err != nil {
		return 0, apierrors.NewBadRequest("invalid resource version: " + err.Error())
	}
	return n, nil
}

// plainVersion is parseRevision for gets and watches, which answer 500
// without a reason.
func plainVersion(v string) (int64, error) {
	n, err := parseRevision(v)
	if err != nil {
		return 0, plain500("%v", err)
	}
	return n, nil
}
