package resources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/grpc/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	pb "xebec.dev/proto/gen/control/v1"
)

// rpc is the components' way.
type rpc struct {
	objects    pb.ObjectsClient
	resource   *pb.Resource
	namespace  string
	name       string
	apiVersion string
	kind       string
}

func (r *rpc) key(subresource string) *pb.Key {
	return &pb.Key{Resource: r.resource, Namespace: r.namespace, Name: r.name, Subresource: subresource}
}

func (r *rpc) encode(o object) (*pb.Object, error) {
	if _, ok := o["apiVersion"]; !ok {
		o = merged(o, object{"apiVersion": r.apiVersion, "kind": r.kind})
	}
	body, err := toProtobuf(o)
	if err != nil {
		return nil, err
	}
	var u runtime.Unknown
	if err := u.Unmarshal(bytes.TrimPrefix(body, envelope)); err != nil {
		return nil, err
	}
	revision, _ := strconv.ParseInt(fmt.Sprint(metadata(o)["resourceVersion"]), 10, 64)
	return &pb.Object{Raw: u.Raw, Revision: revision}, nil
}

func (r *rpc) decode(o *pb.Object) (object, error) {
	u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: r.apiVersion, Kind: r.kind}, Raw: o.GetRaw(), ContentType: runtime.ContentTypeProtobuf}
	if k := o.GetKind(); k != "" && k != r.apiVersion+"/"+r.kind {
		return nil, fmt.Errorf("answered with a %s", k)
	}
	raw, err := u.Marshal()
	if err != nil {
		return nil, err
	}
	out, err := fromProtobuf(append(envelope[:len(envelope):len(envelope)], raw...))
	if err != nil {
		return nil, err
	}
	metadata(out)["resourceVersion"] = strconv.FormatInt(o.GetRevision(), 10)
	return out, nil
}

// refused is a call's error as the Status it carries.
func refused(err error) error {
	for _, d := range status.Convert(err).Details() {
		s, ok := d.(*pb.Status)
		if !ok {
			continue
		}
		var k metav1.Status
		if err := k.Unmarshal(s.GetRaw()); err != nil {
			return err
		}
		return &refusal{code: int(k.Code), reason: string(k.Reason), message: k.Message}
	}
	return err
}

func (r *rpc) written(w *pb.WriteResponse, err error) (object, error) {
	if err != nil {
		return nil, refused(err)
	}
	return r.decode(w.GetObject())
}

func (r *rpc) create(o object) (object, error) {
	body, err := r.encode(o)
	if err != nil {
		return nil, err
	}
	return r.written(r.objects.Create(context.Background(), &pb.CreateRequest{Key: r.key(""), Object: body}))
}

func (r *rpc) get(subresource string) (object, error) {
	got, err := r.objects.Get(context.Background(), &pb.GetRequest{Key: r.key(subresource)})
	if err != nil {
		return nil, refused(err)
	}
	return r.decode(got.GetObject())
}

func (r *rpc) update(subresource string, o object) (object, error) {
	body, err := r.encode(o)
	if err != nil {
		return nil, err
	}
	return r.written(r.objects.Update(context.Background(), &pb.UpdateRequest{Key: r.key(subresource), Object: body}))
}

func (r *rpc) patch(subresource, mediaType string, patch []byte) (object, error) {
	q := &pb.PatchRequest{Key: r.key(subresource), Patch: patch, Options: &pb.WriteOptions{}}
	switch mediaType {
	case jsonPatch:
		q.Type = pb.PatchRequest_JSON
	case mergePatch:
		q.Type = pb.PatchRequest_MERGE
	case strategicPatch:
		q.Type = pb.PatchRequest_STRATEGIC
	case applyPatch:
		q.Type, q.Force, q.Options.FieldManager = pb.PatchRequest_APPLY, true, "applier"
	}
	return r.written(r.objects.Patch(context.Background(), q))
}

func (r *rpc) remove() error {
	_, err := r.objects.Delete(context.Background(), &pb.DeleteRequest{Key: r.key("")})
	if err != nil {
		return refused(err)
	}
	return nil
}

func (r *rpc) list() (items []object, version string, err error) {
	stream, err := r.objects.List(context.Background(), &pb.ListRequest{Resource: r.resource, Selection: &pb.Selection{Namespace: r.namespace, Name: r.name}})
	if err != nil {
		return nil, "", refused(err)
	}
	for {
		page, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return items, version, nil
		}
		if err != nil {
			return nil, "", refused(err)
		}
		version = strconv.FormatInt(page.GetRevision(), 10)
		for _, o := range page.GetObjects() {
			item, err := r.decode(o)
			if err != nil {
				return nil, "", err
			}
			items = append(items, item)
		}
	}
}

func (r *rpc) watch(ctx context.Context, version string) (<-chan event, error) {
	after, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return nil, err
	}
	stream, err := r.objects.Watch(ctx)
	if err != nil {
		return nil, err
	}
	subscribe := &pb.Subscribe{Resource: r.resource, Selection: &pb.Selection{Namespace: r.namespace, Name: r.name}, AfterRevision: after}
	if err := stream.Send(&pb.WatchRequest{Id: 1, Action: &pb.WatchRequest_Subscribe{Subscribe: subscribe}}); err != nil {
		return nil, err
	}
	events := make(chan event)
	go func() {
		send := func(e event) bool {
			select {
			case events <- e:
				return e.err == nil
			case <-ctx.Done():
				return false
			}
		}
		for {
			batch, err := stream.Recv()
			if err == nil && batch.GetEnded() != nil {
				err = errors.New("the subscription ended")
			}
			if err != nil {
				send(event{err: err})
				return
			}
			for _, e := range batch.GetEvents() {
				o, err := r.decode(e.GetObject())
				if !send(event{kind: e.GetType().String(), object: o, err: err}) {
					return
				}
			}
		}
	}()
	return events, nil
}
