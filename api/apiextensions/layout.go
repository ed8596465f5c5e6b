package apiextensions

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// layout tells where messages place what the versions describe. Kubernetes
// moves what all versions have in common to the top of the spec before it
// looks: an error in the schema of a definition with one version is at
// spec.validation, not at spec.versions[0].schema.
type layout struct {
	schema, subresources, columns, selectable bool
}

func layoutOf(versions []apiextensionsv1.CustomResourceDefinitionVersion) layout {
	l := layout{true, true, true, true}
	for i := range versions {
		if i == 0 {
			continue
		}
		a, b := &versions[0], &versions[i]
		l.schema = l.schema && apiequality.Semantic.DeepEqual(a.Schema, b.Schema)
		l.subresources = l.subresources && apiequality.Semantic.DeepEqual(a.Subresources, b.Subresources)
		l.columns = l.columns && apiequality.Semantic.DeepEqual(a.AdditionalPrinterColumns, b.AdditionalPrinterColumns)
		l.selectable = l.selectable && apiequality.Semantic.DeepEqual(a.SelectableFields, b.SelectableFields)
	}
	return l
}

// path is where a part of version i is described: at the top of the spec under
// one name when shared, below the version under another when not.
func (d *definition) path(shared bool, i int, top, version string) *field.Path {
	if shared {
		return d.spec.Child(top)
	}
	return d.spec.Child("versions").Index(i).Child(version)
}

// shown is the versions as messages print them, without what is shared.
func (l layout) shown(versions []apiextensionsv1.CustomResourceDefinitionVersion) []apiextensionsv1.CustomResourceDefinitionVersion {
	if versions == nil {
		return nil
	}
	out := make([]apiextensionsv1.CustomResourceDefinitionVersion, len(versions))
	for i := range versions {
		v := versions[i]
		if l.schema {
			v.Schema = nil
		}
		if l.subresources {
			v.Subresources = nil
		}
		if l.columns {
			v.AdditionalPrinterColumns = nil
		}
		if l.selectable {
			v.SelectableFields = nil
		}
		out[i] = v
	}
	return out
}
