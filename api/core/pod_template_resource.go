package core

import (
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func podTemplateResource() scheme.Resource {
	path := field.NewPath("template")
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "PodTemplate",
		Plural: "podtemplates", Singular: "podtemplate",
		Namespaced:    true,
		New:           func() runtime.Object { return new(corev1.PodTemplate) },
		NewList:       func() runtime.Object { return new(corev1.PodTemplateList) },
		StoragePrefix: "podtemplates",
		Columns: []metav1.TableColumnDefinition{
			table.Name(),
			table.String("Containers", "Names of each container in the template."),
			table.String("Images", "Images referenced by each container in the template."),
			table.String("Pod Labels", "The labels for the pod template"),
		},
		Row: scheme.Rows(func(t *corev1.PodTemplate, _ metav1.Time) []any {
			names, images := ContainerImages(&t.Template.Spec)
			return []any{t.Name, names, images, labels.FormatLabels(t.Template.Labels)}
		}),
		Strategy: scheme.Hooks[corev1.PodTemplate]{
			Default:        func(t *corev1.PodTemplate) { DefaultPodTemplate(&t.Template) },
			ValidateCreate: func(t *corev1.PodTemplate) field.ErrorList { return ValidatePodTemplateSpec(&t.Template, path) },
			WarnCreate:     func(t *corev1.PodTemplate) []string { return WarnPodTemplate(path, &t.Template, nil) },
			ValidateUpdate: func(t, old *corev1.PodTemplate) field.ErrorList {
				return ValidatePodTemplateSpecUpdate(&t.Template, &old.Template, path)
			},
			WarnUpdate: func(t, old *corev1.PodTemplate) []string {
				if t.Generation == old.Generation {
					return nil
				}
				return WarnPodTemplate(path, &t.Template, &old.Template)
			},
			SpecChanged: func(t, old *corev1.PodTemplate) bool {
				return !apiequality.Semantic.DeepEqual(&t.Template, &old.Template)
			},
		}.Erase(),
	}
}
