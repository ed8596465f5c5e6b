// Package client is how a component talks to the API server: one gRPC
// connection, typed verbs over the resource table, and a batch of writes.
// Errors of the API are *apierrors.StatusError, as a REST client would get.
//
// A Client is safe for use by many goroutines. Objects that come back belong
// to the caller.
package client

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/scheme"
	pb "xebec.dev/proto/gen/control/v1"
)

// defaultTimeout bounds a call whose context has no deadline of its own. It
// is longer than the server's own bound, whose answer says more.
const defaultTimeout = 70 * time.Second

// Client speaks to one API server.
type Client struct {
	conn    grpc.ClientConnInterface
	objects pb.ObjectsClient
	scheme  *scheme.Scheme
	types   map[reflect.Type]*scheme.Resource
	close   func() error
}

// New makes a client over a connection that is there already; Dial makes both.
func New(conn grpc.ClientConnInterface, s *scheme.Scheme) *Client {
	c := &Client{conn: conn, objects: pb.NewObjectsClient(conn), scheme: s, types: map[reflect.Type]*scheme.Resource{}, close: func() error { return nil }}
	for _, r := range s.Resources() {
		if r.New == nil {
			continue
		}
		// Kinds that share a Go type are told apart by storage: what is
		// stored wins over what only has the shape.
		typ := reflect.TypeOf(r.New())
		if have := c.types[typ]; have == nil || have.StoragePrefix == "" {
			c.types[typ] = r
		}
	}
	return c
}

// Close ends the connection.
func (c *Client) Close() error { return c.close() }

// As gives a client that acts for whom token is of, over the connection of c,
// which must be Nobody's: a component that acts for many service accounts needs
// no connection for each. token is asked for every call; it must keep what it
// has until that is to be renewed.
func (c *Client) As(token func(ctx context.Context) (string, error)) *Client {
	as := *c
	as.objects = pb.NewObjectsClient(credited{c.conn, grpc.PerRPCCredentials(sourced(token))})
	as.close = func() error { return nil }
	return &as
}

// credited adds an option to each call.
type credited struct {
	grpc.ClientConnInterface
	option grpc.CallOption
}

func (c credited) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.ClientConnInterface.Invoke(ctx, method, args, reply, append(opts, c.option)...)
}

func (c credited) NewStream(ctx context.Context, d *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.ClientConnInterface.NewStream(ctx, d, method, append(opts, c.option)...)
}

// Objects is the service itself.
func (c *Client) Objects() pb.ObjectsClient { return c.objects }

// Scheme is the table of resources the client knows.
func (c *Client) Scheme() *scheme.Scheme { return c.scheme }

// ResourceOf finds the resource whose objects have the Go type T.
func ResourceOf[T runtime.Object](c *Client) (*scheme.Resource, error) {
	r := c.types[reflect.TypeFor[T]()]
	if r == nil {
		return nil, fmt.Errorf("the client's scheme has no resource of type %s", reflect.TypeFor[T]())
	}
	return r, nil
}

// Name is a resource's name on the wire.
func Name(r *scheme.Resource) *pb.Resource {
	return &pb.Resource{Group: r.Group, Version: r.Version, Resource: r.Plural}
}

// Decode makes an object from its wire form. Whole objects get the defaults
// that a server of another release may not have stored; projected ones don't,
// since an absent field may be one that was left out.
func Decode[T scheme.Object](r *scheme.Resource, o *pb.Object, projected bool) (T, error) {
	obj, ok := r.New().(T)
	if !ok {
		return obj, fmt.Errorf("objects of %s are no %s", r.Plural, reflect.TypeFor[T]())
	}
	if err := obj.Unmarshal(o.GetRaw()); err != nil {
		return obj, fmt.Errorf("decode %s at revision %d: %w", r.Kind, o.GetRevision(), err)
	}
	if rev := o.GetRevision(); rev > 0 {
		obj.SetResourceVersion(strconv.FormatInt(rev, 10))
	}
	if d := r.Strategy.Default; d != nil && !projected {
		d(obj)
	}
	return obj, nil
}

// Encode is the wire form of an object. The object is not changed.
func Encode(obj scheme.Object) (*pb.Object, error) {
	out := &pb.Object{}
	if rv := obj.GetResourceVersion(); rv != "" {
		rev, err := strconv.ParseInt(rv, 10, 64)
		if err != nil || rev < 0 {
			return nil, fmt.Errorf("metadata.resourceVersion %q is no revision", rv)
		}
		out.Revision = rev
	}
	raw, err := obj.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", obj, err)
	}
	out.Raw = raw
	return out, nil
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultTimeout)
}
