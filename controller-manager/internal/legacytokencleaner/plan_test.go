package legacytokencleaner

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/controller-manager/internal/golden"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// TestPlan reads a line "secret WORDS" (made=DATE, used=DATE, invalid=DATE,
// uid=) and "account [names] [uid=]" or "mounted". Tokens last 30 days.
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		o := observed{period: 30 * 24 * time.Hour, now: now}
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "secret":
				at, err := time.Parse(time.DateOnly, pairs["made"])
				if err != nil {
					t.Fatal(err)
				}
				o.secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", CreationTimestamp: metav1.NewTime(at), Labels: map[string]string{},
					Annotations: map[string]string{corev1.ServiceAccountUIDKey: "u"}}}
				for key, label := range map[string]string{"used": lastUsed, "invalid": invalidSince} {
					if v := pairs[key]; v != "" {
						o.secret.Labels[label] = v
					}
				}
			case "account":
				o.account = &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{UID: "u"}}
				if u := pairs["uid"]; u != "" {
					o.account.UID = types.UID(u)
				}
				if pairs["names"] != "" {
					o.account.Secrets = []corev1.ObjectReference{{Name: "s"}}
				}
			case "mounted":
				o.mounted = true
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		return plan(o).String()
	})
}

func TestTracked(t *testing.T) {
	for since, want := range map[string]bool{"": false, "yesterday": false, "2026-05-16": true, "2026-05-17": false, "2027-01-01": false} {
		if got := tracked(&corev1.ConfigMap{Data: map[string]string{"since": since}}, 30*24*time.Hour, now); got != want {
			t.Errorf("since %q: %t", since, got)
		}
	}
}

func TestSecretsOf(t *testing.T) {
	ref := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	env := []corev1.EnvVar{{Name: "V"}, {Name: "E", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref("env")}}}}
	p := &corev1.Pod{Spec: corev1.PodSpec{
		ImagePullSecrets: []corev1.LocalObjectReference{ref("pull")},
		InitContainers:   []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref("from")}}}}},
		Containers:       []corev1.Container{{Env: env}},
		Volumes: []corev1.Volume{
			{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume"}}},
			{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: ref("projected")}}}}}},
			{VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &corev1.LocalObjectReference{Name: "csi"}}}},
		},
	}}
	if got := secretsOf(p); !slices.Equal(got, []string{"pull", "from", "env", "volume", "projected", "csi"}) {
		t.Errorf("secrets %q", got)
	}
}
