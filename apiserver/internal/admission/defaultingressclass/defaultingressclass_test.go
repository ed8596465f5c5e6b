package defaultingressclass

import (
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func TestIngresses(t *testing.T) {
	class := func(name, value string, seconds int64) *networkingv1.IngressClass {
		return &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{
			Name: name, CreationTimestamp: metav1.NewTime(time.Unix(seconds, 0)), Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: value},
		}}
	}
	w := admissiontest.New(t, class("a", "true", 1), class("b", "true", 2), class("c", "false", 3))
	p := New(w.Store, w.Resource(networkingv1.GroupName, "ingressclasses"))
	own := "own"
	for _, x := range []struct {
		ingress *networkingv1.Ingress
		want    string
	}{
		{&networkingv1.Ingress{}, "b"},
		{&networkingv1.Ingress{Spec: networkingv1.IngressSpec{IngressClassName: &own}}, "own"},
		{&networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{classAnnotation: "x"}}}, ""},
	} {
		if err := admissiontest.Run(p, w.Create(x.ingress)); err != nil {
			t.Error(err)
		}
		got := ""
		if x.ingress.Spec.IngressClassName != nil {
			got = *x.ingress.Spec.IngressClassName
		}
		if got != x.want {
			t.Errorf("class %q, want %q", got, x.want)
		}
	}
}
