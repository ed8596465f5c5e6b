package pvcprotection

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

// TestPlan reads lines "held", "deleted" and "pod NAME uses|ephemeral
// [foreign] WORDS..." about a claim called p-c.
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p-c", OwnerReferences: []metav1.OwnerReference{{UID: "uid-p"}}}}
		var pods []*corev1.Pod
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "held":
				c.Finalizers = []string{finalizer, "other"}
			case "deleted":
				at := metav1.NewTime(podtest.Now)
				c.DeletionTimestamp = &at
			case "pod":
				v := corev1.Volume{Name: "c"}
				if pairs["uses"] != "" {
					v.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "p-c"}
				} else {
					v.Ephemeral = &corev1.EphemeralVolumeSource{}
				}
				delete(pairs, "uses")
				delete(pairs, "ephemeral")
				p := podtest.Pod(t, words[1], pairs)
				p.Spec.Volumes = []corev1.Volume{v}
				pods = append(pods, p)
			}
		}
		return plan(c, pods).String()
	})
}
