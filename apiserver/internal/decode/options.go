package decode

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/codec"
)

// DeleteOptions reads the body of a delete. The options may claim any group
// and version, as clients of every group send them; unknown fields are
// dropped. An empty body gives nil.
func DeleteOptions(contentType string, body []byte) (*metav1.DeleteOptions, error) {
	if len(body) == 0 {
		return nil, nil
	}
	media, err := mediaType(contentType)
	if err != nil {
		return nil, err
	}
	options := &metav1.DeleteOptions{}
	if err := readOptions(options, media, body); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return options, nil
}

func readOptions(options *metav1.DeleteOptions, media string, body []byte) error {
	expected := schema.GroupVersionKind{Group: "meta.k8s.io", Version: "v1", Kind: "DeleteOptions"}
	switch media {
	case mediaProtobuf:
		env, err := codec.ParseEnvelope(body)
		if err != nil {
			return err
		}
		gv, err := schema.ParseGroupVersion(env.APIVersion)
		if err != nil {
			return err
		}
		if gvk := complete(gv.WithKind(env.Kind), expected); gvk.Kind != expected.Kind {
			return notRegistered(gvk)
		}
		return options.Unmarshal(env.Raw)
	case mediaYAML:
		json, _, err := codec.JSONFromYAML(body, false)
		if err != nil {
			return err
		}
		body = json
	}
	gvk, err := codec.KindOf(body)
	if err != nil {
		return err
	}
	if gvk = complete(gvk, expected); gvk.Kind != expected.Kind {
		return notRegistered(gvk)
	}
	_, err = codec.DecodeJSON(body, options, false)
	return err
}
