package controllers

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// attachedTo wants a volume to be attached to a node and to no other.
func (c *cluster) attachedTo(t *testing.T, volume, node string) *storagev1.VolumeAttachment {
	t.Helper()
	var found *storagev1.VolumeAttachment
	eventually(t, "volume "+volume+" is attached to "+node, func() error {
		l, err := c.StorageV1().VolumeAttachments().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		var at []string
		for i := range l.Items {
			if a := &l.Items[i]; *a.Spec.Source.PersistentVolumeName == volume {
				at = append(at, a.Spec.NodeName)
				found = a
			}
		}
		if len(at) != 1 || at[0] != node {
			return fmt.Errorf("it is attached to %v", at)
		}
		return nil
	})
	return found
}

// onNode is a pod that uses a claim on a node.
func onNode(name, node, claim string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q},"spec":{"nodeName":%q,"containers":[{"name":"c","image":"x"}],"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":%q}}]}}`, name, node, claim)
}

// TestAttachments: they follow the pods to a node, and from there to another.
func TestAttachments(t *testing.T) {
	c := newCluster(t)
	c.manage()
	ns := c.namespace(t)
	d := c.drive(t)
	one, two := "one-"+ns, "two-"+ns
	for _, n := range []string{one, two} {
		d.addNode(t, n, nil)
		c.kubectl(t, "", "", "annotate", "node/"+n, "volumes.kubernetes.io/controller-managed-attach-detach=true")
	}
	volume := "pv-" + ns
	c.kubectl(t, "", fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":%q},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],
		"storageClassName":%q,"csi":{"driver":"csi.example.com","volumeHandle":%q}}}`, volume, ns, ns), "apply", "-f", "-")
	c.kubectl(t, ns, volumeClaim("data", ns, "1Gi"), "apply", "-f", "-")
	c.claimIs(t, ns, "data", corev1.ClaimBound, volume)
	c.kubectl(t, ns, onNode("first", one, "data"), "apply", "-f", "-")
	a := c.attachedTo(t, volume, one)
	if a.Spec.Attacher != "csi.example.com" {
		t.Errorf("attacher %s", a.Spec.Attacher)
	}
	// What the driver's attacher does.
	a.Status.Attached = true
	if _, err := c.StorageV1().VolumeAttachments().UpdateStatus(t.Context(), a, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	unique := corev1.UniqueVolumeName("kubernetes.io/csi/csi.example.com^" + ns)
	c.nodeHas(t, one, unique)
	c.event(t, ns, "first", "attachdetach-controller", "SuccessfulAttachVolume", fmt.Sprintf("AttachVolume.Attach succeeded for volume %q ", volume))

	// The kubelet mounts it; another node must wait.
	c.inUse(t, one, unique)
	c.kubectl(t, ns, onNode("second", two, "data"), "apply", "-f", "-")
	c.event(t, ns, "second", "attachdetach-controller", "FailedAttachVolume", fmt.Sprintf("Multi-Attach error for volume %q Volume is already used by pod(s) first", volume))
	c.kubectl(t, ns, "", "delete", "pod/first")
	always(t, "a mounted volume is detached", 500*time.Millisecond, func() error {
		_, err := c.StorageV1().VolumeAttachments().Get(context.Background(), a.Name, metav1.GetOptions{})
		return err
	})
	c.inUse(t, one)
	c.attachedTo(t, volume, two)
	c.nodeHas(t, one)

	// A node that goes away lets go of its volumes.
	c.kubectl(t, "", "", "delete", "node/"+two)
	eventually(t, "the volume is detached", func() error {
		l, err := c.StorageV1().VolumeAttachments().List(t.Context(), metav1.ListOptions{})
		if err == nil && slices.ContainsFunc(l.Items, func(a storagev1.VolumeAttachment) bool { return *a.Spec.Source.PersistentVolumeName == volume }) {
			err = fmt.Errorf("it is not")
		}
		return err
	})
	c.kubectl(t, "", "", "delete", "node/"+one)
}

// nodeHas wants a node's status to say what is attached.
func (c *cluster) nodeHas(t *testing.T, node string, want ...corev1.UniqueVolumeName) {
	t.Helper()
	eventually(t, "the attached volumes of "+node, func() error {
		n, err := c.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		var have []corev1.UniqueVolumeName
		for _, v := range n.Status.VolumesAttached {
			have = append(have, v.Name)
		}
		if !slices.Equal(have, want) {
			return fmt.Errorf("they are %v, not %v", have, want)
		}
		return nil
	})
}

// inUse says what a kubelet has mounted.
func (c *cluster) inUse(t *testing.T, node string, volumes ...corev1.UniqueVolumeName) {
	t.Helper()
	eventually(t, "the status of "+node, func() error {
		n, err := c.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		n.Status.VolumesInUse = volumes
		_, err = c.CoreV1().Nodes().UpdateStatus(t.Context(), n, metav1.UpdateOptions{})
		return err
	})
}
