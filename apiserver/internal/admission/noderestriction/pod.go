package noderestriction

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"xebec.dev/apiserver/internal/admission"
)

func (p *Plugin) pod(ctx context.Context, node string, a *admission.Attributes) error {
	switch a.Subresource {
	case "":
		switch a.Operation {
		case admission.Create:
			return p.newPod(ctx, node, a)
		case admission.Delete:
			if a.Old.(*corev1.Pod).Spec.NodeName != node {
				return fmt.Errorf("node %q can only delete pods with spec.nodeName set to itself", node)
			}
			return nil
		}
		return fmt.Errorf("unexpected operation %q, node %q can only create and delete mirror pods", a.Operation, node)
	case "status":
		return checkStatus(node, a)
	case "eviction":
		return p.eviction(ctx, node, a)
	}
	return fmt.Errorf("unexpected pod subresource %q, only 'status' and 'eviction' are allowed", a.Subresource)
}

// newPod lets a node show a pod that it runs by itself. Such a pod must not
// name what only pods bound to the node open up to it.
func (p *Plugin) newPod(ctx context.Context, node string, a *admission.Attributes) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.Object)
	}
	if _, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]; !ok {
		return fmt.Errorf("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, node)
	}
	if pod.Spec.NodeName != node {
		return fmt.Errorf("node %q can only create pods with spec.nodeName set to itself", node)
	}
	if err := p.owned(ctx, node, pod); err != nil {
		return err
	}
	if what := reference(pod); what != "" {
		return fmt.Errorf("node %q can not create pods that reference %s", node, what)
	}
	return nil
}

// owned: the pod belongs to the node's object as it is now, and does not hold
// it back from being deleted.
func (p *Plugin) owned(ctx context.Context, node string, pod *corev1.Pod) error {
	switch len(pod.OwnerReferences) {
	case 0:
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", node)
	case 1:
	default:
		return fmt.Errorf("node %q can only create pods with a single owner reference set to itself", node)
	}
	owner := &pod.OwnerReferences[0]
	if owner.APIVersion != "v1" || owner.Kind != "Node" || owner.Name != node {
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", node)
	}
	if owner.Controller == nil || !*owner.Controller {
		return fmt.Errorf("node %q can only create pods with a controller owner reference set to itself", node)
	}
	if owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion {
		return fmt.Errorf("node %q must not set blockOwnerDeletion on an owner reference", node)
	}
	live, err := admission.Fetch(ctx, p.reader, p.store, p.nodes, "", node)
	if err != nil {
		return fmt.Errorf("error looking up node %s to verify uid: %w", node, err)
	}
	if live.GetUID() != owner.UID {
		return fmt.Errorf("node %s UID mismatch: expected %s got %s", node, owner.UID, live.GetUID())
	}
	return nil
}

func checkStatus(node string, a *admission.Attributes) error {
	if a.Operation != admission.Update {
		return fmt.Errorf("unexpected operation %q, node %q can only update pod status", a.Operation, node)
	}
	pod, ok := a.Object.(*corev1.Pod)
	old, ok2 := a.Old.(*corev1.Pod)
	if !ok || !ok2 {
		return fmt.Errorf("unexpected type %T", a.Object)
	}
	switch {
	case old.Spec.NodeName != node:
		return fmt.Errorf("node %q can only update pod status for pods with spec.nodeName set to itself", node)
	case !maps.Equal(pod.Labels, old.Labels):
		return fmt.Errorf("node %q cannot update labels through pod status", node)
	case !equal(pod.Status.ResourceClaimStatuses, old.Status.ResourceClaimStatuses):
		return fmt.Errorf("node %q cannot update resource claim statuses", node)
	case !equal(pod.Status.ExtendedResourceClaimStatus, old.Status.ExtendedResourceClaimStatus):
		return fmt.Errorf("node %q cannot update extended resource claim status", node)
	}
	return nil
}

func (p *Plugin) eviction(ctx context.Context, node string, a *admission.Attributes) error {
	if a.Operation != admission.Create {
		return fmt.Errorf("unexpected operation %s", a.Operation)
	}
	eviction, ok := a.Object.(*policyv1.Eviction)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.Object)
	}
	name := a.Name
	if name == "" {
		name = eviction.Name
	}
	switch {
	case name == "":
		return errors.New("could not determine pod from request data")
	case eviction.Name != "" && eviction.Name != name:
		return fmt.Errorf("eviction of pod %q was sent to pod %q", eviction.Name, name)
	}
	o, err := admission.Fetch(ctx, p.reader, p.store, p.pods, a.Namespace, name)
	if err != nil {
		return err
	}
	if o.(*corev1.Pod).Spec.NodeName != node {
		return fmt.Errorf("node %s can only evict pods with spec.nodeName set to itself", node)
	}
	return nil
}

func equal(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }
