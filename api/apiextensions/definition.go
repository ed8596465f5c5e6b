package apiextensions

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
)

func prepareCreate(_ scheme.Context, d *apiextensionsv1.CustomResourceDefinition) {
	d.Status = apiextensionsv1.CustomResourceDefinitionStatus{}
	rememberStorage(d)
}

func prepareUpdate(_ scheme.Context, d, old *apiextensionsv1.CustomResourceDefinition) {
	old.Status.DeepCopyInto(&d.Status)
	rememberStorage(d)
}

func prepareStatus(_ scheme.Context, d, old *apiextensionsv1.CustomResourceDefinition) {
	metav1.ResetObjectMetaForStatus(&d.ObjectMeta, &old.ObjectMeta)
	old.Spec.DeepCopyInto(&d.Spec)
}

func specChanged(d, old *apiextensionsv1.CustomResourceDefinition) bool {
	return !apiequality.Semantic.DeepEqual(&d.Spec, &old.Spec)
}

// conditionTrue reports whether the condition is there and true.
func conditionTrue(d *apiextensionsv1.CustomResourceDefinition, kind apiextensionsv1.CustomResourceDefinitionConditionType) bool {
	for i := range d.Status.Conditions {
		if c := &d.Status.Conditions[i]; c.Type == kind {
			return c.Status == apiextensionsv1.ConditionTrue
		}
	}
	return false
}
