package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

// ReadOptions of Get and List; the zero value reads what is fresher than
// every write completed before.
type ReadOptions struct {
	// MinRevision is how fresh at least.
	MinRevision int64
	// Any takes whatever the server has.
	Any bool
	// Fields, when set, is a projection: only metadata and these are sent.
	Fields []string
	// MetadataOnly is a projection to metadata alone.
	MetadataOnly bool
}

func (o *ReadOptions) projection() *pb.Projection { return Projection(o.MetadataOnly, o.Fields) }

// Projection is the wire form; nil is the whole object.
func Projection(metadataOnly bool, fields []string) *pb.Projection {
	if !metadataOnly && len(fields) == 0 {
		return nil
	}
	return &pb.Projection{MetadataOnly: metadataOnly, Fields: fields}
}

// Selection narrows List, DeleteCollection and subscriptions. The zero value
// selects everything.
type Selection struct {
	Namespace string
	Name      string
	Labels    string
	Fields    string
}

// Proto is the wire form.
func (s Selection) Proto() *pb.Selection {
	return &pb.Selection{Namespace: s.Namespace, Name: s.Name, LabelSelector: s.Labels, FieldSelector: s.Fields}
}

// WriteOptions of writes.
type WriteOptions struct {
	DryRun       bool
	FieldManager string
	// FieldValidation is Ignore, Warn or Strict, for patches.
	FieldValidation string
	// Subresource of Update and Patch.
	Subresource string
	// OmitObject saves the answer's bytes: only name and resourceVersion of
	// the returned object are set.
	OmitObject bool
	// Force lets an apply patch take fields from other managers.
	Force bool
}

func (o *WriteOptions) proto() *pb.WriteOptions {
	if !o.DryRun && o.FieldManager == "" && o.FieldValidation == "" {
		return nil
	}
	return &pb.WriteOptions{DryRun: o.DryRun, FieldManager: o.FieldManager, FieldValidation: o.FieldValidation}
}

// DeleteOptions of Delete and DeleteCollection.
type DeleteOptions struct {
	// GracePeriod in seconds; nil is the object's own.
	GracePeriod *int64
	// UID and Revision are preconditions; zero values are none.
	UID         types.UID
	Revision    int64
	Propagation metav1.DeletionPropagation
	DryRun      bool
}

func (o *DeleteOptions) proto() *pb.DeleteOptions {
	return &pb.DeleteOptions{
		GracePeriodSeconds: o.GracePeriod, Uid: string(o.UID), Revision: o.Revision,
		PropagationPolicy: string(o.Propagation), DryRun: o.DryRun,
	}
}

func one[O any](opts []O) *O {
	if len(opts) > 0 {
		return &opts[0]
	}
	return new(O)
}

// Get reads one object.
func Get[T scheme.Object](ctx context.Context, c *Client, namespace, name string, opts ...ReadOptions) (T, error) {
	var none T
	r, err := ResourceOf[T](c)
	if err != nil {
		return none, err
	}
	o := one(opts)
	ctx, cancel := bounded(ctx)
	defer cancel()
	p := o.projection()
	res, err := c.objects.Get(ctx, &pb.GetRequest{Key: key(r, namespace, name, ""), MinRevision: o.MinRevision, Any: o.Any, Projection: p})
	if err != nil {
		return none, FromError(err)
	}
	return Decode[T](r, res.Object, p != nil)
}

// List reads a snapshot and its revision.
func List[T scheme.Object](ctx context.Context, c *Client, s Selection, opts ...ReadOptions) ([]T, int64, error) {
	r, err := ResourceOf[T](c)
	if err != nil {
		return nil, 0, err
	}
	o := one(opts)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := o.projection()
	pages, err := c.objects.List(ctx, &pb.ListRequest{Resource: Name(r), Selection: s.Proto(), MinRevision: o.MinRevision, Any: o.Any, Projection: p})
	if err != nil {
		return nil, 0, FromError(err)
	}
	var items []T
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
		for _, raw := range page.Objects {
			obj, err := Decode[T](r, raw, p != nil)
			if err != nil {
				return nil, 0, err
			}
			items = append(items, obj)
		}
	}
}

// Create stores a new object.
func Create[T scheme.Object](ctx context.Context, c *Client, obj T, opts ...WriteOptions) (T, error) {
	w, err := CreateWrite(c, obj, opts...)
	if err != nil {
		var none T
		return none, err
	}
	return do[T](ctx, c, w)
}

// Update replaces an object, or what WriteOptions.Subresource may change.
func Update[T scheme.Object](ctx context.Context, c *Client, obj T, opts ...WriteOptions) (T, error) {
	w, err := UpdateWrite(c, obj, opts...)
	if err != nil {
		var none T
		return none, err
	}
	return do[T](ctx, c, w)
}

// UpdateStatus writes the object's status.
func UpdateStatus[T scheme.Object](ctx context.Context, c *Client, obj T, opts ...WriteOptions) (T, error) {
	o := *one(opts)
	o.Subresource = "status"
	return Update(ctx, c, obj, o)
}

// Patch changes an object by a patch document of one of the four types.
func Patch[T scheme.Object](ctx context.Context, c *Client, namespace, name string, kind types.PatchType, patch []byte, opts ...WriteOptions) (T, error) {
	w, err := PatchWrite[T](c, namespace, name, kind, patch, opts...)
	if err != nil {
		var none T
		return none, err
	}
	return do[T](ctx, c, w)
}

// Delete removes an object, or marks it to be removed.
func Delete[T scheme.Object](ctx context.Context, c *Client, namespace, name string, opts ...DeleteOptions) error {
	w, err := DeleteWrite[T](c, namespace, name, opts...)
	if err != nil {
		return err
	}
	_, err = w.send(ctx, c)
	return err
}

// DeleteCollection deletes what a selection selects and says how many.
func DeleteCollection[T scheme.Object](ctx context.Context, c *Client, s Selection, opts ...DeleteOptions) (int64, error) {
	r, err := ResourceOf[T](c)
	if err != nil {
		return 0, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	res, err := c.objects.DeleteCollection(ctx, &pb.DeleteCollectionRequest{Resource: Name(r), Selection: s.Proto(), Options: one(opts).proto()})
	return res.GetCount(), writeError(err)
}

// CreateSubresource posts a body of a kind of its own (Binding, Eviction,
// TokenRequest) to a subresource of the object of type T and gives the answer
// when it is of the body's kind, else an empty one (Status).
func CreateSubresource[T scheme.Object, B scheme.Object](ctx context.Context, c *Client, namespace, name, subresource string, body B, opts ...WriteOptions) (B, error) {
	var none B
	w, err := SubresourceWrite[T](c, namespace, name, subresource, body, opts...)
	if err != nil {
		return none, err
	}
	res, err := w.send(ctx, c)
	if err != nil {
		return none, err
	}
	out := body.DeepCopyObject().(B)
	if res.Object.GetKind() == "" || res.Object.GetKind() == "v1/Status" || len(res.Object.GetRaw()) == 0 {
		return out, nil
	}
	if err := out.Unmarshal(res.Object.Raw); err != nil {
		return none, fmt.Errorf("decode the answer to %s/%s: %w", w.resource.Plural, subresource, err)
	}
	return out, nil
}

func do[T scheme.Object](ctx context.Context, c *Client, w *Write) (T, error) {
	var none T
	res, err := w.send(ctx, c)
	if err != nil {
		return none, err
	}
	return Written[T](w, res)
}

func key(r *scheme.Resource, namespace, name, subresource string) *pb.Key {
	return &pb.Key{Resource: Name(r), Namespace: namespace, Name: name, Subresource: subresource}
}
