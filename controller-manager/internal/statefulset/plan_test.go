package statefulset

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		n := int32(3)
		s := &appsv1.StatefulSet{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "db", UID: "set", Generation: 1},
			Spec: appsv1.StatefulSetSpec{Replicas: &n, ServiceName: "svc", UpdateStrategy: appsv1.StatefulSetUpdateStrategy{
				Type: appsv1.RollingUpdateStatefulSetStrategyType, RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{},
			}},
		}
		claims := map[string]*corev1.PersistentVolumeClaim{}
		o := observed{
			set: s, current: version{"v1", &corev1.PodTemplateSpec{}}, update: version{"v1", &corev1.PodTemplateSpec{}},
			claim: func(name string) *corev1.PersistentVolumeClaim { return claims[name] },
		}
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "set":
				readSet(t, s, pairs)
			case "update": // to another revision
				o.update.name = words[1]
			case "claim":
				c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: words[1]}}
				if pairs["deleted"] != "" {
					at := metav1.NewTime(podtest.Now)
					c.DeletionTimestamp = &at
				}
				if owner := pairs["pod"]; owner != "" {
					c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: owner, UID: types.UID(pairs["uid"])}}
				}
				claims[words[1]] = c
			case "pod":
				p := podtest.Pod(t, words[1], pairs)
				i, ok := ordinalOf(s, p.Name)
				if !ok {
					t.Fatalf("%s is no pod of the set", p.Name)
				}
				if pairs["bare"] == "" {
					for k, v := range identityLabels(s, i) {
						p.Labels[k] = v
					}
				}
				p.Labels[appsv1.StatefulSetRevisionLabel] = "v1"
				if v := pairs["at"]; v != "" {
					p.Labels[appsv1.StatefulSetRevisionLabel] = v
				}
				o.pods = append(o.pods, p)
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		return plan(o, podtest.Now).String()
	})
}

func readSet(t *testing.T, s *appsv1.StatefulSet, pairs map[string]string) {
	for k, v := range pairs {
		switch k {
		case "replicas":
			*s.Spec.Replicas = podtest.Int(t, v)
		case "parallel":
			s.Spec.PodManagementPolicy = appsv1.ParallelPodManagement
		case "onDelete":
			s.Spec.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType}
		case "partition":
			n := podtest.Int(t, v)
			s.Spec.UpdateStrategy.RollingUpdate.Partition = &n
		case "unavailable":
			x := intstr.Parse(v)
			s.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable = &x
		case "minReady":
			s.Spec.MinReadySeconds = podtest.Int(t, v)
		case "start":
			s.Spec.Ordinals = &appsv1.StatefulSetOrdinals{Start: podtest.Int(t, v)}
		case "claims":
			s.Spec.VolumeClaimTemplates = []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: v}}}
		case "whenDeleted", "whenScaled":
			if s.Spec.PersistentVolumeClaimRetentionPolicy == nil {
				s.Spec.PersistentVolumeClaimRetentionPolicy = &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{}
			}
			p := appsv1.PersistentVolumeClaimRetentionPolicyType(v)
			if k == "whenDeleted" {
				s.Spec.PersistentVolumeClaimRetentionPolicy.WhenDeleted = p
			} else {
				s.Spec.PersistentVolumeClaimRetentionPolicy.WhenScaled = p
			}
		case "deleted":
			at := metav1.NewTime(podtest.Now)
			s.DeletionTimestamp = &at
		}
	}
}

func TestOrdinals(t *testing.T) {
	s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db"}}
	for name, want := range map[string]int{"db-0": 0, "db-12": 12, "db-01": -1, "db": -1, "db-": -1, "db-x": -1, "db-a-0": -1, "dbx-1": -1, "db--1": -1} {
		n, ok := ordinalOf(s, name)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%s has the ordinal %d, want %d", name, n, want)
		}
	}
}

// TestIdentity: a pod has its claims in place of the template's volumes of
// that name.
func TestIdentity(t *testing.T) {
	s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "db"}, Spec: appsv1.StatefulSetSpec{
		ServiceName: "svc", VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}},
	}}
	tmpl := &corev1.PodTemplateSpec{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "data"}, {Name: "tmp"}}}}
	p := newPod(s, tmpl, "v1", 2)
	if p.Name != "db-2" || p.GenerateName != "" || p.Spec.Hostname != "db-2" || p.Spec.Subdomain != "svc" || !hasIdentity(s, p, 2) {
		t.Errorf("pod %+v", p.ObjectMeta)
	}
	var got []string
	for _, v := range p.Spec.Volumes {
		claim := ""
		if v.PersistentVolumeClaim != nil {
			claim = v.PersistentVolumeClaim.ClaimName
		}
		got = append(got, v.Name+"="+claim)
	}
	if fmt.Sprint(got) != "[data=data-db-2 tmp=]" {
		t.Errorf("volumes %v", got)
	}
}
