package serviceaccount

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func account(name string, edit func(*corev1.ServiceAccount)) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}}
	if edit != nil {
		edit(a)
	}
	return a
}

func pod(edit func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}, Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "i"}}, Containers: []corev1.Container{{Name: "c"}},
	}}
	if edit != nil {
		edit(p)
	}
	return p
}

func TestDefaultAccount(t *testing.T) {
	w := admissiontest.New(t, account("default", func(a *corev1.ServiceAccount) {
		a.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	}))
	o := pod(nil)
	if err := admissiontest.Run(New(w.Store, w.Store, w.Resource("", "serviceaccounts")), w.Create(o)); err != nil {
		t.Fatal(err)
	}
	s := &o.Spec
	if s.ServiceAccountName != "default" || s.DeprecatedServiceAccount != "default" || len(s.ImagePullSecrets) != 1 || s.ImagePullSecrets[0].Name != "pull" {
		t.Errorf("account %q %q, secrets %v", s.ServiceAccountName, s.DeprecatedServiceAccount, s.ImagePullSecrets)
	}
	if len(s.Volumes) != 1 || !strings.HasPrefix(s.Volumes[0].Name, "kube-api-access-") || len(s.Volumes[0].Name) != len("kube-api-access-")+5 {
		t.Fatalf("volumes %v", s.Volumes)
	}
	v := s.Volumes[0].Projected
	if v == nil || *v.DefaultMode != 0o644 || len(v.Sources) != 3 || *v.Sources[0].ServiceAccountToken.ExpirationSeconds != 3607 ||
		v.Sources[0].ServiceAccountToken.Path != "token" || v.Sources[1].ConfigMap.Name != "kube-root-ca.crt" || v.Sources[2].DownwardAPI.Items[0].FieldRef.FieldPath != "metadata.namespace" {
		t.Errorf("volume %+v", v)
	}
	for _, c := range [][]corev1.Container{s.InitContainers, s.Containers} {
		if m := c[0].VolumeMounts; len(m) != 1 || m[0].Name != s.Volumes[0].Name || m[0].MountPath != tokenPath || !m[0].ReadOnly {
			t.Errorf("%s mounts %v", c[0].Name, m)
		}
	}
}

func TestAutomount(t *testing.T) {
	yes, no := true, false
	w := admissiontest.New(t, account("default", nil), account("no", func(a *corev1.ServiceAccount) { a.AutomountServiceAccountToken = &no }))
	p := New(w.Store, w.Store, w.Resource("", "serviceaccounts"))
	for _, x := range []struct {
		name    string
		pod     *corev1.Pod
		volumes int
	}{
		{"account says no", pod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "no" }), 0},
		{"pod says yes", pod(func(p *corev1.Pod) { p.Spec.ServiceAccountName, p.Spec.AutomountServiceAccountToken = "no", &yes }), 1},
		{"pod says no", pod(func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = &no }), 0},
		{"mounted by hand", pod(func(p *corev1.Pod) {
			m := []corev1.VolumeMount{{Name: "own", MountPath: tokenPath}}
			p.Spec.InitContainers[0].VolumeMounts, p.Spec.Containers[0].VolumeMounts = m, m
		}), 0},
		{"volume is there", pod(func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "kube-api-access-abcde"}} }), 1},
	} {
		if err := admissiontest.Run(p, w.Create(x.pod)); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if n := len(x.pod.Spec.Volumes); n != x.volumes {
			t.Errorf("%s: %d volumes, want %d", x.name, n, x.volumes)
		}
	}
}

func TestRefusals(t *testing.T) {
	strict := account("strict", func(a *corev1.ServiceAccount) {
		a.Annotations = map[string]string{enforceAnnotation: "true"}
		a.Secrets = []corev1.ObjectReference{{Name: "ok"}}
		a.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	})
	w := admissiontest.New(t, strict)
	p := New(w.Store, w.Store, w.Resource("", "serviceaccounts"))
	ref := func(name string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}
	}
	mirrored := func(edit func(*corev1.Pod)) *corev1.Pod {
		return pod(func(p *corev1.Pod) {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
			edit(p)
		})
	}
	own := func(edit func(*corev1.PodSpec)) *corev1.Pod {
		return pod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "strict"; edit(&p.Spec) })
	}
	for _, x := range []struct {
		name string
		pod  *corev1.Pod
		want string
	}{
		{"no account", pod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "nope" }), `error looking up service account a/nope: serviceaccount "nope" not found`},
		{"volume ok", own(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "ok"}}}}
		}), ""},
		{"volume", own(func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "x"}}}}
		}), `volume with secret.secretName="x" is not allowed because service account strict does not reference that secret`},
		{"env", own(func(s *corev1.PodSpec) { s.Containers[0].Env = []corev1.EnvVar{{Name: "E", ValueFrom: ref("x")}} }),
			`container c with envVar E referencing secret.secretName="x" is not allowed because service account strict does not reference that secret`},
		{"init envFrom", own(func(s *corev1.PodSpec) {
			s.InitContainers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "x"}}}}
		}), `init container i with envFrom referencing secret.secretName="x" is not allowed because service account strict does not reference that secret`},
		{"pull", own(func(s *corev1.PodSpec) {
			s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}, {Name: "x"}}
		}),
			`imagePullSecrets[1].name="x" is not allowed because service account strict does not reference that imagePullSecret`},
		{"mirror", mirrored(func(*corev1.Pod) {}), ""},
		{"mirror with account", mirrored(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "strict" }), "a mirror pod may not reference service accounts"},
		{"mirror with secret", mirrored(func(p *corev1.Pod) { p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "E", ValueFrom: ref("ok")}} }), "a mirror pod may not reference secrets"},
		{"mirror with token", mirrored(func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
				Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t"}}},
			}}}}
		}), "a mirror pod may not use ServiceAccountToken volume projections"},
	} {
		t.Run(x.name, func(t *testing.T) { admissiontest.Refused(t, admissiontest.Run(p, w.Create(x.pod)), x.want) })
	}
	// An ephemeral container must not get what the pod could not.
	old := own(func(*corev1.PodSpec) {})
	now := old.DeepCopy()
	now.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Env: []corev1.EnvVar{{Name: "E", ValueFrom: ref("x")}}}}}
	admissiontest.Refused(t, admissiontest.Run(p, w.Update(now, old, "ephemeralcontainers")),
		`ephemeral container e with envVar E referencing secret.secretName="x" is not allowed because service account strict does not reference that secret`)
}
