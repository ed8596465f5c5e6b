package rpc

import (
	"context"
	"fmt"
	"runtime/debug"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// recovered turns a panic into an internal error: one bad request must not
// end the server for all. It is deferred with the place of the error.
func (s *Server) recovered(what string, err *error) {
	r := recover()
	if r == nil {
		return
	}
	s.Log.Error("panic while serving a call", zap.String("method", what), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
	*err = statusError(apierrors.NewInternalError(fmt.Errorf("%v", r)))
}

func (s *Server) recoverUnary(ctx context.Context, q any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (res any, err error) {
	defer s.recovered(info.FullMethod, &err)
	return handle(ctx, q)
}

func (s *Server) recoverStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	defer s.recovered(info.FullMethod, &err)
	return handle(srv, stream)
}
