package rpc

import (
	"context"
	"strconv"
	"strings"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
	pb "xebec.dev/proto/gen/control/v1"
)

// Get implements pb.ObjectsServer.
func (s *Server) Get(ctx context.Context, q *pb.GetRequest) (_ *pb.GetResponse, err error) {
	t, err := s.target(q.Key)
	if err != nil {
		return nil, statusError(err)
	}
	if err := checkVerb(&t, "get"); err != nil {
		return nil, statusError(err)
	}
	ctx, done, err := s.begin(ctx, info(&t, "get"))
	if err != nil {
		return nil, err
	}
	defer func() { done(err) }()
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if t.Subresource == "scale" {
		scale, err := s.Registry.GetScale(ctx, t)
		if err != nil {
			return nil, statusError(err)
		}
		o, err := packOther(scale)
		return &pb.GetResponse{Object: o}, statusError(err)
	}
	p, err := s.projection(&t, q.Projection)
	if err != nil {
		return nil, statusError(err)
	}
	o, err := s.Registry.Get(ctx, t, version(q.MinRevision, q.Any))
	if err != nil {
		return nil, statusError(err)
	}
	return &pb.GetResponse{Object: &pb.Object{Raw: p.apply(o.Raw), Revision: o.Revision}}, nil
}

// version is the resourceVersion parameter that means the same.
func version(least int64, any bool) string {
	switch {
	case any:
		return "0"
	case least > 0:
		return strconv.FormatInt(least, 10)
	}
	return ""
}

// pageBytes is how much of a list goes into one response, in bytes.
const pageBytes = 512 << 10

// List implements pb.ObjectsServer.
func (s *Server) List(q *pb.ListRequest, stream pb.Objects_ListServer) (err error) {
	t, err := s.resource(q.Resource)
	if err != nil {
		return statusError(err)
	}
	o, err := selection(&t, q.Selection)
	if err != nil {
		return statusError(err)
	}
	o.ResourceVersion = version(q.MinRevision, q.Any)
	ctx, done, err := s.begin(stream.Context(), selected(&t, "list", q.Selection))
	if err != nil {
		return err
	}
	defer func() { done(err) }()
	p, err := s.projection(&t, q.Projection)
	if err != nil {
		return statusError(err)
	}
	l, err := s.Registry.List(ctx, t, o)
	if err != nil {
		return statusError(err)
	}
	return sendList(stream, l, p)
}

func sendList(stream pb.Objects_ListServer, l *storage.List, p *projection) error {
	page := &pb.ListResponse{Revision: l.Revision}
	size := 0
	for _, o := range l.Objects {
		raw := p.apply(o.Raw)
		page.Objects = append(page.Objects, &pb.Object{Raw: raw, Revision: o.Revision})
		if size += len(raw); size >= pageBytes {
			if err := stream.Send(page); err != nil {
				return err
			}
			page, size = &pb.ListResponse{Revision: l.Revision}, 0
		}
	}
	return stream.Send(page)
}

// selection turns the request's words into REST's options, namespace into t.
func selection(t *registry.Target, q *pb.Selection) (*metav1.ListOptions, error) {
	t.Namespace, t.Name = q.GetNamespace(), q.GetName()
	o := &metav1.ListOptions{LabelSelector: q.GetLabelSelector(), FieldSelector: q.GetFieldSelector()}
	return o, checkPath(t)
}

func selected(t *registry.Target, verb string, q *pb.Selection) request.Info {
	i := info(t, verb)
	if verb == "deletecollection" {
		i.Name = "" // who may delete a collection is not asked by name
	}
	i.LabelSelector, i.FieldSelector = q.GetLabelSelector(), q.GetFieldSelector()
	// As over REST: a selection of one name asks for rights to that name, which
	// a node has to its own.
	if name, ok := strings.CutPrefix(i.FieldSelector, "metadata.name="); ok && i.Name == "" && verb != "deletecollection" && !strings.ContainsAny(name, ",=!") {
		i.Name = name
	}
	return i
}

// Create implements pb.ObjectsServer.
func (s *Server) Create(ctx context.Context, q *pb.CreateRequest) (*pb.WriteResponse, error) {
	return s.write(ctx, q.Key, "create", func(ctx context.Context, t registry.Target) (*pb.WriteResponse, error) {
		return s.create(ctx, t, q)
	})
}

// Update implements pb.ObjectsServer.
func (s *Server) Update(ctx context.Context, q *pb.UpdateRequest) (*pb.WriteResponse, error) {
	return s.write(ctx, q.Key, "update", func(ctx context.Context, t registry.Target) (*pb.WriteResponse, error) {
		return s.update(ctx, t, q)
	})
}

// Patch implements pb.ObjectsServer.
func (s *Server) Patch(ctx context.Context, q *pb.PatchRequest) (*pb.WriteResponse, error) {
	return s.write(ctx, q.Key, "patch", func(ctx context.Context, t registry.Target) (*pb.WriteResponse, error) {
		return s.patch(ctx, t, q)
	})
}

// Delete implements pb.ObjectsServer.
func (s *Server) Delete(ctx context.Context, q *pb.DeleteRequest) (*pb.WriteResponse, error) {
	return s.write(ctx, q.Key, "delete", func(ctx context.Context, t registry.Target) (*pb.WriteResponse, error) {
		res, err := s.Registry.Delete(ctx, t, deleteOptions(ctx, q.Options))
		if err != nil {
			return nil, err
		}
		return pack(ctx, res, false)
	})
}

// write takes one write through the pipeline.
func (s *Server) write(ctx context.Context, k *pb.Key, verb string, do func(context.Context, registry.Target) (*pb.WriteResponse, error)) (_ *pb.WriteResponse, err error) {
	t, err := s.target(k)
	if err != nil {
		return nil, statusError(err)
	}
	if err := checkVerb(&t, verb); err != nil {
		return nil, statusError(err)
	}
	ctx, done, err := s.begin(ctx, info(&t, verb))
	if err != nil {
		return nil, err
	}
	defer func() { done(err) }()
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	res, err := do(ctx, t)
	return res, statusError(err)
}

func (s *Server) create(ctx context.Context, t registry.Target, q *pb.CreateRequest) (*pb.WriteResponse, error) {
	o := &metav1.CreateOptions{DryRun: dryRun(ctx, q.Options), FieldManager: manager(ctx, q.Options)}
	if sub := registry.BodyKind(t.Subresource); sub != nil {
		body := sub.New()
		if err := body.(scheme.Message).Unmarshal(q.Object.GetRaw()); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		body.GetObjectKind().SetGroupVersionKind(sub.GroupVersionKind)
		res, err := s.Registry.CreateSubresource(ctx, t, body, o)
		if err != nil {
			return nil, err
		}
		return pack(ctx, res, q.OmitObject)
	}
	obj, err := decodeObject(&t, q.Object)
	if err != nil {
		return nil, err
	}
	stored, ok := obj.(scheme.Object)
	if t.StoragePrefix == "" || !ok {
		res, err := s.Registry.Review(ctx, t, obj, o)
		if err != nil {
			return nil, err
		}
		return pack(ctx, res, q.OmitObject)
	}
	if t.Name != "" && stored.GetName() == "" && stored.GetGenerateName() == "" {
		stored.SetName(t.Name)
	}
	res, err := s.Registry.Create(ctx, t, stored, o)
	if err != nil {
		return nil, err
	}
	return pack(ctx, res, q.OmitObject)
}

func (s *Server) update(ctx context.Context, t registry.Target, q *pb.UpdateRequest) (*pb.WriteResponse, error) {
	o := &metav1.UpdateOptions{DryRun: dryRun(ctx, q.Options), FieldManager: manager(ctx, q.Options)}
	if t.Subresource == "scale" {
		scale := &autoscalingv1.Scale{}
		if err := scale.Unmarshal(q.Object.GetRaw()); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		setRevision(scale, q.Object.GetRevision())
		out, err := s.Registry.UpdateScale(ctx, t, scale, o)
		if err != nil {
			return nil, err
		}
		return pack(ctx, &registry.Result{Other: out}, q.OmitObject)
	}
	obj, err := decodeObject(&t, q.Object)
	if err != nil {
		return nil, err
	}
	stored, ok := obj.(scheme.Object)
	if !ok {
		return nil, apierrors.NewMethodNotSupported(t.GroupResource(), "update")
	}
	res, err := s.Registry.Update(ctx, t, stored, o)
	if err != nil {
		return nil, err
	}
	return pack(ctx, res, q.OmitObject)
}

var patchTypes = map[pb.PatchRequest_Type]types.PatchType{
	pb.PatchRequest_JSON: types.JSONPatchType, pb.PatchRequest_MERGE: types.MergePatchType,
	pb.PatchRequest_STRATEGIC: types.StrategicMergePatchType, pb.PatchRequest_APPLY: types.ApplyPatchType,
}

func (s *Server) patch(ctx context.Context, t registry.Target, q *pb.PatchRequest) (*pb.WriteResponse, error) {
	kind, ok := patchTypes[q.Type]
	if !ok {
		return nil, apierrors.NewBadRequest("type: one of JSON, MERGE, STRATEGIC and APPLY is required")
	}
	request.From(ctx).Apply = kind == types.ApplyPatchType
	o := &metav1.PatchOptions{DryRun: dryRun(ctx, q.Options), FieldManager: manager(ctx, q.Options), FieldValidation: q.Options.GetFieldValidation()}
	if q.Force {
		o.Force = &q.Force
	}
	if t.Subresource == "scale" {
		scale, err := s.Registry.PatchScale(ctx, t, kind, q.Patch, o)
		if err != nil {
			return nil, err
		}
		return pack(ctx, &registry.Result{Other: scale}, q.OmitObject)
	}
	res, err := s.Registry.Patch(ctx, t, kind, q.Patch, o)
	if err != nil {
		return nil, err
	}
	return pack(ctx, res, q.OmitObject)
}

// DeleteCollection implements pb.ObjectsServer.
func (s *Server) DeleteCollection(ctx context.Context, q *pb.DeleteCollectionRequest) (_ *pb.DeleteCollectionResponse, err error) {
	t, err := s.resource(q.Resource)
	if err != nil {
		return nil, statusError(err)
	}
	o, err := selection(&t, q.Selection)
	if err != nil {
		return nil, statusError(err)
	}
	ctx, done, err := s.begin(ctx, selected(&t, "deletecollection", q.Selection))
	if err != nil {
		return nil, err
	}
	defer func() { done(err) }()
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	l, err := s.Registry.DeleteCollection(ctx, t, deleteOptions(ctx, q.Options), o)
	if err != nil {
		return nil, statusError(err)
	}
	return &pb.DeleteCollectionResponse{Count: int64(len(l.Objects))}, nil
}

func decodeObject(t *registry.Target, o *pb.Object) (runtime.Object, error) {
	obj := t.New()
	m, ok := obj.(scheme.Message)
	if !ok {
		return nil, apierrors.NewBadRequest(t.Kind + " has no protobuf form")
	}
	if err := m.Unmarshal(o.GetRaw()); err != nil {
		return nil, apierrors.NewBadRequest("object.raw is not a " + t.Kind + ": " + err.Error())
	}
	if meta, ok := obj.(metav1.Object); ok {
		setRevision(meta, o.GetRevision())
	}
	if d := t.Strategy.Default; d != nil {
		d(obj)
	}
	obj.GetObjectKind().SetGroupVersionKind(t.GroupVersionKind())
	return obj, nil
}

func setRevision(m metav1.Object, revision int64) {
	m.SetResourceVersion("")
	if revision > 0 {
		m.SetResourceVersion(strconv.FormatInt(revision, 10))
	}
}

func dryRun(ctx context.Context, o interface{ GetDryRun() bool }) []string {
	if o.GetDryRun() {
		request.From(ctx).DryRun = true
		return []string{metav1.DryRunAll}
	}
	return nil
}

func manager(ctx context.Context, o *pb.WriteOptions) string {
	if m := o.GetFieldManager(); m != "" {
		return m
	}
	agent := request.From(ctx).UserAgent
	for i := range len(agent) {
		if agent[i] == '/' || agent[i] == ' ' {
			return agent[:i]
		}
	}
	return agent
}

func deleteOptions(ctx context.Context, o *pb.DeleteOptions) *metav1.DeleteOptions {
	out := &metav1.DeleteOptions{}
	if o != nil {
		out.GracePeriodSeconds = o.GracePeriodSeconds
	}
	if uid := types.UID(o.GetUid()); uid != "" {
		out.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	if rev := o.GetRevision(); rev > 0 {
		rv := strconv.FormatInt(rev, 10)
		if out.Preconditions == nil {
			out.Preconditions = &metav1.Preconditions{}
		}
		out.Preconditions.ResourceVersion = &rv
	}
	if p := metav1.DeletionPropagation(o.GetPropagationPolicy()); p != "" {
		out.PropagationPolicy = &p
	}
	out.DryRun = dryRun(ctx, o)
	return out
}

// pack makes the answer of a write.
func pack(ctx context.Context, res *registry.Result, omit bool) (*pb.WriteResponse, error) {
	out := &pb.WriteResponse{Warnings: request.From(ctx).Warnings()}
	if res.Stored == nil {
		o, err := packOther(res.Other)
		out.Object = o
		return out, err
	}
	out.Name = res.Stored.Name
	out.Object = &pb.Object{Raw: res.Stored.Raw, Revision: res.Stored.Revision}
	if omit {
		out.Object.Raw = nil
	}
	return out, nil
}

func packOther(obj runtime.Object) (*pb.Object, error) {
	m, ok := obj.(scheme.Message)
	if !ok {
		return nil, apierrors.NewInternalError(errNoProtobuf)
	}
	raw, err := m.Marshal()
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	gvk := obj.GetObjectKind().GroupVersionKind()
	return &pb.Object{Raw: raw, Kind: gvk.GroupVersion().String() + "/" + gvk.Kind}, nil
}
