// Package volumes is what the scheduler knows of volumes: claims, volumes,
// classes, drivers and capacities, and what has been assumed about them.
//
// Changes and assumptions are made by the loop's goroutine alone, under the
// lock; it reads without, others with it.
package volumes

import (
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/feed"
)

// Annotations of claims.
const (
	BindCompleted = "pv.kubernetes.io/bind-completed"
	SelectedNode  = "volume.kubernetes.io/selected-node"
)

// Volumes of the cluster.
type Volumes struct {
	mu         sync.RWMutex
	claims     feed.Table[*corev1.PersistentVolumeClaim]
	volumes    feed.Table[*corev1.PersistentVolume]
	classes    feed.Table[*storagev1.StorageClass]
	nodes      feed.Table[*storagev1.CSINode]
	drivers    feed.Table[*storagev1.CSIDriver]
	capacities feed.Table[*storagev1.CSIStorageCapacity]
	attached   feed.Table[*storagev1.VolumeAttachment]
	attachedBy map[string]map[string]*storagev1.VolumeAttachment // by node and name
	changed    chan struct{}                                     // guarded by mu: closed and replaced with each change of claims and volumes

	// assumed volumes by name, with the claim (namespace/name) they go to.
	assumed map[string]string
	// provisioning claims, by namespace/name, with the node chosen.
	provisioning map[string]string
	assumptions  int
	// matched counts what matching volumes to claims depends on.
	matched int
}

// New knows nothing yet.
func New() *Volumes {
	return &Volumes{changed: make(chan struct{}), assumed: map[string]string{}, provisioning: map[string]string{}, attachedBy: map[string]map[string]*storagev1.VolumeAttachment{}}
}

func apply[T scheme.Object](v *Volumes, t *feed.Table[T], changes []feed.Change[T]) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t.Apply(changes)
	v.matched++
	close(v.changed)
	v.changed = make(chan struct{})
}

// Claims, and the methods after it, take changes.
func (v *Volumes) Claims(c []feed.Change[*corev1.PersistentVolumeClaim]) { apply(v, &v.claims, c) }

// PersistentVolumes takes changes.
func (v *Volumes) PersistentVolumes(c []feed.Change[*corev1.PersistentVolume]) {
	apply(v, &v.volumes, c)
}

// Classes takes changes.
func (v *Volumes) Classes(c []feed.Change[*storagev1.StorageClass]) { apply(v, &v.classes, c) }

// CSINodes takes changes.
func (v *Volumes) CSINodes(c []feed.Change[*storagev1.CSINode]) { apply(v, &v.nodes, c) }

// Drivers takes changes.
func (v *Volumes) Drivers(c []feed.Change[*storagev1.CSIDriver]) { apply(v, &v.drivers, c) }

// Capacities takes changes.
func (v *Volumes) Capacities(c []feed.Change[*storagev1.CSIStorageCapacity]) {
	apply(v, &v.capacities, c)
}

// Attachments takes changes.
func (v *Volumes) Attachments(c []feed.Change[*storagev1.VolumeAttachment]) {
	apply(v, &v.attached, c)
	for _, ch := range c {
		if ch.Old != nil {
			delete(v.attachedBy[ch.Old.Spec.NodeName], ch.Old.Name)
		}
		if ch.New != nil {
			on := v.attachedBy[ch.New.Spec.NodeName]
			if on == nil {
				on = map[string]*storagev1.VolumeAttachment{}
				v.attachedBy[ch.New.Spec.NodeName] = on
			}
			on[ch.New.Name] = ch.New
		}
	}
}

// Claim finds a claim, from any goroutine.
func (v *Volumes) Claim(namespace, name string) (c *corev1.PersistentVolumeClaim, changed <-chan struct{}, ok bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	c, ok = v.claims.Get(namespace, name)
	return c, v.changed, ok
}

// Use is one claim of a pod.
type Use struct {
	// Volume is its name in the pod.
	Volume    string
	Name      string
	Ephemeral bool
	Claim     *corev1.PersistentVolumeClaim // nil when missing
	Bound     *corev1.PersistentVolume      // nil while not bound, or missing
	Class     *storagev1.StorageClass       // of a claim that is not bound; nil for none
}

// Key is namespace/name of a claim.
func Key(c *corev1.PersistentVolumeClaim) string { return c.Namespace + "/" + c.Name }

// IsBound reports whether claim and volume are fully bound to each other.
func IsBound(c *corev1.PersistentVolumeClaim) bool {
	return c.Spec.VolumeName != "" && metav1.HasAnnotation(c.ObjectMeta, BindCompleted)
}

// Delayed reports whether the claim waits for a pod to choose its place.
func (u *Use) Delayed() bool {
	return u.Claim.Spec.VolumeName == "" && u.Class != nil && u.Class.VolumeBindingMode != nil && *u.Class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// Uses is the claims of a pod.
func (v *Volumes) Uses(p *corev1.Pod) []Use {
	var out []Use
	for i := range p.Spec.Volumes {
		vol := &p.Spec.Volumes[i]
		name := cache.ClaimName(p, vol)
		if name == "" {
			continue
		}
		u := Use{Volume: vol.Name, Name: name, Ephemeral: vol.Ephemeral != nil}
		if c, ok := v.claims.Get(p.Namespace, name); ok {
			u.Claim = c
			if c.Spec.VolumeName != "" {
				u.Bound, _ = v.volumes.Get("", c.Spec.VolumeName)
			}
			if n := ClassName(c); n != "" {
				u.Class, _ = v.classes.Get("", n)
			}
		}
		out = append(out, u)
	}
	return out
}

// ClassName of a claim; "" is none.
func ClassName(c *corev1.PersistentVolumeClaim) string {
	if n, ok := c.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return n
	}
	if c.Spec.StorageClassName != nil {
		return *c.Spec.StorageClassName
	}
	return ""
}

// Sign is what makes pods alike as far as their claims go.
func (v *Volumes) Sign(c *cache.Cluster, p *cache.Pod) string {
	if !p.Shape.Volumes {
		return ""
	}
	b := []byte{}
	for i := range p.Obj.Spec.Volumes {
		vol := &p.Obj.Spec.Volumes[i]
		if cache.ClaimName(p.Obj, vol) == "" && vol.ConfigMap == nil && vol.Secret == nil && vol.EmptyDir == nil && vol.Projected == nil {
			raw, _ := vol.VolumeSource.Marshal() // of a plain struct
			b = append(append(b, 'i'), raw...)
		}
	}
	for _, u := range v.Uses(p.Obj) {
		b = append(b, 0)
		b = v.signUse(b, c, p, &u)
	}
	return string(b)
}

func (v *Volumes) signUse(b []byte, c *cache.Cluster, p *cache.Pod, u *Use) []byte {
	switch {
	case u.Claim == nil:
		return append(append(b, 'm'), u.Name...)
	case u.Claim.DeletionTimestamp != nil || u.Ephemeral && !metav1.IsControlledBy(u.Claim, p.Obj) || u.Claim.Status.Phase == corev1.ClaimLost:
		return append(append(b, 'd'), u.Name...)
	}
	if users := c.ClaimUsers(p.Obj.Namespace, u.Name); users > 0 {
		b = append(append(b, 's'), u.Name...) // shared: who uses it, and where, counts
		b = strconv.AppendInt(b, int64(users), 10)
	}
	for _, m := range u.Claim.Spec.AccessModes {
		b = append(b, m...)
		if m == corev1.ReadWriteOncePod {
			b = append(b, u.Name...)
		}
	}
	if IsBound(u.Claim) {
		return signVolume(append(b, 'b'), u.Bound)
	}
	b = append(append(b, 'u'), u.Name...) // volumes may be made for it by name
	b = append(b, ClassName(u.Claim)...)
	b = append(b, u.Claim.Annotations[SelectedNode]...)
	b = append(b, u.Claim.Spec.VolumeName...)
	raw, _ := u.Claim.Spec.Marshal() // of a plain struct
	b = append(b, raw...)
	return strconv.AppendInt(append(b, 'g'), int64(v.matched+v.assumptions), 36)
}

func signVolume(b []byte, pv *corev1.PersistentVolume) []byte {
	if pv == nil {
		return append(b, '?')
	}
	if pv.Spec.NodeAffinity != nil {
		raw, _ := pv.Spec.NodeAffinity.Marshal() // of a plain struct
		b = append(b, raw...)
	}
	for _, k := range ZoneKeys {
		b = append(append(b, '/'), pv.Labels[k]...)
	}
	return append(append(b, '/'), Driver(pv)...)
}

// ZoneKeys are the labels of volumes and nodes that tell where they are.
var ZoneKeys = []string{corev1.LabelTopologyZone, corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion}

// Driver of CSI that attaches a volume, "" for none.
func Driver(pv *corev1.PersistentVolume) string {
	s := &pv.Spec
	switch {
	case s.CSI != nil:
		return s.CSI.Driver
	case s.AWSElasticBlockStore != nil:
		return "ebs.csi.aws.com"
	case s.GCEPersistentDisk != nil:
		return "pd.csi.storage.gke.io"
	case s.AzureDisk != nil:
		return "disk.csi.azure.com"
	case s.Cinder != nil:
		return "cinder.csi.openstack.org"
	}
	return ""
}

// Handle tells a volume from others of its driver.
func Handle(pv *corev1.PersistentVolume) string {
	if pv.Spec.CSI != nil {
		return pv.Spec.CSI.VolumeHandle
	}
	return pv.Name
}
