package node

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// links finds whether an object matters to a node.
type links struct {
	reader                                                  storage.Reader
	pods, claims, volumes, attachments, slices, podRequests *scheme.Resource
}

func newLinks(reader storage.Reader, s *scheme.Scheme) links {
	find := func(group, plural string) *scheme.Resource {
		r, _ := s.Resource(group, plural) // nil for what this server does not serve
		return r
	}
	return links{
		reader: reader, pods: find("", "pods"),
		claims: find("", "persistentvolumeclaims"), volumes: find("", "persistentvolumes"),
		attachments: find("storage.k8s.io", "volumeattachments"), slices: find("resource.k8s.io", "resourceslices"),
		podRequests: find("certificates.k8s.io", "podcertificaterequests"),
	}
}

func (l *links) get(r *scheme.Resource, namespace, name string) scheme.Object {
	if r == nil {
		return nil
	}
	o, ok := l.reader.Get(r, namespace, name)
	if !ok {
		return nil
	}
	return o
}

// has looks from the object to the node where the object says its node, and
// otherwise from the node's pods to the object.
func (l *links) has(kind, node, namespace, name string) bool {
	switch kind {
	case "pods":
		p, _ := l.get(l.pods, namespace, name).(*corev1.Pod)
		return p != nil && p.Spec.NodeName == node
	case "volumeattachments":
		v, _ := l.get(l.attachments, "", name).(*storagev1.VolumeAttachment)
		return v != nil && v.Spec.NodeName == node
	case "resourceslices":
		s, _ := l.get(l.slices, "", name).(*resourcev1.ResourceSlice)
		return s != nil && s.Spec.NodeName != nil && *s.Spec.NodeName == node
	case "podcertificaterequests":
		switch r := l.get(l.podRequests, namespace, name).(type) {
		case *certificatesv1.PodCertificateRequest:
			return string(r.Spec.NodeName) == node
		case *certificatesv1beta1.PodCertificateRequest:
			return string(r.Spec.NodeName) == node
		}
		return false
	}
	// A volume matters through the claim it says it is for.
	if kind == "persistentvolumes" {
		volume, _ := l.get(l.volumes, "", name).(*corev1.PersistentVolume)
		if volume == nil || volume.Spec.ClaimRef == nil {
			return false
		}
		kind, namespace, name = "persistentvolumeclaims", volume.Spec.ClaimRef.Namespace, volume.Spec.ClaimRef.Name
	}
	for _, o := range l.reader.ListByField(l.pods, "spec.nodeName", node) {
		p := o.(*corev1.Pod)
		// A node can make mirror pods of its own: they must not open anything.
		if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
			continue
		}
		if l.uses(p, kind, namespace, name) {
			return true
		}
	}
	return false
}

// uses reports whether a pod needs an object.
func (l *links) uses(p *corev1.Pod, kind, namespace, name string) bool {
	own := p.Namespace == namespace
	switch kind {
	case "serviceaccounts":
		return own && p.Spec.ServiceAccountName == name
	case "configmaps":
		return own && usesConfigMap(&p.Spec, name)
	case "secrets":
		return own && usesSecret(&p.Spec, name) || l.usesByVolume(p, namespace, name)
	case "persistentvolumeclaims":
		return own && usesClaim(p, name)
	case "resourceclaims":
		return own && usesResourceClaim(p, name)
	}
	return false
}

// usesByVolume looks for a Secret that the volumes of a pod's claims need. The
// claim and the volume must name each other.
func (l *links) usesByVolume(p *corev1.Pod, namespace, secret string) bool {
	for i := range p.Spec.Volumes {
		name := claimName(p, &p.Spec.Volumes[i])
		if name == "" {
			continue
		}
		c, _ := l.get(l.claims, p.Namespace, name).(*corev1.PersistentVolumeClaim)
		if c == nil || c.Spec.VolumeName == "" {
			continue
		}
		v, _ := l.get(l.volumes, "", c.Spec.VolumeName).(*corev1.PersistentVolume)
		if v == nil || v.Spec.ClaimRef == nil || v.Spec.ClaimRef.Namespace != c.Namespace || v.Spec.ClaimRef.Name != c.Name {
			continue
		}
		if volumeSecret(v, c, namespace, secret) {
			return true
		}
	}
	return false
}
