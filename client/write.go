package client

import (
	"context"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

// Write is one write, ready to be sent alone or in a Batch.
type Write struct {
	resource *scheme.Resource
	omit     bool
	// One of these is set.
	create *pb.CreateRequest
	update *pb.UpdateRequest
	patch  *pb.PatchRequest
	delete *pb.DeleteRequest
}

// CreateWrite is the write of Create.
func CreateWrite[T scheme.Object](c *Client, obj T, opts ...WriteOptions) (*Write, error) {
	r, err := ResourceOf[T](c)
	if err != nil {
		return nil, err
	}
	raw, err := Encode(obj)
	if err != nil {
		return nil, err
	}
	o := one(opts)
	return &Write{resource: r, omit: o.OmitObject, create: &pb.CreateRequest{
		Key: key(r, obj.GetNamespace(), obj.GetName(), ""), Object: raw, Options: o.proto(), OmitObject: o.OmitObject,
	}}, nil
}

// SubresourceWrite is the write of CreateSubresource.
func SubresourceWrite[T scheme.Object](c *Client, namespace, name, subresource string, body scheme.Object, opts ...WriteOptions) (*Write, error) {
	r, err := ResourceOf[T](c)
	if err != nil {
		return nil, err
	}
	raw, err := Encode(body)
	if err != nil {
		return nil, err
	}
	o := one(opts)
	return &Write{resource: r, omit: o.OmitObject, create: &pb.CreateRequest{
		Key: key(r, namespace, name, subresource), Object: raw, Options: o.proto(), OmitObject: o.OmitObject,
	}}, nil
}

// UpdateWrite is the write of Update.
func UpdateWrite[T scheme.Object](c *Client, obj T, opts ...WriteOptions) (*Write, error) {
	r, err := ResourceOf[T](c)
	if err != nil {
		return nil, err
	}
	raw, err := Encode(obj)
	if err != nil {
		return nil, err
	}
	o := one(opts)
	return &Write{resource: r, omit: o.OmitObject, update: &pb.UpdateRequest{
		Key: key(r, obj.GetNamespace(), obj.GetName(), o.Subresource), Object: raw, Options: o.proto(), OmitObject: o.OmitObject,
	}}, nil
}

var patchTypes = map[types.PatchType]pb.PatchRequest_Type{
	types.JSONPatchType: pb.PatchRequest_JSON, types.MergePatchType: pb.PatchRequest_MERGE,
	types.StrategicMergePatchType: pb.PatchRequest_STRATEGIC, types.ApplyYAMLPatchType: pb.PatchRequest_APPLY,
}

// PatchWrite is the write of Patch.
func PatchWrite[T scheme.Object](c *Client, namespace, name string, kind types.PatchType, patch []byte, opts ...WriteOptions) (*Write, error) {
	r, err := ResourceOf[T](c)
	if err != nil {
		return nil, err
	}
	t, ok := patchTypes[kind]
	if !ok {
		return nil, fmt.Errorf("patch type %q is none of JSON, merge, strategic merge and apply", kind)
	}
	o := one(opts)
	return &Write{resource: r, omit: o.OmitObject, patch: &pb.PatchRequest{
		Key: key(r, namespace, name, o.Subresource), Type: t, Patch: patch, Force: o.Force, Options: o.proto(), OmitObject: o.OmitObject,
	}}, nil
}

// DeleteWrite is the write of Delete.
func DeleteWrite[T scheme.Object](c *Client, namespace, name string, opts ...DeleteOptions) (*Write, error) {
	r, err := ResourceOf[T](c)
	if err != nil {
		return nil, err
	}
	return &Write{resource: r, delete: &pb.DeleteRequest{Key: key(r, namespace, name, ""), Options: one(opts).proto()}}, nil
}

// send makes the write a call of its own.
func (w *Write) send(ctx context.Context, c *Client) (res *pb.WriteResponse, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	switch {
	case w.create != nil:
		res, err = c.objects.Create(ctx, w.create)
	case w.update != nil:
		res, err = c.objects.Update(ctx, w.update)
	case w.patch != nil:
		res, err = c.objects.Patch(ctx, w.patch)
	default:
		res, err = c.objects.Delete(ctx, w.delete)
	}
	return res, writeError(err)
}

// request makes the write an item of a batch.
func (w *Write) request(id int64) *pb.MutateRequest {
	q := &pb.MutateRequest{Id: id}
	switch {
	case w.create != nil:
		q.Write = &pb.MutateRequest_Create{Create: w.create}
	case w.update != nil:
		q.Write = &pb.MutateRequest_Update{Update: w.update}
	case w.patch != nil:
		q.Write = &pb.MutateRequest_Patch{Patch: w.patch}
	default:
		q.Write = &pb.MutateRequest_Delete{Delete: w.delete}
	}
	return q
}

func (w *Write) key() *pb.Key {
	switch {
	case w.create != nil:
		return w.create.Key
	case w.update != nil:
		return w.update.Key
	case w.patch != nil:
		return w.patch.Key
	}
	return w.delete.Key
}

// Written is the object that a write answered with.
func Written[T scheme.Object](w *Write, res *pb.WriteResponse) (T, error) {
	if !w.omit {
		return Decode[T](w.resource, res.GetObject(), false)
	}
	obj, ok := w.resource.New().(T)
	if !ok {
		return obj, fmt.Errorf("objects of %s are no %T", w.resource.Plural, obj)
	}
	obj.SetNamespace(w.key().GetNamespace())
	obj.SetName(res.GetName())
	if rev := res.GetObject().GetRevision(); rev > 0 {
		obj.SetResourceVersion(strconv.FormatInt(rev, 10))
	}
	return obj, nil
}
