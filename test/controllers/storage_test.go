package controllers

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hostVolume is a volume of a class that only the test uses.
func hostVolume(name, class, size, policy string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":%q},"spec":{"capacity":{"storage":%q},"accessModes":["ReadWriteOnce"],
		"storageClassName":%q,"persistentVolumeReclaimPolicy":%q,"hostPath":{"path":"/tmp/x"}}}`, name, size, class, policy)
}

func volumeClaim(name, class, size string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":%q},"spec":{"storageClassName":%q,"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":%q}}}}`, name, class, size)
}

func (c *cluster) claimIs(t testing.TB, ns, name string, phase corev1.PersistentVolumeClaimPhase, volume string) {
	t.Helper()
	eventually(t, "claim "+name+" is "+string(phase), func() error {
		p, err := c.CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && (p.Status.Phase != phase || p.Spec.VolumeName != volume) {
			err = fmt.Errorf("it is %s with volume %q", p.Status.Phase, p.Spec.VolumeName)
		}
		return err
	})
}

func (c *cluster) volumeIs(t testing.TB, name string, phase corev1.PersistentVolumePhase) {
	t.Helper()
	eventually(t, "volume "+name+" is "+string(phase), func() error {
		v, err := c.CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && v.Status.Phase != phase {
			err = fmt.Errorf("it is %s", v.Status.Phase)
		}
		return err
	})
}

// volumes are bound, protected, released and gone.
func volumes(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	big, small := "big-"+ns, "small-"+ns
	c.kubectl(t, "", hostVolume(big, ns, "10Gi", "Retain"), "apply", "-f", "-")
	c.kubectl(t, "", hostVolume(small, ns, "5Gi", "Retain"), "apply", "-f", "-")
	c.volumeIs(t, big, corev1.VolumeAvailable)
	c.volumeIs(t, small, corev1.VolumeAvailable)
	c.kubectl(t, ns, volumeClaim("one", ns, "4Gi"), "apply", "-f", "-")
	c.claimIs(t, ns, "one", corev1.ClaimBound, small)
	c.volumeIs(t, small, corev1.VolumeBound)
	c.kubectl(t, ns, volumeClaim("two", ns, "20Gi"), "apply", "-f", "-")
	c.event(t, ns, "two", "persistentvolume-controller", "ProvisioningFailed", fmt.Sprintf("storageclass.storage.k8s.io %q not found", ns))

	// A pod holds its claim, and the claim its volume.
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"user"},"spec":{"containers":[{"name":"c","image":"x"}],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"one"}}]}}`, "apply", "-f", "-")
	c.kubectl(t, ns, "", "wait", "--for=condition=ready", "pod/user", "--timeout=60s")
	c.kubectl(t, ns, "", "delete", "pvc/one", "--wait=false")
	c.kubectl(t, "", "", "delete", "pv/"+small, "--wait=false")
	c.claimIs(t, ns, "one", corev1.ClaimBound, small)
	c.kubectl(t, ns, "", "delete", "pod/user")
	c.kubectl(t, ns, "", "wait", "--for=delete", "pvc/one", "--timeout=60s")
	c.kubectl(t, ns, "", "wait", "--for=delete", "pv/"+small, "--timeout=60s")

	// What is kept is released, and can be given away again.
	c.kubectl(t, ns, volumeClaim("three", ns, "8Gi"), "apply", "-f", "-")
	c.claimIs(t, ns, "three", corev1.ClaimBound, big)
	c.kubectl(t, ns, "", "delete", "pvc/three")
	c.volumeIs(t, big, corev1.VolumeReleased)
	c.kubectl(t, "", "", "patch", "pv/"+big, "-p", `{"spec":{"claimRef":null}}`)
	c.volumeIs(t, big, corev1.VolumeAvailable)
	c.kubectl(t, "", "", "delete", "pv/"+big)
}

// waitingVolumes: classes say when a claim is bound, and by whom.
func waitingVolumes(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, "", fmt.Sprintf(`{"apiVersion":"storage.k8s.io/v1","kind":"StorageClass","metadata":{"name":%q},"provisioner":"csi.example","volumeBindingMode":"WaitForFirstConsumer"}`, ns), "apply", "-f", "-")
	c.kubectl(t, "", hostVolume("pv-"+ns, ns, "5Gi", "Retain"), "apply", "-f", "-")
	c.kubectl(t, ns, volumeClaim("late", ns, "1Gi"), "apply", "-f", "-")
	c.event(t, ns, "late", "persistentvolume-controller", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
	c.claimIs(t, ns, "late", corev1.ClaimPending, "")
	// The scheduler chooses the volume for the pod.
	c.kubectl(t, "", "", "patch", "pv/pv-"+ns, "-p", fmt.Sprintf(`{"spec":{"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","namespace":%q,"name":"late"}}}`, ns))
	c.claimIs(t, ns, "late", corev1.ClaimBound, "pv-"+ns)
	// The scheduler chooses a node, and the provisioner is asked.
	c.kubectl(t, ns, volumeClaim("made", ns, "1Gi"), "apply", "-f", "-")
	c.kubectl(t, ns, "", "annotate", "pvc/made", "volume.kubernetes.io/selected-node=n1")
	eventually(t, "the provisioner is asked", func() error {
		p, err := c.CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "made", metav1.GetOptions{})
		if err == nil && p.Annotations["volume.kubernetes.io/storage-provisioner"] != "csi.example" {
			err = fmt.Errorf("annotations %v", p.Annotations)
		}
		return err
	})
	c.event(t, ns, "made", "persistentvolume-controller", "ExternalProvisioning", "Waiting for a volume to be created either by the external provisioner 'csi.example'")
	// Its volume is taken away.
	c.kubectl(t, "", "", "delete", "pv/pv-"+ns, "--wait=false")
	c.kubectl(t, "", "", "patch", "pv/pv-"+ns, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	c.claimIs(t, ns, "late", corev1.ClaimLost, "pv-"+ns)
	c.event(t, ns, "late", "persistentvolume-controller", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
}
