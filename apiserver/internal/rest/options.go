package rest

import (
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// parameters converts queries to the option structs of meta/v1.
var parameters = func() runtime.ParameterCodec {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return runtime.NewParameterCodec(s)
}()

func decodeQuery(q url.Values, into runtime.Object) error {
	if len(q) == 0 {
		return nil
	}
	if err := parameters.DecodeParameters(q, schema.GroupVersion{Version: "v1"}, into); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

func invalidOptions(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}

func listOptions(q url.Values) (*metav1.ListOptions, error) {
	o := &metav1.ListOptions{}
	return o, decodeQuery(q, o)
}

func createOptions(q url.Values, agent string) (*metav1.CreateOptions, error) {
	o := &metav1.CreateOptions{}
	if err := decodeQuery(q, o); err != nil {
		return nil, err
	}
	if err := invalidOptions("CreateOptions", metavalidation.ValidateCreateOptions(o)); err != nil {
		return nil, err
	}
	o.FieldManager = managerName(o.FieldManager, agent)
	return o, nil
}

func updateOptions(q url.Values, agent string) (*metav1.UpdateOptions, error) {
	o := &metav1.UpdateOptions{}
	if err := decodeQuery(q, o); err != nil {
		return nil, err
	}
	if err := invalidOptions("UpdateOptions", metavalidation.ValidateUpdateOptions(o)); err != nil {
		return nil, err
	}
	o.FieldManager = managerName(o.FieldManager, agent)
	return o, nil
}

// managerName is the fieldManager given, or the product in the user agent.
func managerName(given, agent string) string {
	if given != "" {
		return given
	}
	for i, c := range agent {
		if c == '/' {
			return printable(agent[:i])
		}
	}
	return printable(agent)
}

func printable(s string) string {
	out := make([]rune, 0, len(s))
	n := 0
	for _, c := range s {
		if c < ' ' || c == 0x7f {
			continue
		}
		size := len(string(c))
		if n+size > metavalidation.FieldManagerMaxLength {
			break
		}
		n += size
		out = append(out, c)
	}
	return string(out)
}
