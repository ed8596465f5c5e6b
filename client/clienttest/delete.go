package clienttest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

// statusOf is the Status within an error of our own.
func statusOf(err error) *pb.Status {
	st, _ := status.FromError(err)
	for _, d := range st.Details() {
		if s, ok := d.(*pb.Status); ok {
			return s
		}
	}
	return packStatus(err)
}

// goes reports whether a marked object has nothing left that holds it.
func goes(obj scheme.Object) bool {
	if obj.GetDeletionTimestamp() == nil || len(obj.GetFinalizers()) > 0 {
		return false
	}
	if ns, ok := obj.(*corev1.Namespace); ok && len(ns.Spec.Finalizers) > 0 {
		return false
	}
	g := obj.GetDeletionGracePeriodSeconds()
	return g == nil || *g == 0
}

// Delete implements pb.ObjectsServer.
func (s *Server) Delete(ctx context.Context, q *pb.DeleteRequest) (*pb.WriteResponse, error) {
	if err := s.intercept(ctx, "Delete", q); err != nil {
		return nil, statusError(err)
	}
	r, err := s.target(q.Key)
	if err != nil {
		return nil, statusError(err)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	res, err := s.remove(r, q.Key.Namespace, q.Key.Name, deleteOptions(q.Options))
	return res, statusError(err)
}

// DeleteCollection implements pb.ObjectsServer.
func (s *Server) DeleteCollection(ctx context.Context, q *pb.DeleteCollectionRequest) (*pb.DeleteCollectionResponse, error) {
	if err := s.intercept(ctx, "DeleteCollection", q); err != nil {
		return nil, statusError(err)
	}
	r, err := s.resource(q.Resource)
	if err != nil {
		return nil, statusError(err)
	}
	sel, err := newSelector(r, q.Selection)
	if err != nil {
		return nil, statusError(err)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	list := s.store.list(r, sel)
	for _, o := range list {
		if _, err := s.remove(r, o.obj.GetNamespace(), o.obj.GetName(), deleteOptions(q.Options)); err != nil {
			return nil, statusError(err)
		}
	}
	return &pb.DeleteCollectionResponse{Count: int64(len(list))}, nil
}

func deleteOptions(q *pb.DeleteOptions) *metav1.DeleteOptions {
	o := &metav1.DeleteOptions{}
	if q == nil {
		return o
	}
	o.GracePeriodSeconds = q.GracePeriodSeconds
	if q.Uid != "" || q.Revision > 0 {
		o.Preconditions = &metav1.Preconditions{}
	}
	if uid := types.UID(q.Uid); uid != "" {
		o.Preconditions.UID = &uid
	}
	if q.Revision > 0 {
		rv := strconv.FormatInt(q.Revision, 10)
		o.Preconditions.ResourceVersion = &rv
	}
	if p := metav1.DeletionPropagation(q.PropagationPolicy); p != "" {
		o.PropagationPolicy = &p
	}
	if q.DryRun {
		o.DryRun = []string{metav1.DryRunAll}
	}
	return o
}

// remove deletes or marks an object. It needs the store's lock.
func (s *Server) remove(r *scheme.Resource, namespace, name string, o *metav1.DeleteOptions) (*pb.WriteResponse, error) {
	old := s.store.get(r, namespace, name)
	if old == nil {
		return nil, apierrors.NewNotFound(r.GroupResource(), name)
	}
	if err := checkDelete(r, old, o); err != nil {
		return nil, err
	}
	obj := old.obj.DeepCopyObject().(scheme.Object)
	stays := mark(r, obj, o)
	if len(o.DryRun) > 0 {
		return written(old, false), nil
	}
	if stays {
		raw, err := obj.Marshal()
		if err != nil || string(raw) == string(old.raw) {
			return written(old, false), err
		}
		o, err := s.store.put(r, old, obj)
		if err != nil {
			return nil, err
		}
		return written(o, false), nil
	}
	if _, err := s.store.put(r, old, nil); err != nil {
		return nil, err
	}
	st := metav1.Status{Status: metav1.StatusSuccess, Details: &metav1.StatusDetails{Name: name, Group: r.Group, Kind: r.Plural, UID: obj.GetUID()}}
	raw, err := st.Marshal()
	return &pb.WriteResponse{Object: &pb.Object{Raw: raw, Kind: "v1/Status"}}, err
}

func checkDelete(r *scheme.Resource, old *stored, o *metav1.DeleteOptions) error {
	if o.Preconditions == nil {
		return nil
	}
	if uid := o.Preconditions.UID; uid != nil && *uid != old.obj.GetUID() {
		return apierrors.NewConflict(r.GroupResource(), old.obj.GetName(), errors.New("the UID in the precondition does not match the UID in record"))
	}
	if rv := o.Preconditions.ResourceVersion; rv != nil && *rv != strconv.FormatInt(old.revision, 10) {
		return apierrors.NewConflict(r.GroupResource(), old.obj.GetName(), errors.New("the ResourceVersion in the precondition does not match the ResourceVersion in record"))
	}
	return nil
}

// mark changes obj as the deletion asks and reports whether it stays for now.
func mark(r *scheme.Resource, obj scheme.Object, o *metav1.DeleteOptions) bool {
	addPropagation(obj, o)
	seconds := int64(0)
	if g := r.Strategy.GracePeriod; g != nil {
		if n, graceful := g(obj, o); graceful {
			seconds = n
		}
	}
	if had := obj.GetDeletionGracePeriodSeconds(); had != nil && obj.GetDeletionTimestamp() != nil && (o.GracePeriodSeconds == nil || *o.GracePeriodSeconds >= *had) {
		return !goes(obj)
	}
	end := metav1.NewTime(now().Add(time.Duration(seconds) * time.Second))
	if obj.GetDeletionTimestamp() == nil && obj.GetGeneration() > 0 {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
	obj.SetDeletionTimestamp(&end)
	obj.SetDeletionGracePeriodSeconds(&seconds)
	if ns, ok := obj.(*corev1.Namespace); ok {
		ns.Status.Phase = corev1.NamespaceTerminating
	}
	return !goes(obj)
}

func addPropagation(obj scheme.Object, o *metav1.DeleteOptions) {
	if o.PropagationPolicy == nil {
		return
	}
	finalizers := slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), func(f string) bool {
		return f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
	})
	switch *o.PropagationPolicy {
	case metav1.DeletePropagationOrphan:
		finalizers = append(finalizers, metav1.FinalizerOrphanDependents)
	case metav1.DeletePropagationForeground:
		finalizers = append(finalizers, metav1.FinalizerDeleteDependents)
	}
	obj.SetFinalizers(finalizers)
}
