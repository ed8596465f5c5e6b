package apiextensions

import (
	"fmt"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRow(t *testing.T) {
	d := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "as.b.c", CreationTimestamp: metav1.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{Group: "b.c", Scope: apiextensionsv1.NamespaceScoped, Versions: []apiextensionsv1.CustomResourceDefinitionVersion{
			{Name: "v1", Served: true}, {Name: "v1beta1", Served: true}, {Name: "v1alpha1"},
		}},
	}
	if got, want := fmt.Sprint(row(d, metav1.Now())), "[as.b.c b.c Namespaced v1,v1beta1 2026-01-02T03:04:05Z]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if c := columns(); len(c) != len(row(d, metav1.Now())) || c[4].Type != "date" {
		t.Errorf("%v", c)
	}
}
