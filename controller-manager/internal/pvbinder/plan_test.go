package pvbinder

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

func modes(text string) (out []corev1.PersistentVolumeAccessMode) {
	for w := range strings.SplitSeq(text, ",") {
		out = append(out, map[string]corev1.PersistentVolumeAccessMode{"": corev1.ReadWriteOnce, "rwo": corev1.ReadWriteOnce, "rwx": corev1.ReadWriteMany}[w])
	}
	return out
}

// claim of the words size=, class=, volume=, modes=, phase=, select=, node=,
// done and deleted.
func claim(pairs map[string]string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c", UID: "uid-c"}}
	c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(pairs["size"])}
	c.Spec.AccessModes, c.Spec.VolumeName, c.Status.Phase = modes(pairs["modes"]), pairs["volume"], corev1.PersistentVolumeClaimPhase(pairs["phase"])
	if class, ok := pairs["class"]; ok {
		c.Spec.StorageClassName = &class
	}
	if s, ok := pairs["select"]; ok {
		c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"kind": s}}
	}
	if n, ok := pairs["node"]; ok {
		annotate(&c.Annotations, selectedNode, n)
	}
	if pairs["done"] != "" {
		annotate(&c.Annotations, bindCompleted, "yes")
	}
	if pairs["deleted"] != "" {
		c.DeletionTimestamp = &metav1.Time{Time: podtest.Now}
	}
	return c
}

// volume of the words size=, class=, modes=, kind=, phase=, for= (UID, or ? for
// a claim ns/c reserved by name), policy=, by=
// (its provisioner), path=, ours and block.
func volume(name string, pairs map[string]string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kind": pairs["kind"]}}}
	v.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(pairs["size"])}
	v.Spec.AccessModes, v.Spec.StorageClassName = modes(pairs["modes"]), pairs["class"]
	v.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimPolicy(pairs["policy"])
	v.Status.Phase = corev1.VolumeAvailable
	if p, ok := pairs["phase"]; ok {
		v.Status.Phase = corev1.PersistentVolumePhase(p)
	}
	if uid, ok := pairs["for"]; ok {
		v.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: "c", UID: types.UID(strings.Trim(uid, "?"))}
	}
	if pairs["ours"] != "" {
		annotate(&v.Annotations, boundByUs, "yes")
	}
	if by := pairs["by"]; by != "" {
		annotate(&v.Annotations, provisionedBy, by)
	}
	if path := pairs["path"]; path != "" {
		v.Spec.HostPath = &corev1.HostPathVolumeSource{Path: path}
	}
	if pairs["block"] != "" {
		b := corev1.PersistentVolumeBlock
		v.Spec.VolumeMode = &b
	}
	return v
}

// TestPlan reads lines "claim WORDS", "volume NAME WORDS", "class NAME
// PROVISIONER [wait] [default] [age=D]", "consumer POD", and "about NAME" for
// the plan of a volume.
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		w := view{dynamic: true}
		var volumes []*corev1.PersistentVolume
		var classes []*storagev1.StorageClass
		about := ""
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "claim":
				w.claim = claim(pairs)
			case "volume":
				volumes = append(volumes, volume(words[1], pairs))
			case "class":
				c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: words[1], Annotations: map[string]string{}}, Provisioner: words[2]}
				if pairs["wait"] != "" {
					m := storagev1.VolumeBindingWaitForFirstConsumer
					c.VolumeBindingMode = &m
				}
				if pairs["default"] != "" {
					c.Annotations[defaultClass] = "true"
				}
				if a, ok := pairs["age"]; ok {
					d, err := time.ParseDuration(a)
					if err != nil {
						t.Fatal(err)
					}
					c.CreationTimestamp = metav1.NewTime(podtest.Now.Add(-d))
				}
				classes = append(classes, c)
			case "consumer":
				w.consumer = words[1]
			case "about":
				about = words[1]
			}
		}
		w.volumes, w.classes = slices.Values(volumes), slices.Values(classes)
		w.volume = func(name string) (*corev1.PersistentVolume, bool) {
			i := slices.IndexFunc(volumes, func(v *corev1.PersistentVolume) bool { return v.Name == name })
			if i < 0 {
				return nil, false
			}
			return volumes[i], true
		}
		w.class = func(name string) (*storagev1.StorageClass, bool) {
			i := slices.IndexFunc(classes, func(c *storagev1.StorageClass) bool { return c.Name == name })
			if i < 0 {
				return nil, false
			}
			return classes[i], true
		}
		if about != "" {
			v, _ := w.volume(about)
			return planVolume(v, w.claim).String()
		}
		return planClaim(w).String()
	})
}
