package codec

import (
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The claim templates of a stateful set are whole objects, kind and all. The
// kind has no protobuf form; Kubernetes adds it when it reads one.
var claimKind = metav1.TypeMeta{Kind: "PersistentVolumeClaim", APIVersion: "v1"}

const claimHead = `,"kind":"PersistentVolumeClaim","apiVersion":"v1"`

// RestoreKinds sets the kinds of objects within an object that came out of
// protobuf.
func RestoreKinds(obj any) {
	switch o := obj.(type) {
	case *appsv1.StatefulSet:
		for i := range o.Spec.VolumeClaimTemplates {
			o.Spec.VolumeClaimTemplates[i].TypeMeta = claimKind
		}
	case *appsv1.StatefulSetList:
		for i := range o.Items {
			RestoreKinds(&o.Items[i])
		}
	}
}

// restoreKinds does the same for the plan of a field.
func restoreKinds(owner reflect.Type, f *fieldPlan) {
	if owner != reflect.TypeFor[appsv1.StatefulSetSpec]() || f.kind != kindMessage || f.message.typ != reflect.TypeFor[corev1.PersistentVolumeClaim]() {
		return
	}
	withKind := *f.message
	withKind.always = append([]byte(claimHead), withKind.always...)
	f.message = &withKind
}
