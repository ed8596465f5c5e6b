package apiextensions

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
)

// storedVersion is how Kubernetes stores definitions to this day: v1beta1 is
// smaller, because what all versions share is written once.
var storedVersion = scheme.Version{
	Group: "apiextensions.k8s.io", Version: "v1beta1",
	New: func() runtime.Object { return new(storedDefinition) },
	Decode: func(in runtime.Object) (scheme.Object, error) {
		d, ok := in.(*storedDefinition)
		if !ok {
			return nil, fmt.Errorf("convert %T: not an apiextensions.k8s.io/v1beta1 object", in)
		}
		return d.current(), nil
	},
}

// storedDefinition is the JSON form of apiextensions.k8s.io/v1beta1, as far as
// it differs from v1.
type storedDefinition struct {
	metav1.TypeMeta
	metav1.ObjectMeta `json:"metadata"`
	Spec              storedSpec                                     `json:"spec"`
	Status            apiextensionsv1.CustomResourceDefinitionStatus `json:"status"`
}

type storedSpec struct {
	Group                 string                                        `json:"group"`
	Names                 apiextensionsv1.CustomResourceDefinitionNames `json:"names"`
	Scope                 apiextensionsv1.ResourceScope                 `json:"scope"`
	Version               string                                        `json:"version"`
	Versions              []storedSpecVersion                           `json:"versions"`
	Conversion            *storedConversion                             `json:"conversion"`
	PreserveUnknownFields *bool                                         `json:"preserveUnknownFields"`
	storedShared
	Validation *apiextensionsv1.CustomResourceValidation `json:"validation"`
}

// storedShared is what stands at the top of the spec for all versions or in
// each version.
type storedShared struct {
	Subresources             *apiextensionsv1.CustomResourceSubresources `json:"subresources"`
	AdditionalPrinterColumns []storedColumn                              `json:"additionalPrinterColumns"`
	SelectableFields         []apiextensionsv1.SelectableField           `json:"selectableFields"`
}

type storedSpecVersion struct {
	Name               string                                    `json:"name"`
	Served             bool                                      `json:"served"`
	Storage            bool                                      `json:"storage"`
	Deprecated         bool                                      `json:"deprecated"`
	DeprecationWarning *string                                   `json:"deprecationWarning"`
	Schema             *apiextensionsv1.CustomResourceValidation `json:"schema"`
	storedShared
}

type storedColumn struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Format      string `json:"format"`
	Description string `json:"description"`
	Priority    int32  `json:"priority"`
	JSONPath    string `json:"JSONPath"`
}

type storedConversion struct {
	Strategy                 apiextensionsv1.ConversionStrategyType `json:"strategy"`
	WebhookClientConfig      *apiextensionsv1.WebhookClientConfig   `json:"webhookClientConfig"`
	ConversionReviewVersions []string                               `json:"conversionReviewVersions"`
}

// DeepCopyObject makes a runtime.Object of it; conversion is all it is for.
func (d *storedDefinition) DeepCopyObject() runtime.Object { return d.current() }

// current is the same definition in v1. Nothing in it is shared with d or
// between versions.
func (d *storedDefinition) current() *apiextensionsv1.CustomResourceDefinition {
	s := &d.Spec
	out := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: d.ObjectMeta, Status: d.Status}
	out.Spec = apiextensionsv1.CustomResourceDefinitionSpec{
		Group: s.Group, Names: s.Names, Scope: s.Scope, Conversion: s.Conversion.current(),
		PreserveUnknownFields: s.PreserveUnknownFields == nil || *s.PreserveUnknownFields,
	}
	versions := s.Versions
	if len(versions) == 0 && s.Version != "" {
		versions = []storedSpecVersion{{Name: s.Version, Served: true, Storage: true}}
	}
	for i := range versions {
		out.Spec.Versions = append(out.Spec.Versions, s.version(&versions[i]))
	}
	return out.DeepCopy()
}

// version is version v with what all share filled in.
func (s *storedSpec) version(v *storedSpecVersion) apiextensionsv1.CustomResourceDefinitionVersion {
	out := apiextensionsv1.CustomResourceDefinitionVersion{
		Name: v.Name, Served: v.Served, Storage: v.Storage, Deprecated: v.Deprecated, DeprecationWarning: v.DeprecationWarning,
		Schema: v.Schema, Subresources: v.Subresources, SelectableFields: v.SelectableFields,
	}
	columns := v.AdditionalPrinterColumns
	if out.Schema == nil {
		out.Schema = s.Validation
	}
	if out.Subresources == nil {
		out.Subresources = s.Subresources
	}
	if out.SelectableFields == nil {
		out.SelectableFields = s.SelectableFields
	}
	if columns == nil {
		columns = s.AdditionalPrinterColumns
	}
	for _, c := range columns {
		out.AdditionalPrinterColumns = append(out.AdditionalPrinterColumns, apiextensionsv1.CustomResourceColumnDefinition(c))
	}
	return out
}

func (c *storedConversion) current() *apiextensionsv1.CustomResourceConversion {
	if c == nil {
		return nil
	}
	out := &apiextensionsv1.CustomResourceConversion{Strategy: c.Strategy}
	if c.WebhookClientConfig != nil || len(c.ConversionReviewVersions) > 0 {
		out.Webhook = &apiextensionsv1.WebhookConversion{ClientConfig: c.WebhookClientConfig, ConversionReviewVersions: c.ConversionReviewVersions}
	}
	return out
}
