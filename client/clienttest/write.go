package clienttest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

func now() metav1.Time { return metav1.NewTime(time.Now().Truncate(time.Second)) }

// Create implements pb.ObjectsServer.
func (s *Server) Create(ctx context.Context, q *pb.CreateRequest) (*pb.WriteResponse, error) {
	if err := s.intercept(ctx, "Create", q); err != nil {
		return nil, statusError(err)
	}
	res, err := s.create(q)
	return res, statusError(err)
}

func (s *Server) create(q *pb.CreateRequest) (*pb.WriteResponse, error) {
	r, err := s.target(q.Key)
	if err != nil {
		return nil, err
	}
	if sub := q.Key.Subresource; sub != "" {
		return s.createSubresource(r, sub, q)
	}
	if r.StoragePrefix == "" {
		return s.review(r, q)
	}
	obj, err := decode(r, q.Object)
	if err != nil {
		return nil, err
	}
	if err := matchNamespace(r, q.Key.Namespace, obj); err != nil {
		return nil, err
	}
	if obj.GetName() == "" && obj.GetGenerateName() == "" {
		obj.SetName(q.Key.Name)
	}
	obj.SetResourceVersion("")
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	o, err := s.insert(r, obj, q.Options.GetDryRun())
	if err != nil {
		return nil, err
	}
	return written(o, q.OmitObject), nil
}

func (s *Server) review(r *scheme.Resource, q *pb.CreateRequest) (*pb.WriteResponse, error) {
	obj := r.New().(scheme.Message)
	if err := obj.Unmarshal(q.Object.GetRaw()); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if s.Review != nil {
		s.Review(obj)
	}
	raw, err := obj.Marshal()
	return &pb.WriteResponse{Object: &pb.Object{Raw: raw, Kind: r.Group + "/" + r.Version + "/" + r.Kind}}, err
}

// insert stores a new object. It needs the store's lock.
func (s *Server) insert(r *scheme.Resource, obj scheme.Object, dryRun bool) (*stored, error) {
	generated := obj.GetName() == ""
	for attempt := 0; ; attempt++ {
		if generated {
			if obj.GetGenerateName() == "" {
				break // validation says what is missing
			}
			obj.SetName(obj.GetGenerateName() + rand.String(5))
		}
		there := s.store.get(r, obj.GetNamespace(), obj.GetName())
		if there == nil {
			break
		}
		if !generated {
			err := apierrors.NewAlreadyExists(r.GroupResource(), obj.GetName())
			if there.obj.GetDeletionTimestamp() != nil {
				err.ErrStatus.Message = "object is being deleted: " + err.ErrStatus.Message
			}
			return nil, err
		}
		if attempt > 8 {
			return nil, apierrors.NewGenerateNameConflict(r.GroupResource(), obj.GetName(), 1)
		}
	}
	if err := prepareCreate(r, obj); err != nil {
		return nil, err
	}
	if dryRun {
		raw, err := obj.Marshal()
		return &stored{obj: obj, raw: raw}, err
	}
	return s.store.put(r, nil, obj)
}

func prepareCreate(r *scheme.Resource, obj scheme.Object) error {
	obj.SetUID(types.UID(uuid.NewString()))
	obj.SetCreationTimestamp(now())
	obj.SetDeletionTimestamp(nil)
	obj.SetDeletionGracePeriodSeconds(nil)
	st := &r.Strategy
	if st.PrepareCreate != nil {
		st.PrepareCreate(scheme.Context{Now: now()}, obj)
	}
	if st.SpecChanged != nil {
		obj.SetGeneration(1)
	}
	var errs field.ErrorList
	if !st.OwnMetadata {
		errs = r.ValidateMetadata(obj)
	}
	if st.ValidateCreate != nil {
		errs = append(errs, st.ValidateCreate(obj)...)
	}
	return invalid(r, obj.GetName(), errs)
}

func invalid(r *scheme.Resource, name string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: r.Group, Kind: r.Kind}, name, errs)
}

func matchNamespace(r *scheme.Resource, namespace string, obj metav1.Object) error {
	if r.Namespaced && namespace == "" {
		return apierrors.NewBadRequest("an empty namespace may not be set during creation")
	}
	if obj.GetNamespace() != "" && obj.GetNamespace() != namespace {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	obj.SetNamespace(namespace)
	return nil
}

func decode(r *scheme.Resource, o *pb.Object) (scheme.Object, error) {
	obj, ok := r.New().(scheme.Object)
	if !ok {
		return nil, apierrors.NewMethodNotSupported(r.GroupResource(), "create")
	}
	if err := obj.Unmarshal(o.GetRaw()); err != nil {
		return nil, apierrors.NewBadRequest("object.raw is not a " + r.Kind + ": " + err.Error())
	}
	obj.SetResourceVersion("")
	if o.GetRevision() > 0 {
		obj.SetResourceVersion(strconv.FormatInt(o.GetRevision(), 10))
	}
	if d := r.Strategy.Default; d != nil {
		d(obj)
	}
	return obj, nil
}

func written(o *stored, omit bool) *pb.WriteResponse {
	res := &pb.WriteResponse{Name: o.obj.GetName(), Object: o.wire()}
	if omit {
		res.Object.Raw = nil
	}
	return res
}

// Update implements pb.ObjectsServer.
func (s *Server) Update(ctx context.Context, q *pb.UpdateRequest) (*pb.WriteResponse, error) {
	if err := s.intercept(ctx, "Update", q); err != nil {
		return nil, statusError(err)
	}
	res, err := s.updateRequest(q)
	return res, statusError(err)
}

func (s *Server) updateRequest(q *pb.UpdateRequest) (*pb.WriteResponse, error) {
	r, err := s.target(q.Key)
	if err != nil {
		return nil, err
	}
	obj, err := decode(r, q.Object)
	if err != nil {
		return nil, err
	}
	if err := matchNamespace(r, q.Key.Namespace, obj); err != nil {
		return nil, err
	}
	if obj.GetName() != q.Key.Name {
		return nil, apierrors.NewBadRequest("the name of the object (" + obj.GetName() + ") does not match the name on the URL (" + q.Key.Name + ")")
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	old := s.store.get(r, q.Key.Namespace, q.Key.Name)
	if old == nil {
		if q.Key.Subresource == "" && r.Strategy.CreateOnUpdate && obj.GetUID() == "" {
			obj.SetResourceVersion("")
			o, err := s.insert(r, obj, q.Options.GetDryRun())
			if err != nil {
				return nil, err
			}
			return written(o, q.OmitObject), nil
		}
		return nil, apierrors.NewNotFound(r.GroupResource(), q.Key.Name)
	}
	if obj.GetResourceVersion() == "" && r.Strategy.RequireVersion {
		return nil, invalid(r, q.Key.Name, field.ErrorList{field.Invalid(field.NewPath("metadata", "resourceVersion"), int64(0), "must be specified for an update")})
	}
	o, err := s.update(r, q.Key.Subresource, old, obj, q.Options.GetDryRun())
	if err != nil {
		return nil, err
	}
	return written(o, q.OmitObject), nil
}

var errModified = errors.New("the object has been modified; please apply your changes to the latest version and try again")

// update stores a new version of an object. It needs the store's lock.
func (s *Server) update(r *scheme.Resource, subresource string, old *stored, obj scheme.Object, dryRun bool) (*stored, error) {
	if uid := obj.GetUID(); uid != "" && uid != old.obj.GetUID() {
		return nil, apierrors.NewConflict(r.GroupResource(), obj.GetName(), errors.New("Precondition failed: UID in precondition: "+string(uid)+", UID in object meta: "+string(old.obj.GetUID())))
	}
	if rv := obj.GetResourceVersion(); rv != "" && rv != strconv.FormatInt(old.revision, 10) {
		return nil, apierrors.NewConflict(r.GroupResource(), obj.GetName(), errModified)
	}
	was := old.obj.DeepCopyObject().(scheme.Object)
	if err := prepareUpdate(r, subresource, obj, was); err != nil {
		return nil, err
	}
	obj.SetResourceVersion("")
	raw, err := obj.Marshal()
	switch {
	case err != nil:
		return nil, err
	case dryRun:
		return &stored{obj: obj, raw: raw, revision: old.revision}, nil
	case bytes.Equal(raw, old.raw):
		return old, nil
	case goes(obj):
		if _, err := s.store.put(r, old, nil); err != nil {
			return nil, err
		}
		return &stored{obj: obj, raw: raw, revision: s.store.revision}, nil
	}
	return s.store.put(r, old, obj)
}

func prepareUpdate(r *scheme.Resource, subresource string, obj, old scheme.Object) error {
	obj.SetUID(old.GetUID())
	obj.SetCreationTimestamp(old.GetCreationTimestamp())
	obj.SetGeneration(old.GetGeneration())
	obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	strategy := &r.Strategy.UpdateStrategy
	if subresource != "" {
		if strategy = r.Subresource(subresource).Update; strategy == nil {
			return apierrors.NewMethodNotSupported(r.GroupResource(), "update")
		}
	}
	// Rules compare versions of both.
	obj.SetResourceVersion("1")
	old.SetResourceVersion("1")
	if strategy.PrepareUpdate != nil {
		strategy.PrepareUpdate(scheme.Context{Now: now(), Subresource: subresource}, obj, old)
	}
	if c := r.Strategy.SpecChanged; c != nil && subresource != "status" && c(obj, old) {
		obj.SetGeneration(old.GetGeneration() + 1)
	}
	var errs field.ErrorList
	if !r.Strategy.OwnMetadata {
		errs = r.ValidateMetadataUpdate(obj, old)
	}
	if strategy.ValidateUpdate != nil {
		errs = append(errs, strategy.ValidateUpdate(obj, old)...)
	}
	return invalid(r, obj.GetName(), errs)
}

// Mutate implements pb.ObjectsServer: one after the other.
func (s *Server) Mutate(api pb.Objects_MutateServer) error {
	for {
		q, err := api.Recv()
		if err != nil {
			return nil // the client is gone, or done
		}
		var res *pb.WriteResponse
		switch w := q.Write.(type) {
		case *pb.MutateRequest_Create:
			res, err = s.Create(api.Context(), w.Create)
		case *pb.MutateRequest_Update:
			res, err = s.Update(api.Context(), w.Update)
		case *pb.MutateRequest_Patch:
			res, err = s.Patch(api.Context(), w.Patch)
		case *pb.MutateRequest_Delete:
			res, err = s.Delete(api.Context(), w.Delete)
		default:
			err = statusError(apierrors.NewBadRequest("write: one of create, update, patch and delete is required"))
		}
		out := &pb.MutateResponse{Id: q.Id, Result: &pb.MutateResponse_Done{Done: res}}
		if err != nil {
			out.Result = &pb.MutateResponse_Failed{Failed: statusOf(err)}
		}
		if err := api.Send(out); err != nil {
			return err
		}
	}
}
