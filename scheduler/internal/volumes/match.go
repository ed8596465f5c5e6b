package volumes

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/plugins/nodeselector"
)

// Choice is what happens to the claims of a pod on a node: volumes that are
// there are bound, others are provisioned.
type Choice struct {
	Bind      []Binding
	Provision []*corev1.PersistentVolumeClaim
}

// Binding of a claim to a volume.
type Binding struct {
	Claim  *corev1.PersistentVolumeClaim
	Volume *corev1.PersistentVolume
}

// Reasons why claims can't be met on a node.
const (
	NoVolume = "node(s) didn't find available persistent volumes to bind"
	NoSpace  = "node(s) did not have enough free storage"
)

// Choose meets delayed claims on a node; why is a reason when that can't be.
func (v *Volumes) Choose(uses []Use, n *corev1.Node) (c Choice, why string) {
	taken := map[string]bool{}
	for i := range uses {
		u := &uses[i]
		if selected, ok := u.Claim.Annotations[SelectedNode]; ok {
			// A provisioner is at work on it.
			if selected != n.Name {
				return c, NoVolume
			}
			c.Provision = append(c.Provision, u.Claim)
			continue
		}
		if pv := v.smallest(u, n, taken); pv != nil {
			taken[pv.Name] = true
			c.Bind = append(c.Bind, Binding{u.Claim, pv})
			continue
		}
		if why := v.provisionable(u, n); why != "" {
			return c, why
		}
		c.Provision = append(c.Provision, u.Claim)
	}
	return c, ""
}

// smallest volume that meets a claim on a node.
func (v *Volumes) smallest(u *Use, n *corev1.Node, taken map[string]bool) *corev1.PersistentVolume {
	var best *corev1.PersistentVolume
	want := u.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
	for _, pv := range v.volumes.In("") {
		if taken[pv.Name] || !v.free(u.Claim, pv) || !suits(u.Claim, pv, want) {
			continue
		}
		if a := pv.Spec.NodeAffinity; a != nil && a.Required != nil && !nodeselector.Matches(a.Required, n) {
			continue
		}
		if claimed(u.Claim, pv) {
			return pv // made for it
		}
		if best == nil || smaller(pv, best) {
			best = pv
		}
	}
	return best
}

func smaller(a, b *corev1.PersistentVolume) bool {
	qa, qb := a.Spec.Capacity[corev1.ResourceStorage], b.Spec.Capacity[corev1.ResourceStorage]
	if c := qa.Cmp(qb); c != 0 {
		return c < 0
	}
	return a.Name < b.Name
}

func claimed(c *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) bool {
	r := pv.Spec.ClaimRef
	return r != nil && r.Namespace == c.Namespace && r.Name == c.Name && (r.UID == "" || r.UID == c.UID)
}

func (v *Volumes) free(c *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) bool {
	if to, ok := v.assumed[pv.Name]; ok && to != Key(c) {
		return false
	}
	return pv.DeletionTimestamp == nil && (pv.Spec.ClaimRef == nil || claimed(c, pv)) &&
		(pv.Status.Phase == corev1.VolumeAvailable || pv.Status.Phase == "" || pv.Status.Phase == corev1.VolumePending || claimed(c, pv))
}

func suits(c *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume, want resource.Quantity) bool {
	if pv.Spec.StorageClassName != ClassName(c) || mode(pv.Spec.VolumeMode) != mode(c.Spec.VolumeMode) {
		return false
	}
	have := pv.Spec.Capacity[corev1.ResourceStorage]
	if have.Cmp(want) < 0 {
		return false
	}
	for _, m := range c.Spec.AccessModes {
		if !slices.Contains(pv.Spec.AccessModes, m) {
			return false
		}
	}
	if c.Spec.Selector == nil {
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(c.Spec.Selector)
	return err == nil && s.Matches(labels.Set(pv.Labels))
}

func mode(m *corev1.PersistentVolumeMode) corev1.PersistentVolumeMode {
	if m == nil {
		return corev1.PersistentVolumeFilesystem
	}
	return *m
}

// noProvisioner marks classes of volumes that are made by hand.
const noProvisioner = "kubernetes.io/no-provisioner"

// provisionable says why a claim's class can't provide a volume on a node.
func (v *Volumes) provisionable(u *Use, n *corev1.Node) string {
	if u.Class == nil || u.Class.Provisioner == "" || u.Class.Provisioner == noProvisioner || !allowed(u.Class.AllowedTopologies, n) {
		return NoVolume
	}
	d, ok := v.drivers.Get("", u.Class.Provisioner)
	if !ok || d.Spec.StorageCapacity == nil || !*d.Spec.StorageCapacity {
		return ""
	}
	want := u.Claim.Spec.Resources.Requests[corev1.ResourceStorage]
	for _, in := range v.capacities.Namespaces() {
		for _, c := range v.capacities.In(in) {
			if c.StorageClassName == u.Class.Name && enough(c, want) && reaches(c.NodeTopology, n) {
				return ""
			}
		}
	}
	return NoSpace
}

func enough(c *storagev1.CSIStorageCapacity, want resource.Quantity) bool {
	limit := c.Capacity
	if c.MaximumVolumeSize != nil {
		limit = c.MaximumVolumeSize
	}
	return limit != nil && limit.Cmp(want) >= 0
}

func reaches(s *metav1.LabelSelector, n *corev1.Node) bool {
	if s == nil {
		return false
	}
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(labels.Set(n.Labels))
}

// allowed reports whether a node is in one of a class's topologies.
func allowed(list []corev1.TopologySelectorTerm, n *corev1.Node) bool {
	if len(list) == 0 {
		return true
	}
	return slices.ContainsFunc(list, func(t corev1.TopologySelectorTerm) bool {
		return !slices.ContainsFunc(t.MatchLabelExpressions, func(e corev1.TopologySelectorLabelRequirement) bool {
			have, ok := n.Labels[e.Key]
			return !ok || !slices.Contains(e.Values, have)
		})
	})
}

// Assume reserves a choice, Forget gives it back.
func (v *Volumes) Assume(c *Choice, node string) {
	v.assumptions++
	for _, b := range c.Bind {
		v.assumed[b.Volume.Name] = Key(b.Claim)
	}
	for _, p := range c.Provision {
		v.provisioning[Key(p)] = node
	}
}

// Forget is described with Assume.
func (v *Volumes) Forget(c *Choice) {
	v.assumptions++
	for _, b := range c.Bind {
		delete(v.assumed, b.Volume.Name)
	}
	for _, p := range c.Provision {
		delete(v.provisioning, Key(p))
	}
}

// Limits of a node: how many volumes of each driver it can have attached.
func (v *Volumes) Limits(node string) map[string]int64 {
	n, ok := v.nodes.Get("", node)
	if !ok {
		return nil
	}
	var out map[string]int64
	for i := range n.Spec.Drivers {
		d := &n.Spec.Drivers[i]
		if d.Allocatable == nil || d.Allocatable.Count == nil {
			continue
		}
		if out == nil {
			out = map[string]int64{}
		}
		out[d.Name] = int64(*d.Allocatable.Count)
	}
	return out
}

// Attach collects the volumes, as driver and handle, that a pod needs on its
// node, with the claims' names where there are claims.
func (v *Volumes) Attach(p *cache.Pod, add func(driver, handle, claim string)) {
	spec := &p.Obj.Spec
	for i := range spec.Volumes {
		s := &spec.Volumes[i].VolumeSource
		inline := corev1.PersistentVolume{Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{
			AWSElasticBlockStore: s.AWSElasticBlockStore, GCEPersistentDisk: s.GCEPersistentDisk, AzureDisk: s.AzureDisk,
		}}}
		if d := Driver(&inline); d != "" {
			add(d, inlineHandle(s), "")
		}
	}
	for _, u := range v.Uses(p.Obj) {
		switch {
		case u.Claim == nil:
		case u.Bound != nil:
			if d := Driver(u.Bound); d != "" {
				add(d, Handle(u.Bound), u.Name)
			}
		case u.Class != nil && u.Class.Provisioner != noProvisioner:
			add(u.Class.Provisioner, "claim/"+Key(u.Claim), u.Name)
		}
	}
}

func inlineHandle(s *corev1.VolumeSource) string {
	switch {
	case s.AWSElasticBlockStore != nil:
		return s.AWSElasticBlockStore.VolumeID
	case s.GCEPersistentDisk != nil:
		return s.GCEPersistentDisk.PDName
	}
	return s.AzureDisk.DiskName
}

// AttachedTo collects the volumes that are attached to a node by the cluster's
// books, whether or not a pod there needs them.
func (v *Volumes) AttachedTo(node string, add func(driver, handle string)) {
	for _, a := range v.attachedBy[node] {
		if name := a.Spec.Source.PersistentVolumeName; name != nil {
			if pv, ok := v.volumes.Get("", *name); ok {
				add(a.Spec.Attacher, Handle(pv))
			}
		}
	}
}

// LimitsVersion changes with limits and attachments.
func (v *Volumes) LimitsVersion() string {
	return strconv.Itoa(v.nodes.Generation) + "." + strconv.Itoa(v.attached.Generation)
}
