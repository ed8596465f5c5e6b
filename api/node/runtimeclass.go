package node

import (
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/core"
	"xebec.dev/api/internalform"
	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

type runtimeClass = nodev1.RuntimeClass

func hooks() scheme.Hooks[runtimeClass] {
	return scheme.Hooks[runtimeClass]{
		Default: func(c *runtimeClass) {
			if c.Overhead != nil {
				core.RoundResources(c.Overhead.PodFixed)
			}
		},
		ValidateCreate: validate,
		ValidateUpdate: func(c, old *runtimeClass) field.ErrorList {
			errs := validate(c)
			return append(errs, apivalidation.ValidateImmutableField(c.Handler, old.Handler, field.NewPath("handler"))...)
		},
		RequireVersion: true,
	}
}

func validate(c *runtimeClass) field.ErrorList {
	errs := validateHandler(c.Handler, field.NewPath("handler"))
	if c.Overhead != nil {
		errs = append(errs, core.ValidateOverhead(c.Overhead.PodFixed, field.NewPath("overhead"))...)
	}
	if s := c.Scheduling; s != nil {
		path := field.NewPath("scheduling")
		errs = append(errs, metav1validation.ValidateLabels(s.NodeSelector, path.Child("nodeSelector"))...)
		errs = append(errs, validateTolerations(s.Tolerations, path.Child("tolerations"))...)
	}
	return errs
}

func validateHandler(handler string, path *field.Path) field.ErrorList {
	if handler == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for _, msg := range validation.IsDNS1123Label(handler) {
		errs = append(errs, field.Invalid(path, handler, msg))
	}
	return errs
}

// validateTolerations also refuses a toleration given twice: they are merged
// with those of pods as a set.
func validateTolerations(list []corev1.Toleration, path *field.Path) field.ErrorList {
	errs := core.ValidateTolerations(list, path)
	for i := range list {
		for k := range i {
			if apiequality.Semantic.DeepEqual(&list[i], &list[k]) {
				errs = append(errs, field.Duplicate(path.Index(i), internalform.Of(&list[i])))
				break
			}
		}
	}
	return errs
}

func columns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("Handler", ""),
		table.Age(),
	}
}

func row(c *runtimeClass, now metav1.Time) []any {
	return []any{c.Name, c.Handler, table.Since(c.CreationTimestamp, now)}
}
