package attachdetach

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

func testVolume(name, modes string) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	v.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "d", VolumeHandle: "h-" + name}
	for m := range strings.SplitSeq(modes, ",") {
		v.Spec.AccessModes = append(v.Spec.AccessModes, corev1.PersistentVolumeAccessMode(m))
	}
	return v
}

// TestPlan reads lines "node WORDS" (ready, gone, foreign, out, inUse=A,B and
// attached=A,B), "want VOLUME POD... [modes=M,M]", "attachment VOLUME
// [attached] [deleted] [error=E] [idle=D]", "elsewhere VOLUME [by=POD]" and
// "patient".
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Annotations: map[string]string{managed: "true"}}}
		volumes := map[string]*corev1.PersistentVolume{}
		elsewhere, users := map[string][]*storagev1.VolumeAttachment{}, map[string][]*corev1.Pod{}
		of := func(name string) *corev1.PersistentVolume {
			if volumes[name] == nil {
				volumes[name] = testVolume(name, "ReadWriteOnce")
			}
			return volumes[name]
		}
		names := func(text string) (out []corev1.UniqueVolumeName) {
			for name := range strings.SplitSeq(text, ",") {
				out = append(out, uniqueName(of(name)))
			}
			return out
		}
		o := observed{
			name: "n", node: node, now: podtest.Now, memory: newMemory(),
			volume:    func(name string) *corev1.PersistentVolume { return volumes[name] },
			elsewhere: func(v string) []*storagev1.VolumeAttachment { return elsewhere[v] },
			users:     func(v *corev1.PersistentVolume) []*corev1.Pod { return users[v.Name] },
		}
		for _, line := range in {
			words, pairs := golden.Fields(line)
			switch words[0] {
			case "node":
				readNode(node, pairs, names)
				if pairs["gone"] != "" {
					o.node = nil
				}
			case "patient":
				o.patient = true
			case "want":
				if m := pairs["modes"]; m != "" {
					volumes[words[1]] = testVolume(words[1], m)
				}
				w := want{volume: of(words[1])}
				for _, p := range words[2:] {
					w.pods = append(w.pods, podtest.Pod(t, p, nil))
				}
				o.wants = append(o.wants, w)
			case "elsewhere":
				elsewhere[words[1]] = append(elsewhere[words[1]], newAttachment(of(words[1]), "other"))
				if by := pairs["by"]; by != "" {
					users[words[1]] = append(users[words[1]], podtest.Pod(t, by, nil))
				}
			case "attachment":
				o.attachments = append(o.attachments, readAttachment(t, of(words[1]), pairs, o.memory))
			default:
				t.Fatalf("what is %q?", line)
			}
		}
		p := plan(o)
		text := p.String()
		// What was told is not told again.
		if again := plan(o); len(again.Notes) > 0 {
			t.Errorf("told again: %v", again)
		}
		return text
	})
}

func readNode(n *corev1.Node, pairs map[string]string, names func(string) []corev1.UniqueVolumeName) {
	for k, v := range pairs {
		switch k {
		case "ready":
			n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		case "foreign":
			n.Annotations = nil
		case "out":
			n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeOutOfService, Effect: corev1.TaintEffectNoExecute}}
		case "inUse":
			n.Status.VolumesInUse = names(v)
		case "attached":
			for _, name := range names(v) {
				n.Status.VolumesAttached = append(n.Status.VolumesAttached, corev1.AttachedVolume{Name: name})
			}
		}
	}
}

func readAttachment(t *testing.T, v *corev1.PersistentVolume, pairs map[string]string, m *memory) *storagev1.VolumeAttachment {
	a := newAttachment(v, "n")
	a.Status.Attached = pairs["attached"] != ""
	if pairs["deleted"] != "" {
		now := metav1.NewTime(podtest.Now)
		a.DeletionTimestamp = &now
	}
	if e := pairs["error"]; e != "" {
		a.Status.AttachError = &storagev1.VolumeError{Message: e}
	}
	if pairs["foreign"] != "" {
		a.Name = "mine"
	}
	if d := pairs["idle"]; d != "" {
		ago, err := time.ParseDuration(d)
		if err != nil {
			t.Fatal(err)
		}
		m.idle[a.Name] = podtest.Now.Add(-ago)
	}
	return a
}

func TestNames(t *testing.T) {
	// What kubelets and drivers' attachers look for: printf handledrivernode | sha256sum.
	if got := attachmentName("handle", "driver", "node"); got != "csi-fdef298eb16db6fa42906ef1ff09a93a7f3028f8290cc9d71628ff91c237bfa7" {
		t.Errorf("attachment %s", got)
	}
	if got := uniqueName(testVolume("a", "ReadWriteOnce")); got != "kubernetes.io/csi/d^h-a" {
		t.Errorf("volume %s", got)
	}
}
