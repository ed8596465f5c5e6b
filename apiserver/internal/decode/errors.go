package decode

import (
	"encoding/hex"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/codec"
)

// unrecognized is a body that could not be decoded, in the words that depend
// on whether its kind was found.
func unrecognized(actual schema.GroupVersionKind, target Target, body []byte, err error) error {
	if m, ok := err.(*otherVersion); ok {
		return mismatch(m.gv, target)
	}
	if actual.Kind != "" {
		return unhandled(actual, target, err)
	}
	return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%s)", target.Kind.Kind, err, summary(body)))
}

func unhandled(actual schema.GroupVersionKind, target Target, err error) error {
	return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", actual.Kind, actual.Version, target.Kind.Kind, err))
}

func mismatch(gv schema.GroupVersion, target Target) error {
	return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", gv, target.Kind.GroupVersion()))
}

// summaryLength is how many bytes of a body an error shows.
const summaryLength = 30

func summary(body []byte) string {
	if len(body) == 0 {
		return "<empty>"
	}
	shown, more := body, ""
	if len(body) > summaryLength {
		shown, more = body[:summaryLength], " ..."
	}
	if body[0] == '{' {
		return string(shown) + more
	}
	return hex.EncodeToString(shown) + more
}

// otherVersion is data of the right internal type at a version that the
// endpoint does not take.
type otherVersion struct{ gv schema.GroupVersion }

func (e *otherVersion) Error() string { return "unexpected version " + e.gv.String() }

// notRegistered is Kubernetes' error for a kind it does not know.
func notRegistered(gvk schema.GroupVersionKind) error {
	return fmt.Errorf("no kind %q is registered for version %q in scheme %q", gvk.Kind, gvk.GroupVersion(), "pkg/runtime/scheme.go:111")
}

// checkKind reports data that is well-formed but not of the expected kind.
func checkKind(actual schema.GroupVersionKind, target Target) error {
	if actual.Kind == target.Kind.Kind && target.accepts(actual.GroupVersion()) {
		return nil
	}
	known, internal := codec.KnownKind(actual)
	if !known {
		return notRegistered(actual)
	}
	want := codec.InternalType(target.Kind)
	if internal == want {
		return &otherVersion{actual.GroupVersion()}
	}
	return fmt.Errorf("converting (%s.%s) to (%s): unknown conversion", actual.Version, actual.Kind, want)
}
