package patch

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"xebec.dev/api/codec"
)

// onMap applies a strategic merge patch to the object as a map: the struct's
// tags say how lists merge.
func (o *operation) onMap(live runtime.Object) (*outcome, error) {
	fields := map[string]any{}
	problems, err := codec.DecodeJSON(o.body, &fields, o.strict)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	// The merge uses up the patch.
	out := &outcome{shown: fmt.Sprintf("%+v", fields)}
	before, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return nil, err
	}
	obj := o.target.New()
	after, err := strategicpatch.StrategicMergeMapPatch(before, fields, obj)
	if err != nil {
		return nil, strategicError(err)
	}
	err = runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(after, obj, o.strict)
	strict, isStrict := runtime.AsStrictDecodingError(err)
	switch {
	case isStrict:
		problems = append(problems, strict.Errors()...)
	case err != nil:
		return nil, out.invalid(err)
	}
	// A strategic merge patch cannot change what the object is.
	obj.GetObjectKind().SetGroupVersionKind(o.target.Kind)
	out.obj, out.problems = obj, problems
	return out, nil
}

// badRequests are the merge's errors about the form of the patch.
var badRequests = []error{
	mergepatch.ErrBadJSONDoc,
	mergepatch.ErrBadPatchFormatForPrimitiveList,
	mergepatch.ErrBadPatchFormatForRetainKeys,
	mergepatch.ErrBadPatchFormatForSetElementOrderList,
	mergepatch.ErrUnsupportedStrategicMergePatchFormat,
}

func strategicError(err error) error {
	for _, bad := range badRequests {
		if errors.Is(err, bad) {
			return apierrors.NewBadRequest(err.Error())
		}
	}
	if errors.Is(err, mergepatch.ErrNoListOfLists) {
		return unprocessable(err)
	}
	return err
}
