package systemclass

import (
	"testing"

	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func TestDelete(t *testing.T) {
	w := admissiontest.New(t)
	for name, want := range map[string]string{"mine": "", "system-node-critical": "this is a system priority class and cannot be deleted", "system-cluster-critical": "this is a system priority class and cannot be deleted"} {
		admissiontest.Refused(t, admissiontest.Run(Plugin{}, w.Delete(&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}})), want)
	}
}
