package patch

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/codec"
)

const (
	// maxOperations of one JSON patch.
	maxOperations = 10000
	// maxCopied is how many bytes the copy operations of one JSON patch may
	// add up to: a chain of copies doubles the document at every step.
	maxCopied = 3 << 20
)

// limitCopies sets what the library keeps in a global.
var limitCopies = sync.OnceFunc(func() { jsonpatch.AccumulatedCopySizeLimit = maxCopied })

// onJSON applies a JSON patch or a merge patch to the object's JSON.
func (o *operation) onJSON(t types.PatchType, live runtime.Object) (*outcome, error) {
	live = withKind(live, o.target.Kind)
	before, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	apply := o.mergePatch
	if t == types.JSONPatchType {
		apply = o.jsonPatch
	}
	after, problems, err := apply(before)
	if err != nil {
		return nil, err
	}
	out := &outcome{shown: string(after)}
	obj, more, err := o.decode(after)
	if err != nil {
		return nil, out.invalid(err)
	}
	out.obj, out.problems = obj, append(problems, more...)
	return out, nil
}

// jsonPatchOp is one operation. Its name is part of an error's text.
type jsonPatchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	From  string `json:"from"`
	Value any    `json:"value"`
}

func (o *operation) jsonPatch(before []byte) (after []byte, problems []error, err error) {
	if o.strict {
		// Decoded only for what it tells.
		var operations []jsonPatchOp
		if problems, err = codec.DecodeJSON(o.body, &operations, true); err != nil {
			return nil, nil, undecodable(err)
		}
		for i, p := range problems {
			problems[i] = fmt.Errorf("json patch %v", p)
		}
	}
	limitCopies()
	decoded, err := jsonpatch.DecodePatch(o.body)
	if err != nil {
		return nil, nil, apierrors.NewBadRequest(err.Error())
	}
	if n := len(decoded); n > maxOperations {
		return nil, nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("The allowed maximum operations in a JSON patch is %d, got %d", maxOperations, n))
	}
	after, err = applyOperations(decoded, before)
	if err != nil {
		return nil, nil, unprocessable(err)
	}
	return after, problems, nil
}

// applyOperations turns the library's panics, which some malformed operations
// cause, into errors.
func applyOperations(p jsonpatch.Patch, doc []byte) (after []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("malformed operation: %v", cause)
		}
	}()
	return p.Apply(doc)
}

func (o *operation) mergePatch(before []byte) (after []byte, problems []error, err error) {
	if o.strict {
		// Decoded only for what it tells: the merge reads the bytes.
		var fields map[string]any
		if problems, err = codec.DecodeJSON(o.body, &fields, true); err != nil {
			return nil, nil, undecodable(err)
		}
	}
	after, err = jsonpatch.MergePatch(before, o.body)
	if errors.Is(err, jsonpatch.ErrBadJSONPatch) {
		return nil, nil, apierrors.NewBadRequest(err.Error())
	}
	return after, problems, err
}

// decode reads the patched document: of the target's kind, or of another
// version that the target takes.
func (o *operation) decode(data []byte) (runtime.Object, []error, error) {
	gvk, err := codec.KindOf(data)
	if err != nil {
		return nil, nil, err
	}
	if gvk.Kind == "" {
		gvk.Kind = o.target.Kind.Kind
	}
	if gvk.Version == "" && gvk.Group == "" {
		return o.decodeUnversioned(data)
	}
	make := o.target.New
	if gvk != o.target.Kind {
		if make = o.other(gvk); make == nil {
			return nil, nil, wrongKind(gvk, o.target.Kind)
		}
	}
	obj := make()
	problems, err := codec.DecodeJSON(data, obj, o.strict)
	if err != nil {
		return nil, nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return obj, problems, nil
}

func (o *operation) other(gvk schema.GroupVersionKind) func() runtime.Object {
	if o.target.Others == nil {
		return nil
	}
	return o.target.Others(gvk)
}

// decodeUnversioned is what becomes of an object that a patch has robbed of
// its apiVersion. Kubernetes decodes it into an internal type, which none of
// its fields fit: nothing is left, and every field is unknown.
func (o *operation) decodeUnversioned(data []byte) (runtime.Object, []error, error) {
	obj := o.target.New()
	obj.GetObjectKind().SetGroupVersionKind(o.target.Kind)
	if !o.strict {
		return obj, nil, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, nil, err
	}
	var unknown []string
	for name := range fields {
		if name != "kind" && name != "apiVersion" {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	var problems []error
	for _, name := range unknown {
		problems = append(problems, fmt.Errorf("unknown field %q", name))
	}
	return obj, problems, nil
}

func wrongKind(gvk, want schema.GroupVersionKind) error {
	if known, internal := codec.KnownKind(gvk); known && internal != codec.InternalType(want) {
		return fmt.Errorf("converting (%s.%s) to (%s): unknown conversion", gvk.Version, gvk.Kind, codec.InternalType(want))
	}
	return fmt.Errorf("no kind %q is registered for version %q in scheme %q", gvk.Kind, gvk.GroupVersion(), "pkg/runtime/scheme.go:111")
}

// undecodable is a body that is not a patch. Kubernetes' own type shows in
// the text.
func undecodable(err error) error {
	text := strings.ReplaceAll(err.Error(), "patch.jsonPatchOp", "handlers.jsonPatchOp")
	return apierrors.NewBadRequest("error decoding patch: " + text)
}

// unprocessable is a patch that does not fit the object. The status says no
// more than that; the reason stays inside.
func unprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}
