package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	pb "xebec.dev/proto/gen/control/v1"
)

// What follows is for components that work on objects of any kind, and look at
// metadata only.

// DecodeMetadata takes the metadata out of an object of any kind.
func DecodeMetadata(o *pb.Object) (*metav1.PartialObjectMetadata, error) {
	m := &metav1.PartialObjectMetadata{}
	if err := m.Unmarshal(o.GetRaw()); err != nil {
		return nil, fmt.Errorf("decode metadata at revision %d: %w", o.GetRevision(), err)
	}
	if rev := o.GetRevision(); rev > 0 {
		m.ResourceVersion = strconv.FormatInt(rev, 10)
	}
	return m, nil
}

// GetMetadata reads an object's metadata.
func GetMetadata(ctx context.Context, c *Client, r *pb.Resource, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	k := &pb.Key{Resource: r, Namespace: namespace, Name: name}
	res, err := c.objects.Get(ctx, &pb.GetRequest{Key: k, Projection: &pb.Projection{MetadataOnly: true}})
	if err != nil {
		return nil, FromError(err)
	}
	return DecodeMetadata(res.Object)
}

// ListMetadata reads the metadata of what a selection selects, and the
// revision.
func ListMetadata(ctx context.Context, c *Client, r *pb.Resource, s Selection) ([]*metav1.PartialObjectMetadata, int64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	pages, err := c.objects.List(ctx, &pb.ListRequest{Resource: r, Selection: s.Proto(), Projection: &pb.Projection{MetadataOnly: true}})
	if err != nil {
		return nil, 0, FromError(err)
	}
	var items []*metav1.PartialObjectMetadata
	var revision int64
	for {
		page, err := pages.Recv()
		if errors.Is(err, io.EOF) {
			return items, revision, nil
		}
		if err != nil {
			return nil, 0, FromError(err)
		}
		revision = page.Revision
		for _, o := range page.Objects {
			m, err := DecodeMetadata(o)
			if err != nil {
				return nil, 0, err
			}
			items = append(items, m)
		}
	}
}

// DeleteAllOf is DeleteCollection of a resource that has no Go type here.
func DeleteAllOf(ctx context.Context, c *Client, r *pb.Resource, s Selection, opts ...DeleteOptions) (int64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	res, err := c.objects.DeleteCollection(ctx, &pb.DeleteCollectionRequest{Resource: r, Selection: s.Proto(), Options: one(opts).proto()})
	return res.GetCount(), writeError(err)
}

// DeleteWriteOf is DeleteWrite of a resource that has no Go type here.
func DeleteWriteOf(r *pb.Resource, namespace, name string, opts ...DeleteOptions) *Write {
	k := &pb.Key{Resource: r, Namespace: namespace, Name: name}
	return &Write{delete: &pb.DeleteRequest{Key: k, Options: one(opts).proto()}}
}

// PatchWriteOf is PatchWrite of a resource that has no Go type here. Its
// answer is the revision, without the object.
func PatchWriteOf(r *pb.Resource, namespace, name string, kind types.PatchType, patch []byte) (*Write, error) {
	t, ok := patchTypes[kind]
	if !ok {
		return nil, fmt.Errorf("patch type %q is none of JSON, merge, strategic merge and apply", kind)
	}
	k := &pb.Key{Resource: r, Namespace: namespace, Name: name}
	return &Write{omit: true, patch: &pb.PatchRequest{Key: k, Type: t, Patch: patch, OmitObject: true}}, nil
}
