package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
)

// claimed is a volume behind a claim that has been set up.
type claimed struct {
	claim  *corev1.PersistentVolumeClaim
	volume *corev1.PersistentVolume
	// path is what containers mount, or the device of a block volume.
	path     string
	block    bool
	readOnly bool
}

// setupClaim sets up the volume behind a claim, once for the pod's life.
func (m *Manager) setupClaim(ctx context.Context, s *podVolumes, v *corev1.Volume) error {
	if have := s.claims[v.Name]; have != nil {
		if _, err := os.Lstat(have.path); err == nil {
			return nil
		}
	}
	c, err := m.bound(ctx, s.pod, v)
	if err != nil {
		return fmt.Errorf("Unable to attach or mount volumes: unmounted volumes=[%s], unattached volumes=[], failed to process volumes=[%s]: error processing PVC %s/%s: %w", //nolint:staticcheck // an event's text
			v.Name, v.Name, s.pod.Namespace, claimName(s.pod, v), err)
	}
	if err := m.setupBound(ctx, s, c); err != nil {
		return fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", c.volume.Name, err)
	}
	s.claims[v.Name] = c
	return nil
}

func claimName(pod *corev1.Pod, v *corev1.Volume) string {
	if v.PersistentVolumeClaim != nil {
		return v.PersistentVolumeClaim.ClaimName
	}
	return pod.Name + "-" + v.Name
}

// bound finds the claim and the volume it is bound to.
func (m *Manager) bound(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) (*claimed, error) {
	if m.o.API == nil {
		return nil, errors.New("this kubelet has no API server to ask for claims")
	}
	name := claimName(pod, v)
	claim, err := client.Get[*corev1.PersistentVolumeClaim](ctx, m.o.API, pod.Namespace, name)
	if err != nil {
		return nil, fmt.Errorf("failed to fetch PVC from API server: %w", err)
	}
	switch {
	case v.Ephemeral != nil && !metav1.IsControlledBy(claim, pod):
		return nil, fmt.Errorf("PVC %s/%s was not created for pod %s/%s (pod is not owner)", claim.Namespace, claim.Name, pod.Namespace, pod.Name)
	case claim.DeletionTimestamp != nil:
		return nil, errors.New("PVC is being deleted")
	case claim.Status.Phase != corev1.ClaimBound || claim.Spec.VolumeName == "":
		return nil, errors.New("PVC is not bound")
	}
	pv, err := client.Get[*corev1.PersistentVolume](ctx, m.o.API, "", claim.Spec.VolumeName)
	if err != nil {
		return nil, fmt.Errorf("failed to fetch PV %s from API server: %w", claim.Spec.VolumeName, err)
	}
	if pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != claim.UID {
		return nil, fmt.Errorf("PV %s is not bound to the claim", pv.Name)
	}
	c := &claimed{claim: claim, volume: pv, block: pv.Spec.VolumeMode != nil && *pv.Spec.VolumeMode == corev1.PersistentVolumeBlock}
	c.readOnly = v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly
	return c, m.fits(pv)
}

// fits checks that the volume can be used on this node.
func (m *Manager) fits(pv *corev1.PersistentVolume) error {
	n := m.o.NodeObject()
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil || n == nil {
		return nil
	}
	for i := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
		if matches(&pv.Spec.NodeAffinity.Required.NodeSelectorTerms[i], n) {
			return nil
		}
	}
	return fmt.Errorf("the node affinity of PV %s does not match node %s: no matching NodeSelectorTerms", pv.Name, n.Name)
}

// matches reports whether a node is one of a term; an empty term has none.
func matches(t *corev1.NodeSelectorTerm, n *corev1.Node) bool {
	if len(t.MatchExpressions)+len(t.MatchFields) == 0 {
		return false
	}
	for _, r := range t.MatchExpressions {
		v, ok := n.Labels[r.Key]
		if !meets(r, v, ok) {
			return false
		}
	}
	for _, r := range t.MatchFields {
		if r.Key != metav1.ObjectNameField || !meets(r, n.Name, true) {
			return false
		}
	}
	return true
}

func meets(r corev1.NodeSelectorRequirement, v string, ok bool) bool {
	switch r.Operator {
	case corev1.NodeSelectorOpIn:
		return ok && slices.Contains(r.Values, v)
	case corev1.NodeSelectorOpNotIn:
		return !ok || !slices.Contains(r.Values, v)
	case corev1.NodeSelectorOpExists:
		return ok
	case corev1.NodeSelectorOpDoesNotExist:
		return !ok
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			return false
		}
		have, err1 := strconv.ParseInt(v, 10, 64)
		bound, err2 := strconv.ParseInt(r.Values[0], 10, 64)
		if err1 != nil || err2 != nil {
			return false
		}
		return have > bound == (r.Operator == corev1.NodeSelectorOpGt) && have != bound
	}
	return false
}

// setupBound sets up a volume by its kind.
func (m *Manager) setupBound(ctx context.Context, s *podVolumes, c *claimed) error {
	pv := c.volume
	switch {
	case pv.Spec.HostPath != nil:
		c.path = pv.Spec.HostPath.Path
		return checkHostPath(c.path, pv.Spec.HostPath.Type)
	case pv.Spec.Local != nil:
		return m.setupLocal(s.pod, c)
	case pv.Spec.CSI != nil:
		c.readOnly = c.readOnly || pv.Spec.CSI.ReadOnly
		return m.csi.setupBound(ctx, s, c)
	case pv.Spec.NFS != nil:
		return errors.New("no volume plugin matched: nfs volumes are not supported by this kubelet; use a CSI driver for NFS")
	}
	return errors.New("no volume plugin matched: this kubelet supports PersistentVolumes of the kinds local, hostPath and csi")
}

func (m *Manager) setupLocal(pod *corev1.Pod, c *claimed) error {
	from := c.volume.Spec.Local.Path
	info, err := os.Stat(from)
	if err != nil {
		return fmt.Errorf("path %q does not exist: %w", from, err)
	}
	device := info.Mode()&os.ModeDevice != 0
	switch {
	case c.block && device:
		c.path = from
		return nil
	case c.block:
		return fmt.Errorf("local path %s is not a block device, but the volume's mode is Block", from)
	case !info.IsDir():
		return fmt.Errorf("local path %s is not a directory: mount the file system of a device first, or use volumeMode Block", from)
	}
	c.path = m.dir(pod.UID, pluginLocal, c.volume.Name)
	if err := bind(from, c.path); err != nil {
		return err
	}
	if c.readOnly {
		return nil
	}
	return own(c.path, pod)
}
