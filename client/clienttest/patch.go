package clienttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

// Patch implements pb.ObjectsServer.
func (s *Server) Patch(ctx context.Context, q *pb.PatchRequest) (*pb.WriteResponse, error) {
	if err := s.intercept(ctx, "Patch", q); err != nil {
		return nil, statusError(err)
	}
	res, err := s.patch(q)
	return res, statusError(err)
}

func (s *Server) patch(q *pb.PatchRequest) (*pb.WriteResponse, error) {
	r, err := s.target(q.Key)
	if err != nil {
		return nil, err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	old := s.store.get(r, q.Key.Namespace, q.Key.Name)
	if old == nil && q.Type != pb.PatchRequest_APPLY {
		return nil, apierrors.NewNotFound(r.GroupResource(), q.Key.Name)
	}
	obj, err := patched(r, old, q)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	var o *stored
	if old == nil {
		obj.SetNamespace(q.Key.Namespace)
		o, err = s.insert(r, obj, q.Options.GetDryRun())
	} else {
		o, err = s.update(r, q.Key.Subresource, old, obj, q.Options.GetDryRun())
	}
	if err != nil {
		return nil, err
	}
	return written(o, q.OmitObject), nil
}

// patched is the object that the patch makes of the old one, nil for none.
func patched(r *scheme.Resource, old *stored, q *pb.PatchRequest) (scheme.Object, error) {
	before := r.New().(scheme.Object)
	if old != nil {
		before = old.obj.DeepCopyObject().(scheme.Object)
		before.SetResourceVersion(fmt.Sprint(old.revision))
	}
	doc, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	switch q.Type {
	case pb.PatchRequest_JSON:
		p, err := jsonpatch.DecodePatch(q.Patch)
		if err != nil {
			return nil, err
		}
		doc, err = p.Apply(doc)
		if err != nil {
			return nil, err
		}
	case pb.PatchRequest_MERGE:
		doc, err = jsonpatch.MergePatch(doc, q.Patch)
	case pb.PatchRequest_STRATEGIC:
		doc, err = strategicpatch.StrategicMergePatch(doc, q.Patch, before)
	case pb.PatchRequest_APPLY:
		var patch []byte
		if patch, err = yaml.YAMLToJSON(q.Patch); err == nil {
			doc, err = strategicpatch.StrategicMergePatch(doc, patch, before)
		}
	default:
		err = errors.New("type: one of JSON, MERGE, STRATEGIC and APPLY is required")
	}
	if err != nil {
		return nil, err
	}
	obj := r.New().(scheme.Object)
	if err := json.Unmarshal(doc, obj); err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	if d := r.Strategy.Default; d != nil {
		d(obj)
	}
	return obj, nil
}

// createSubresource posts what pods have: binding and eviction.
func (s *Server) createSubresource(r *scheme.Resource, sub string, q *pb.CreateRequest) (*pb.WriteResponse, error) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	old := s.store.get(r, q.Key.Namespace, q.Key.Name)
	if old == nil {
		return nil, apierrors.NewNotFound(r.GroupResource(), q.Key.Name)
	}
	switch sub {
	case "binding":
		var b corev1.Binding
		if err := b.Unmarshal(q.Object.GetRaw()); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		return s.bind(r, old, &b)
	case "eviction":
		var e policyv1.Eviction
		if err := e.Unmarshal(q.Object.GetRaw()); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		o := e.DeleteOptions
		if o == nil {
			o = &metav1.DeleteOptions{}
		}
		return s.remove(r, q.Key.Namespace, q.Key.Name, o)
	}
	return nil, apierrors.NewMethodNotSupported(r.GroupResource(), "create")
}

func (s *Server) bind(r *scheme.Resource, old *stored, b *corev1.Binding) (*pb.WriteResponse, error) {
	pod := old.obj.DeepCopyObject().(*corev1.Pod)
	conflict := func(text string) error {
		return apierrors.NewConflict(schema.GroupResource{Resource: "pods/binding"}, pod.Name, errors.New(text))
	}
	switch {
	case b.UID != "" && b.UID != pod.UID:
		return nil, conflict("Precondition failed: UID in precondition: " + string(b.UID) + ", UID in object meta: " + string(pod.UID))
	case pod.DeletionTimestamp != nil:
		return nil, conflict("pod " + pod.Name + " is being deleted, cannot be assigned to a host")
	case pod.Spec.NodeName != "":
		return nil, conflict(fmt.Sprintf("pod %v is already assigned to node %q", pod.Name, pod.Spec.NodeName))
	}
	pod.Spec.NodeName = b.Target.Name
	pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now()})
	if _, err := s.store.put(r, old, pod); err != nil {
		return nil, err
	}
	st := metav1.Status{Status: metav1.StatusSuccess, Code: 201}
	raw, err := st.Marshal()
	return &pb.WriteResponse{Object: &pb.Object{Raw: raw, Kind: "v1/Status"}}, err
}
