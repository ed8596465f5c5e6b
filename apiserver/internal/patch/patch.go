// Package patch changes objects by JSON patches, JSON merge patches and
// strategic merge patches. Server-side apply is package fieldmanager's.
//
// A patch is applied to the object's form at the version of the request, and
// the outcome is decoded as strictly as a request body. Everything here is
// pure. Errors are statuses, or plain errors that are to be a 500 without a
// reason, as Kubernetes answers them.
package patch

import (
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/codec"
	"xebec.dev/api/scheme"
)

// Apply patches a stored object as it is served, without changing live. The
// result is of the storage type and defaulted; warnings are what
// fieldValidation (Ignore, Warn, Strict or "", which is Warn) found.
func Apply(t types.PatchType, served scheme.Served, live scheme.Object, body []byte, fieldValidation string) (scheme.Object, []string, error) {
	res := resource{served}
	target := Target{Kind: res.kind(served.At), New: res.newAt(served.At), Others: res.others}
	var versioned runtime.Object = live
	if served.At.Encode != nil {
		var err error
		if versioned, err = served.At.Encode(live); err != nil {
			return nil, nil, err
		}
	}
	out, warnings, err := Object(t, target, versioned, body, fieldValidation)
	if err != nil {
		return nil, nil, err
	}
	obj, err := res.stored(out)
	return obj, warnings, err
}

// Target says what the patched object has to be.
type Target struct {
	Kind schema.GroupVersionKind
	New  func() runtime.Object
	// Others gives a constructor for other versions of the kind that a patch
	// may turn the object into; nil means none.
	Others func(gvk schema.GroupVersionKind) func() runtime.Object
}

// Object patches any object of a target's kind, such as a Scale. live is not
// changed. The result has its kind set and is not defaulted.
func Object(t types.PatchType, target Target, live runtime.Object, body []byte, fieldValidation string) (runtime.Object, []string, error) {
	if !json.Valid(body) {
		return nil, nil, apierrors.NewBadRequest("invalid JSON patch")
	}
	strict := fieldValidation != metav1.FieldValidationIgnore
	o := operation{target: target, body: body, strict: strict}
	var outcome *outcome
	var err error
	switch t {
	case types.JSONPatchType, types.MergePatchType:
		outcome, err = o.onJSON(t, live)
	case types.StrategicMergePatchType:
		outcome, err = o.onMap(live)
	default:
		return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("%v: unimplemented patch type", t))
	}
	if err != nil {
		return nil, nil, err
	}
	if fieldValidation == metav1.FieldValidationStrict && len(outcome.problems) > 0 {
		return nil, nil, outcome.invalid(runtime.NewStrictDecodingError(outcome.problems))
	}
	return outcome.obj, codec.Warnings(outcome.problems), nil
}

// operation is one patch being applied.
type operation struct {
	target Target
	body   []byte
	strict bool
}

// outcome is a decoded result.
type outcome struct {
	obj runtime.Object
	// problems are unknown and duplicate fields, of the patch first.
	problems []error
	// shown is what an error shows of the patch or its result.
	shown string
}

// invalid is Kubernetes' status for a patched object that does not decode: of
// no kind and no name.
func (o *outcome) invalid(err error) error {
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{
		field.Invalid(field.NewPath("patch"), o.shown, err.Error()),
	})
}
