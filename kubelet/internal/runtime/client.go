// Package runtime speaks CRI v1 to the container runtime: it turns pods into
// the runtime's configurations and the runtime's answers into what plans work
// with. It keeps no state about pods: what the runtime says is what there is.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage of the runtime, in bytes: a list of all containers is one.
const maxMessage = 16 << 20

// Client is a connection to a runtime and to its image service.
type Client struct {
	Runtime runtimeapi.RuntimeServiceClient
	Images  runtimeapi.ImageServiceClient

	timeout  time.Duration
	noEvents atomic.Bool
	conns    []*grpc.ClientConn
}

// Dial makes a client. endpoint and imageEndpoint are unix:///PATH; an empty
// image endpoint is the runtime's. Nothing is sent yet: calls wait for the
// connection. timeout bounds calls that should be quick; called is told of
// every call, and may be nil.
func Dial(endpoint, imageEndpoint string, timeout time.Duration, called Called) (*Client, error) {
	c := &Client{timeout: timeout}
	conn, err := dial(endpoint, called)
	if err != nil {
		return nil, err
	}
	c.conns = append(c.conns, conn)
	c.Runtime = runtimeapi.NewRuntimeServiceClient(conn)
	if imageEndpoint != "" && imageEndpoint != endpoint {
		if conn, err = dial(imageEndpoint, called); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.conns = append(c.conns, conn)
	}
	c.Images = runtimeapi.NewImageServiceClient(conn)
	return c, nil
}

// Called counts a call: its name as Kubernetes' metrics have it.
type Called func(operation string, took time.Duration, err error)

func (c Called) intercept(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	began := time.Now()
	err := invoke(ctx, method, req, reply, conn, opts...)
	if c != nil {
		c(operation(method), time.Since(began), err)
	}
	return err
}

// operation makes run_podsandbox of RunPodSandbox.
func operation(method string) string {
	name := method[strings.LastIndexByte(method, '/')+1:]
	var b strings.Builder
	for i, r := range strings.ReplaceAll(name, "PodSandbox", "Podsandbox") {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func dial(endpoint string, called Called) (*grpc.ClientConn, error) {
	path, ok := strings.CutPrefix(endpoint, "unix://")
	if !ok {
		if !strings.HasPrefix(endpoint, "/") {
			return nil, fmt.Errorf("containerRuntimeEndpoint %q is not of the form unix:///PATH", endpoint)
		}
		path = endpoint
	}
	conn, err := grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
		grpc.WithReadBufferSize(16<<10), grpc.WithWriteBufferSize(16<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithUnaryInterceptor(called.intercept),
	)
	if err != nil {
		return nil, fmt.Errorf("container runtime at %s: %w", endpoint, err)
	}
	return conn, nil
}

// Close ends the connections.
func (c *Client) Close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// bounded is a context for a call that should be quick.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// IsNotFound reports that the runtime has no such thing.
func IsNotFound(err error) bool { return status.Code(err) == codes.NotFound }

// IsUnimplemented reports that the runtime lacks the call.
func IsUnimplemented(err error) bool { return status.Code(err) == codes.Unimplemented }

// Health is what the runtime says about itself.
type Health struct {
	Version      string // as in "containerd://2.4.2"
	RuntimeReady bool
	NetworkReady bool
	// Reason of what is not ready.
	RuntimeMessage, NetworkMessage string
	Handlers                       []*runtimeapi.RuntimeHandler
	Features                       *runtimeapi.RuntimeFeatures
}

// Health asks the runtime.
func (c *Client) Health(ctx context.Context) (*Health, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	v, err := c.Runtime.Version(ctx, &runtimeapi.VersionRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask the container runtime for its version: %w", err)
	}
	s, err := c.Runtime.Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask the container runtime for its status: %w", err)
	}
	h := &Health{Version: v.RuntimeName + "://" + v.RuntimeVersion, Handlers: s.RuntimeHandlers, Features: s.Features}
	for _, cond := range s.Status.GetConditions() {
		text := fmt.Sprintf("%s=%t reason:%s message:%s", cond.Type, cond.Status, cond.Reason, cond.Message)
		switch cond.Type {
		case runtimeapi.RuntimeReady:
			h.RuntimeReady, h.RuntimeMessage = cond.Status, text
		case runtimeapi.NetworkReady:
			h.NetworkReady, h.NetworkMessage = cond.Status, text
		}
	}
	return h, nil
}

// CgroupDriver is the runtime's, or "" when it doesn't say.
func (c *Client) CgroupDriver(ctx context.Context) (string, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	r, err := c.Runtime.RuntimeConfig(ctx, &runtimeapi.RuntimeConfigRequest{})
	switch {
	case IsUnimplemented(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("ask the container runtime for its configuration: %w", err)
	case r.GetLinux().GetCgroupDriver() == runtimeapi.CgroupDriver_SYSTEMD:
		return "systemd", nil
	}
	return "cgroupfs", nil
}

// SetPodCIDR tells the runtime the node's range of pod addresses.
func (c *Client) SetPodCIDR(ctx context.Context, cidr string) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	_, err := c.Runtime.UpdateRuntimeConfig(ctx, &runtimeapi.UpdateRuntimeConfigRequest{
		RuntimeConfig: &runtimeapi.RuntimeConfig{NetworkConfig: &runtimeapi.NetworkConfig{PodCidr: cidr}},
	})
	return err
}

// LacksEvents reports whether the runtime has said that it has no events.
func (c *Client) LacksEvents() bool { return c.noEvents.Load() }

// NoEvents remembers it.
func (c *Client) NoEvents() { c.noEvents.Store(true) }
