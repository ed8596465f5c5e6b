package noderestriction

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/apiserver/internal/admission"
)

// checkNode keeps a node from changing itself into one that draws other pods,
// or from being deleted by the garbage collector and coming back as such.
func checkNode(name string, a *admission.Attributes) error {
	if requested := a.ObjectName(); requested != name {
		return fmt.Errorf("node %q is not allowed to modify node %q", name, requested)
	}
	if a.Operation == admission.Delete {
		return nil
	}
	node, ok := a.Object.(*corev1.Node)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.Object)
	}
	old, _ := a.Old.(*corev1.Node)
	if old == nil {
		if node.Spec.ConfigSource != nil {
			return errors.New("cannot create with non-nil configSource")
		}
		if labels := reserved(changed(node.Labels, nil)); len(labels) > 0 {
			return fmt.Errorf("node %q is not allowed to set the following labels: %s", name, strings.Join(labels, ", "))
		}
		return nil
	}
	switch {
	case node.Spec.ConfigSource != nil && !equal(node.Spec.ConfigSource, old.Spec.ConfigSource):
		return errors.New("cannot update configSource to a new non-nil configSource")
	case !equal(node.Spec.Taints, old.Spec.Taints):
		return fmt.Errorf("node %q is not allowed to modify taints", name)
	}
	if labels := reserved(changed(node.Labels, old.Labels)); len(labels) > 0 {
		return fmt.Errorf("is not allowed to modify labels: %s", strings.Join(labels, ", "))
	}
	if !equal(node.OwnerReferences, old.OwnerReferences) {
		return fmt.Errorf("node %q is not allowed to modify ownerReferences", name)
	}
	return nil
}

// changed are the labels that are new, different or gone.
func changed(now, before map[string]string) []string {
	var out []string
	for k, v := range now {
		if was, ok := before[k]; !ok || was != v {
			out = append(out, k)
		}
	}
	for k := range before {
		if _, ok := now[k]; !ok {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// kubeletLabels are those of Kubernetes' domains that a kubelet sets on its
// node.
var kubeletLabels = map[string]bool{
	corev1.LabelHostname:   true,
	corev1.LabelArchStable: true, corev1.LabelOSStable: true,
	corev1.LabelTopologyZone: true, corev1.LabelTopologyRegion: true, corev1.LabelInstanceTypeStable: true,
	corev1.LabelFailureDomainBetaZone: true, corev1.LabelFailureDomainBetaRegion: true, corev1.LabelInstanceType: true,
	"beta.kubernetes.io/os": true, "beta.kubernetes.io/arch": true,
}

// reserved are those of the labels that are not a kubelet's to change: all of
// kubernetes.io and k8s.io, but for a few.
func reserved(keys []string) []string {
	var out []string
	for _, key := range keys {
		domain, _, ok := strings.Cut(key, "/")
		if !ok || !within(domain, "kubernetes.io") && !within(domain, "k8s.io") {
			continue
		}
		if kubeletLabels[key] || within(domain, "kubelet.kubernetes.io") || within(domain, "node.kubernetes.io") {
			continue
		}
		out = append(out, key)
	}
	return out
}

func within(domain, parent string) bool {
	return domain == parent || strings.HasSuffix(domain, "."+parent)
}
