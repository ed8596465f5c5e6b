package fieldmanager

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
)

// As recorded in machinery-verbs/subresource/scale and scale-apply.
func TestScaleOwnership(t *testing.T) {
	served, ok := builtin.Scheme().At(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"})
	if !ok || served.Resource.Subresource("scale") == nil || served.Resource.Subresource("scale").Scale == nil {
		t.Fatal("deployments have no scale")
	}
	types := NewTypes()
	m, s := New(served, types), NewScale(served, types)
	now := time.Unix(1e9, 0)
	two := int32(2)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "ns"}, Spec: appsv1.DeploymentSpec{Replicas: &two, MinReadySeconds: 1}}
	if err := m.Create(d, "x", now); err != nil {
		t.Fatal(err)
	}
	live := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "ns", UID: "u"}, Spec: autoscalingv1.ScaleSpec{Replicas: 2}}

	apply := []byte(`{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: d}, spec: {replicas: 7}}`)
	_, _, err := s.Apply(d.ManagedFields, live, apply, "m", false, now)
	const conflict = `Apply failed with 1 conflict: conflict with "x" using autoscaling/v1: .spec.replicas`
	if !apierrors.IsConflict(err) || err.Error() != conflict {
		t.Errorf("%v", err)
	}
	scaled, after, err := s.Apply(d.ManagedFields, live, apply, "m", true, now)
	if err != nil || scaled.Spec.Replicas != 7 {
		t.Fatalf("%v %v", scaled, err)
	}
	d.ManagedFields = after
	if got := entries(d); !strings.HasPrefix(got, `[{"manager":"m","operation":"Apply","apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}},"subresource":"scale"},{"manager":"x"`) ||
		strings.Count(got, "f:replicas") != 1 {
		t.Errorf("%s", got)
	}

	live.Spec.Replicas = 7
	want := live.DeepCopy()
	want.Spec.Replicas = 3
	if after, err = s.Update(d.ManagedFields, live, want, "hpa", now); err != nil {
		t.Fatal(err)
	}
	d.ManagedFields = after
	if got := entries(d); !strings.Contains(got, `{"manager":"hpa","operation":"Update","apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}},"subresource":"scale"}`) ||
		strings.Count(got, "f:replicas") != 1 {
		t.Errorf("%s", got)
	}
}
