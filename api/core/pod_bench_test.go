package core

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// typicalPod is a pod as a Deployment's ReplicaSet creates it, after admission:
// one container with probes, resources and a projected token.
func typicalPod() *corev1.Pod {
	probe := func() *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")}}}
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "web-7c5ddbdf54-x2x7p", Namespace: "default",
			Labels:      map[string]string{"app": "web", "pod-template-hash": "7c5ddbdf54"},
			Annotations: map[string]string{"prometheus.io/scrape": "true"},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: "web",
			Containers: []corev1.Container{{
				Name: "web", Image: "registry.example.com/team/web:v1.2.3",
				Args:  []string{"--listen=:8080"},
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {Name: "metrics", ContainerPort: 9090}},
				Env: []corev1.EnvVar{
					{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
					{Name: "LOG_LEVEL", Value: "info"},
					{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
						LocalObjectReference: corev1.LocalObjectReference{Name: "db"}, Key: "password"}}},
				},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")},
					Limits:   corev1.ResourceList{"memory": resource.MustParse("256Mi")},
				},
				LivenessProbe: probe(), ReadinessProbe: probe(),
				VolumeMounts: []corev1.VolumeMount{
					{Name: "config", MountPath: "/etc/web", ReadOnly: true},
					{Name: "kube-api-access-abcde", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true},
				},
				SecurityContext: &corev1.SecurityContext{RunAsNonRoot: new(true), AllowPrivilegeEscalation: new(false)},
			}},
			Tolerations: []corev1.Toleration{
				{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: new(int64(300))},
				{Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: new(int64(300))},
			},
			Volumes: []corev1.Volume{
				{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "web"}}}},
				{Name: "kube-api-access-abcde", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3607))}},
					{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
					{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}}}},
				}}}},
			},
		},
	}
}

func TestTypicalPod(t *testing.T) {
	p := typicalPod()
	DefaultPod(p)
	if errs := ValidatePodCreate(p); len(errs) > 0 {
		t.Fatal(errs)
	}
	if w := warnPod(p); len(w) > 0 {
		t.Fatal(w)
	}
}

func BenchmarkDefaultPod(b *testing.B) {
	p := typicalPod()
	b.ReportAllocs()
	for b.Loop() {
		DefaultPod(p)
	}
}

func BenchmarkValidatePod(b *testing.B) {
	p := typicalPod()
	DefaultPod(p)
	b.ReportAllocs()
	for b.Loop() {
		ValidatePodCreate(p)
	}
}

func BenchmarkWarnPod(b *testing.B) {
	p := typicalPod()
	DefaultPod(p)
	b.ReportAllocs()
	for b.Loop() {
		warnPod(p)
	}
}

func BenchmarkValidatePodUpdate(b *testing.B) {
	p := typicalPod()
	DefaultPod(p)
	old := p.DeepCopy()
	p.Labels["x"] = "y"
	b.ReportAllocs()
	for b.Loop() {
		ValidatePodUpdate(p, old)
	}
}

func BenchmarkPodRow(b *testing.B) {
	p := typicalPod()
	b.ReportAllocs()
	for b.Loop() {
		podRow(p, metav1.Now())
	}
}
