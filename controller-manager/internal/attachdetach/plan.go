// Package attachdetach attaches the volumes of CSI drivers to the nodes whose
// pods use them, by VolumeAttachments, and detaches those that nobody uses.
package attachdetach

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// unmountPatience is how long a node that is not ready may say that it uses a
// volume which no pod wants: then it is detached by force.
const unmountPatience = 6 * time.Minute

// managed is the annotation of nodes whose volumes are attached here.
const managed = "volumes.kubernetes.io/controller-managed-attach-detach"

// want is a volume that pods of a node use.
type want struct {
	volume *corev1.PersistentVolume
	pods   []*corev1.Pod
}

// observed is a node and its volumes.
type observed struct {
	name string
	node *corev1.Node // nil when it is gone
	// wants are by the volumes' names.
	wants []want
	// attachments to the node, and the volumes of these by their names.
	attachments []*storagev1.VolumeAttachment
	volume      func(name string) *corev1.PersistentVolume
	// elsewhere are a volume's attachments to other nodes, users its pods there.
	elsewhere func(volume string) []*storagev1.VolumeAttachment
	users     func(volume *corev1.PersistentVolume) []*corev1.Pod
	now       time.Time
	// patient: nothing is detached by force because of time.
	patient bool
	// memory of the node; plan keeps it.
	memory *memory
}

// memory is what the API does not keep.
type memory struct {
	// idle are attachments by name, and since when no pod wants them.
	idle map[string]time.Time
	// told are the last words about a volume, by its name.
	told map[string]string
}

func newMemory() *memory { return &memory{idle: map[string]time.Time{}, told: map[string]string{}} }

// Note is an event about a pod.
type Note struct {
	Pod                   *corev1.Pod
	Type, Reason, Message string
}

// Plan is what to do for a node, in this order: note in the node's status what
// is attached, delete, create.
type Plan struct {
	Attached []corev1.AttachedVolume
	// Write Attached: the status says something else.
	Write  bool
	Delete []*storagev1.VolumeAttachment
	// Forced names those of Delete that the node may still use, and why.
	Forced map[string]string
	Create []*storagev1.VolumeAttachment
	Notes  []Note
	Again  time.Duration
}

func (p Plan) String() string {
	var b strings.Builder
	if p.Write {
		b.WriteString("attached")
		for _, v := range p.Attached {
			b.WriteString(" " + string(v.Name))
		}
		b.WriteString("\n")
	}
	for _, a := range p.Delete {
		fmt.Fprintf(&b, "detach %s", *a.Spec.Source.PersistentVolumeName)
		if why := p.Forced[a.Name]; why != "" {
			b.WriteString(" by force: " + why)
		}
		b.WriteString("\n")
	}
	for _, a := range p.Create {
		fmt.Fprintf(&b, "attach %s by %s to %s\n", *a.Spec.Source.PersistentVolumeName, a.Spec.Attacher, a.Spec.NodeName)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "%s %s about %s: %q\n", n.Type, n.Reason, n.Pod.Name, n.Message)
	}
	if p.Again > 0 {
		fmt.Fprintf(&b, "again in %s\n", p.Again)
	}
	return b.String()
}

// attachmentName is the same for whoever looks for a volume's attachment: the
// kubelet does.
func attachmentName(handle, driver, node string) string {
	return fmt.Sprintf("csi-%x", sha256.Sum256([]byte(handle+driver+node)))
}

// uniqueName is how node statuses name a volume.
func uniqueName(v *corev1.PersistentVolume) corev1.UniqueVolumeName {
	return corev1.UniqueVolumeName("kubernetes.io/csi/" + v.Spec.CSI.Driver + "^" + v.Spec.CSI.VolumeHandle)
}

func plan(o observed) Plan {
	var p Plan
	if o.node != nil && !metav1.HasAnnotation(o.node.ObjectMeta, managed) {
		return p
	}
	have := map[string]*storagev1.VolumeAttachment{}
	for _, a := range o.attachments {
		have[*a.Spec.Source.PersistentVolumeName] = a
	}
	wanted := map[string]bool{}
	if o.node != nil {
		for i := range o.wants {
			w := &o.wants[i]
			wanted[w.volume.Name] = true
			p.attach(&o, w, have[w.volume.Name])
		}
	}
	for _, a := range o.attachments {
		if !wanted[*a.Spec.Source.PersistentVolumeName] {
			p.detach(&o, a)
		}
	}
	for name := range o.memory.told {
		if !wanted[name] {
			delete(o.memory.told, name)
		}
	}
	slices.SortFunc(p.Attached, func(a, b corev1.AttachedVolume) int { return cmp.Compare(a.Name, b.Name) })
	p.Write = o.node != nil && !slices.Equal(p.Attached, o.node.Status.VolumesAttached)
	return p
}

// attach brings a volume that pods want towards being attached.
func (p *Plan) attach(o *observed, w *want, a *storagev1.VolumeAttachment) {
	v := w.volume
	switch {
	case a == nil:
		if text := inUse(o, v); text != "" {
			p.tell(o, w, corev1.EventTypeWarning, "FailedAttachVolume", fmt.Sprintf("Multi-Attach error for volume %q %s", v.Name, text))
			return
		}
		p.Create = append(p.Create, newAttachment(v, o.name))
		return
	case a.DeletionTimestamp != nil:
		return // it is made anew when it is gone
	}
	delete(o.memory.idle, a.Name)
	switch {
	case a.Status.Attached:
		name := uniqueName(v)
		p.Attached = append(p.Attached, corev1.AttachedVolume{Name: name})
		if !slices.ContainsFunc(o.node.Status.VolumesAttached, func(s corev1.AttachedVolume) bool { return s.Name == name }) {
			p.tell(o, w, corev1.EventTypeNormal, "SuccessfulAttachVolume", fmt.Sprintf("AttachVolume.Attach succeeded for volume %q ", v.Name))
		}
	case a.Status.AttachError != nil:
		p.tell(o, w, corev1.EventTypeWarning, "FailedAttachVolume", fmt.Sprintf("AttachVolume.Attach failed for volume %q : %s", v.Name, a.Status.AttachError.Message))
	}
}

// tell the pods that want a volume, once.
func (p *Plan) tell(o *observed, w *want, kind, reason, message string) {
	if o.memory.told[w.volume.Name] == message {
		return
	}
	o.memory.told[w.volume.Name] = message
	for _, v := range w.pods {
		p.Notes = append(p.Notes, Note{v, kind, reason, message})
	}
}

// inUse says who else has a volume that only one node may have; empty is
// nobody.
func inUse(o *observed, v *corev1.PersistentVolume) string {
	for _, m := range v.Spec.AccessModes {
		if m == corev1.ReadWriteMany || m == corev1.ReadOnlyMany {
			return ""
		}
	}
	if len(v.Spec.AccessModes) == 0 || len(o.elsewhere(v.Name)) == 0 {
		return ""
	}
	// All users are of the claim's namespace.
	var names []string
	for _, u := range o.users(v) {
		names = append(names, u.Name)
	}
	if len(names) == 0 {
		return "Volume is already exclusively attached to one node and can't be attached to another"
	}
	slices.Sort(names)
	return "Volume is already used by pod(s) " + strings.Join(names, ", ")
}

func newAttachment(v *corev1.PersistentVolume, node string) *storagev1.VolumeAttachment {
	name := v.Name
	return &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: attachmentName(v.Spec.CSI.VolumeHandle, v.Spec.CSI.Driver, node)},
		Spec:       storagev1.VolumeAttachmentSpec{Attacher: v.Spec.CSI.Driver, NodeName: node, Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &name}},
	}
}

// detach ends an attachment that no pod wants, once the node does not use it
// any more.
func (p *Plan) detach(o *observed, a *storagev1.VolumeAttachment) {
	if a.DeletionTimestamp != nil {
		delete(o.memory.idle, a.Name)
		return
	}
	v := o.volume(*a.Spec.Source.PersistentVolumeName)
	if v == nil || v.Spec.CSI == nil || a.Name != attachmentName(v.Spec.CSI.VolumeHandle, a.Spec.Attacher, a.Spec.NodeName) {
		return // somebody else's
	}
	since, ok := o.memory.idle[a.Name]
	if !ok {
		since = o.now
		o.memory.idle[a.Name] = since
	}
	forced, wait := o.force(v, since)
	if wait {
		if a.Status.Attached { // still there, as its kubelet must know
			p.Attached = append(p.Attached, corev1.AttachedVolume{Name: uniqueName(v)})
		}
		if left := since.Add(unmountPatience).Sub(o.now); left > 0 && !o.patient && (p.Again == 0 || left < p.Again) {
			p.Again = left
		}
		return
	}
	p.Delete = append(p.Delete, a)
	if forced != "" {
		if p.Forced == nil {
			p.Forced = map[string]string{}
		}
		p.Forced[a.Name] = forced
	}
}

// force says whether to wait for the node to let go of a volume, and if not
// though it has not let go, why.
func (o *observed) force(v *corev1.PersistentVolume, since time.Time) (why string, wait bool) {
	if o.node == nil || !slices.Contains(o.node.Status.VolumesInUse, uniqueName(v)) {
		return "", false
	}
	if slices.ContainsFunc(o.node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService }) {
		return "out-of-service", false
	}
	ready := slices.ContainsFunc(o.node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	if !ready && !o.patient && o.now.Sub(since) >= unmountPatience {
		return "timeout", false
	}
	return "", true
}
