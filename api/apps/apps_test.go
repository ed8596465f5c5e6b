package apps

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

func text(errs field.ErrorList) string {
	if err := errs.ToAggregate(); err != nil {
		return err.Error()
	}
	return ""
}

var selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}

func podTemplate() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func statefulSet(change func(*appsv1.StatefulSet)) *appsv1.StatefulSet {
	s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "s", Namespace: "n"},
		Spec: appsv1.StatefulSetSpec{Selector: selector, Template: podTemplate()}}
	if change != nil {
		change(s)
	}
	defaultStatefulSet(s)
	return s
}

func TestStatefulSet(t *testing.T) {
	rolling := func(v intstr.IntOrString) func(*appsv1.StatefulSet) {
		return func(s *appsv1.StatefulSet) {
			s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{MaxUnavailable: &v}
		}
	}
	const path = "spec.updateStrategy.rollingUpdate.maxUnavailable"
	for name, c := range map[string]struct {
		change func(*appsv1.StatefulSet)
		want   string
	}{
		"valid": {nil, ""},
		"two":   {rolling(intstr.FromInt32(2)), ""},
		"half":  {rolling(intstr.FromString("50%")), ""},
		"none":  {rolling(intstr.FromInt32(0)), path + ": Invalid value: 0: cannot be 0"},
		"more":  {rolling(intstr.FromString("101%")), path + `: Invalid value: "101%": must not be greater than 100%`},
		"retention": {func(s *appsv1.StatefulSet) {
			s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenScaled: "Never"}
		}, `spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Never": supported values: "Retain", "Delete"`},
	} {
		if got := text(validateStatefulSetSpec(&statefulSet(c.change).Spec, nil)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestRetentionIsFilled(t *testing.T) {
	s := statefulSet(func(s *appsv1.StatefulSet) {
		s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{WhenDeleted: "Delete"}
	})
	if p := s.Spec.PersistentVolumeClaimRetentionPolicy; p.WhenDeleted != "Delete" || p.WhenScaled != "Retain" {
		t.Errorf("%+v", p)
	}
}

func TestClaimVolumes(t *testing.T) {
	claim := corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}}
	tmpl := podTemplate()
	tmpl.Spec.Volumes = []corev1.Volume{{Name: "data"}, {Name: "own"}}
	with := withClaimVolumes(&tmpl, []corev1.PersistentVolumeClaim{claim, claim})
	if v := with.Spec.Volumes; len(v) != 2 || v[0].PersistentVolumeClaim == nil || v[1].Name != "own" {
		t.Errorf("%+v", v)
	}
	if tmpl.Spec.Volumes[0].PersistentVolumeClaim != nil || len(tmpl.Spec.Volumes) != 2 {
		t.Error("the template was changed")
	}
}

func daemonSet(annotation string) *appsv1.DaemonSet {
	d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "n"},
		Spec: appsv1.DaemonSetSpec{Selector: selector, Template: podTemplate()}}
	if annotation != "" {
		d.Annotations = map[string]string{appsv1.DeprecatedTemplateGeneration: annotation}
	}
	defaultDaemonSet(d)
	return d
}

func TestTemplateGeneration(t *testing.T) {
	for given, want := range map[string]string{"": "1", "0": "1", "-4": "1", "007": "7"} {
		d := daemonSet(given)
		prepareDaemonSet(scheme.Context{}, d)
		if got := d.Annotations[appsv1.DeprecatedTemplateGeneration]; got != want {
			t.Errorf("%q becomes %q, want %q", given, got, want)
		}
	}
	old := daemonSet("7")
	update := daemonSetHooks().PrepareUpdate
	same := daemonSet("99")
	update(scheme.Context{}, same, old)
	if got := templateGeneration(same); got != 7 {
		t.Errorf("without a change: %d", got)
	}
	changed := daemonSet("")
	changed.Spec.Template.Spec.Containers[0].Image = "other"
	update(scheme.Context{}, changed, old)
	if got := templateGeneration(changed); got != 8 {
		t.Errorf("with a change: %d", got)
	}
	if _, err := decodeDaemonSet(daemonSet("x")); err == nil || err.Error() != `strconv.ParseInt: parsing "x": invalid syntax` {
		t.Error(err)
	}
}

func TestControllerRevisionUpdate(t *testing.T) {
	of := func(data string) *appsv1.ControllerRevision {
		return &appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: []byte(data)}, Revision: 1}
	}
	update := controllerRevisionHooks().ValidateUpdate
	if got := text(update(of(`{"a":1}`), of(`{"a":1}`))); got != "" {
		t.Error(got)
	}
	if got, want := text(update(of(`{"a":2}`), of(`{"a":1}`))), `data: Invalid value: {"a":2}: field is immutable`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestRevisionOwner(t *testing.T) {
	yes := true
	r := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: "r",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", Controller: &yes}}}, Revision: 3}
	if cells := controllerRevisionRow(r, metav1.Now()); cells[1] != "statefulset.apps/web" || cells[2] != int64(3) {
		t.Errorf("%v", cells)
	}
}

func TestLabelValueOfOldSelectorStays(t *testing.T) {
	bad := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "NotIn", Values: []string{"not ok"}}}}
	r := &appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Selector: bad, Template: podTemplate()}}
	defaultReplicaSet(r)
	if got := text(validateReplicaSetSpec(&r.Spec, nil)); !strings.Contains(got, "not ok") {
		t.Errorf("on create: %q", got)
	}
	if got := text(validateReplicaSetSpec(&r.Spec, &r.Spec)); strings.Contains(got, "values[0]") {
		t.Errorf("on update: %q", got)
	}
}

func BenchmarkValidateDeployment(b *testing.B) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d"}, Spec: appsv1.DeploymentSpec{Selector: selector, Template: podTemplate()}}
	defaultDeployment(d)
	b.ReportAllocs()
	for b.Loop() {
		if errs := validateDeploymentSpec(&d.Spec, nil); len(errs) > 0 {
			b.Fatal(errs)
		}
	}
}

func BenchmarkDeploymentChanged(b *testing.B) {
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Selector: selector, Template: podTemplate()}}
	defaultDeployment(d)
	old := d.DeepCopy()
	changed := deploymentHooks().SpecChanged
	b.ReportAllocs()
	for b.Loop() {
		if changed(d, old) {
			b.Fatal("changed")
		}
	}
}
