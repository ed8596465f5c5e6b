package fieldmanager

import (
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"

	"xebec.dev/api/scheme"
)

var scaleKind = autoscalingv1.SchemeGroupVersion.WithKind("Scale")

// Scale keeps ownership where it belongs when a Scale is written: in the
// managedFields of the object that is scaled, by the path of its replicas.
// Entries that are new to the object carry no time, as in Kubernetes.
type Scale struct {
	manager *Manager
	parent  schema.GroupVersion
	paths   managedfields.ResourcePathMappings
}

// NewScale makes the Scale of a resource at a served version; it must have a
// scale subresource.
func NewScale(served scheme.Served, types *Types) *Scale {
	s := &Scale{parent: schema.GroupVersion{Group: served.At.Group, Version: served.At.Version}, paths: managedfields.ResourcePathMappings{}}
	replicas := path(served.Resource.Subresource("scale").Scale.SpecReplicasPath)
	for _, v := range served.ServedVersions() {
		s.paths[schema.GroupVersion{Group: v.Group, Version: v.Version}.String()] = replicas
	}
	s.manager = New(scheme.Served{
		Resource: &scheme.Resource{
			Group: scaleKind.Group, Version: scaleKind.Version, Kind: scaleKind.Kind,
			New: func() runtime.Object { return new(autoscalingv1.Scale) },
		},
		At: scheme.Version{Group: scaleKind.Group, Version: scaleKind.Version, Kind: scaleKind.Kind},
	}, types)
	return s
}

// Update gives the parent's managedFields once obj replaces live, the Scale of
// a parent with the given entries.
func (s *Scale) Update(parent []metav1.ManagedFieldsEntry, live, obj *autoscalingv1.Scale, manager string, now time.Time) ([]metav1.ManagedFieldsEntry, error) {
	handler, live, err := s.handler(parent, live)
	if err != nil {
		return nil, err
	}
	obj = obj.DeepCopy()
	if err := s.manager.Update(live, obj, manager, "scale", now); err != nil {
		return nil, err
	}
	return handler.ToParent(obj.GetManagedFields())
}

// Apply merges an applied Scale into live. It gives the new Scale, and the
// parent's managedFields with it.
func (s *Scale) Apply(parent []metav1.ManagedFieldsEntry, live *autoscalingv1.Scale, patch []byte, manager string, force bool, now time.Time) (*autoscalingv1.Scale, []metav1.ManagedFieldsEntry, error) {
	handler, live, err := s.handler(parent, live)
	if err != nil {
		return nil, nil, err
	}
	obj, err := s.manager.Apply(live, patch, manager, force, "scale", now)
	if err != nil {
		return nil, nil, err
	}
	entries, err := handler.ToParent(obj.GetManagedFields())
	obj.SetManagedFields(nil)
	return obj.(*autoscalingv1.Scale), entries, err
}

// handler translates between the parent's entries and the Scale's; live comes
// back with its kind and entries set.
func (s *Scale) handler(parent []metav1.ManagedFieldsEntry, live *autoscalingv1.Scale) (*managedfields.ScaleHandler, *autoscalingv1.Scale, error) {
	h := managedfields.NewScaleHandler(parent, s.parent, s.paths)
	entries, err := h.ToSubresource()
	if err != nil {
		return nil, nil, err
	}
	live = live.DeepCopy()
	live.SetGroupVersionKind(scaleKind)
	live.SetManagedFields(entries)
	return h, live, nil
}
