// Package rpc is the gRPC front door: the Objects service of xebec.dev/proto.
// Every call passes the pipeline that REST's requests pass.
package rpc

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/pipeline"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
	pb "xebec.dev/proto/gen/control/v1"
)

// Limits of one connection and message.
const (
	maxReceive = 3 << 20 // bytes, as REST's bodies
	maxStreams = 100
	maxHeaders = 1 << 20
	// window is what a client may send of a stream before it is read.
	window = 1 << 20
)

// Options are the server's surroundings.
type Options struct {
	Scheme   *scheme.Scheme
	Registry *registry.Registry
	Pipeline *pipeline.Pipeline
	// Served reports whether --runtime-config leaves a version on.
	Served func(gv schema.GroupVersion, resource string) bool
	// RequestTimeout bounds everything but streams.
	RequestTimeout time.Duration
	// Draining is closed when the server begins to shut down.
	Draining <-chan struct{}
	Log      *zap.Logger
}

// Server implements pb.ObjectsServer.
type Server struct {
	pb.UnimplementedObjectsServer
	Options
	grpc   *grpc.Server
	health *health.Server
}

// New makes a server for connections whose TLS handshake is already done.
func New(o Options) *Server {
	s := &Server{Options: o, health: health.NewServer()}
	s.grpc = grpc.NewServer(
		grpc.Creds(handshaken{}),
		grpc.MaxRecvMsgSize(maxReceive),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaders),
		// Windows of a fixed size also end the pings that measure a connection
		// with each message, which wake an idle component.
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(2*window),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.ForceServerCodecV2(codec{}),
		grpc.UnaryInterceptor(s.recoverUnary),
		grpc.StreamInterceptor(s.recoverStream),
	)
	pb.RegisterObjectsServer(s.grpc, s)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return s
}

// Serve takes connections from l until Stop.
func (s *Server) Serve(l net.Listener) error { return s.grpc.Serve(l) }

// Handler serves gRPC over an ordinary HTTP/2 server, for clients that do not
// ask for our protocol in their handshake.
func (s *Server) Handler() *grpc.Server { return s.grpc }

// drainTime is how long calls in flight may take. Streams end by themselves,
// but one whose client does not read can't.
const drainTime = 10 * time.Second

// Drain tells clients to go elsewhere and waits for calls in flight.
func (s *Server) Drain() {
	s.health.Shutdown()
	late := time.AfterFunc(drainTime, s.grpc.Stop)
	defer late.Stop()
	s.grpc.GracefulStop()
}

// Stop ends everything.
func (s *Server) Stop() { s.grpc.Stop() }

// handshaken are credentials for connections that come out of a TLS listener.
type handshaken struct{}

func (handshaken) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, credentials.ErrConnDispatched
}

func (handshaken) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	info := credentials.TLSInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}
	if t, ok := c.(tlsConn); ok {
		info.State = t.ConnectionState()
	}
	return c, info, nil
}

func (handshaken) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}
func (h handshaken) Clone() credentials.TransportCredentials { return h }
func (handshaken) OverrideServerName(string) error           { return nil }

// begin takes a call through the pipeline. The returned context carries the
// request; done gives its place back.
func (s *Server) begin(ctx context.Context, info request.Info) (context.Context, func(error), error) {
	md, _ := metadata.FromIncomingContext(ctx)
	req := &request.Request{Info: info, Received: time.Now(), AuditID: uuid.NewString()}
	if ua := md.Get("user-agent"); len(ua) > 0 {
		req.UserAgent = ua[0]
	}
	ctx = request.With(ctx, req)
	ctx, done, err := s.Pipeline.Begin(ctx, req, credentialsOf(ctx, md))
	if err != nil {
		return ctx, nil, statusError(err)
	}
	return ctx, func(err error) { done(httpCode(err)) }, nil
}

func credentialsOf(ctx context.Context, md metadata.MD) *request.Credentials {
	c := &request.Credentials{
		Header: func(name string) []string { return md.Get(name) },
		Headers: func(prefix string) []string {
			var names []string
			for name := range md {
				if len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
					names = append(names, name)
				}
			}
			return names
		},
	}
	if p, ok := peer.FromContext(ctx); ok {
		c.Remote = p.Addr
		if t, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			c.Certificates = t.State.PeerCertificates
		}
	}
	return c
}

// target finds what a key names.
func (s *Server) target(k *pb.Key) (registry.Target, error) {
	t, err := s.resource(k.GetResource())
	if err != nil {
		return t, err
	}
	t.Namespace, t.Name, t.Subresource = k.GetNamespace(), k.GetName(), k.GetSubresource()
	if err := checkPath(&t); err != nil {
		return t, err
	}
	if t.Subresource != "" && t.Served.Subresource(t.Subresource) == nil {
		return t, apierrors.NewNotFound(t.GroupResource(), t.Name)
	}
	return t, nil
}

func (s *Server) resource(r *pb.Resource) (registry.Target, error) {
	gvr := schema.GroupVersionResource{Group: r.GetGroup(), Version: r.GetVersion(), Resource: r.GetResource()}
	served, ok := s.Scheme.At(gvr)
	if !ok || !s.Served(gvr.GroupVersion(), gvr.Resource) {
		return registry.Target{}, apierrors.NewNotFound(schema.GroupResource{Group: gvr.Group, Resource: gvr.Resource}, "")
	}
	if served.At.Group != served.Group || served.At.Version != served.Version {
		return registry.Target{}, apierrors.NewBadRequest("gRPC carries objects in their storage version: ask for " + served.Group + "/" + served.Version)
	}
	return registry.Target{Served: served}, nil
}

// checkPath refuses namespaces and names that would be other keys.
func checkPath(t *registry.Target) error {
	for _, part := range []string{t.Namespace, t.Name} {
		if part == "." || part == ".." || strings.ContainsAny(part, "/%") {
			return apierrors.NewBadRequest("invalid name or namespace: may not be '.' or '..' and may not contain '/' or '%'")
		}
	}
	if !t.Namespaced && t.Namespace != "" {
		return apierrors.NewBadRequest("namespace must not be provided on cluster-scoped objects")
	}
	return nil
}

// checkVerb refuses what has no twin in REST: a call without the name or
// namespace that its path would have, and verbs that a subresource does not
// have, which would otherwise act on the object itself with the rights to the
// subresource.
func checkVerb(t *registry.Target, verb string) error {
	switch {
	case t.Namespaced && t.Namespace == "" && verb == "create":
		return apierrors.NewBadRequest("an empty namespace may not be set during creation")
	case t.Namespaced && t.Namespace == "":
		return apierrors.NewBadRequest("an empty namespace may not be set when a resource name is provided")
	case t.Name == "" && (verb != "create" || t.Subresource != ""):
		return apierrors.NewBadRequest("resource name may not be empty")
	case t.Subresource == "" || t.Subresource == "scale" && verb != "create" && verb != "delete":
		return nil
	}
	allowed := false
	switch verb {
	case "create":
		allowed = registry.BodyKind(t.Subresource) != nil
	case "get", "update", "patch":
		allowed = t.Served.Subresource(t.Subresource).Update != nil
	}
	if !allowed {
		return apierrors.NewMethodNotSupported(t.GroupResource(), verb)
	}
	return nil
}

// info is what authorization is asked about.
func info(t *registry.Target, verb string) request.Info {
	i := request.Info{
		IsResource: true, Verb: verb, Prefix: "apis", Group: t.At.Group, Version: t.At.Version,
		Namespace: t.Namespace, Resource: t.Plural, Subresource: t.Subresource, Name: t.Name,
	}
	if t.At.Group == "" {
		i.Prefix = "api"
	}
	if verb == "create" && t.Subresource == "" {
		i.Name = "" // a new object has no name yet: rules by name don't hold
	}
	return i
}

func (s *Server) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.RequestTimeout)
}
