package rpc

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pb "xebec.dev/proto/gen/control/v1"
)

// grpcCodes are gRPC's words for HTTP codes.
var grpcCodes = map[int32]codes.Code{
	http.StatusBadRequest:            codes.InvalidArgument,
	http.StatusUnauthorized:          codes.Unauthenticated,
	http.StatusForbidden:             codes.PermissionDenied,
	http.StatusNotFound:              codes.NotFound,
	http.StatusMethodNotAllowed:      codes.Unimplemented,
	http.StatusConflict:              codes.Aborted,
	http.StatusGone:                  codes.OutOfRange,
	http.StatusRequestEntityTooLarge: codes.ResourceExhausted,
	http.StatusUnprocessableEntity:   codes.InvalidArgument,
	http.StatusTooManyRequests:       codes.ResourceExhausted,
	http.StatusServiceUnavailable:    codes.Unavailable,
	http.StatusGatewayTimeout:        codes.DeadlineExceeded,
}

// apiStatus is the Kubernetes Status of an error.
func apiStatus(err error) metav1.Status {
	var s apierrors.APIStatus
	if errors.As(err, &s) {
		return s.Status()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return apierrors.NewTimeoutError(err.Error(), 0).Status()
	}
	return apierrors.NewInternalError(err).Status()
}

func packStatus(err error) *pb.Status {
	s := apiStatus(err)
	raw, marshalErr := s.Marshal()
	if marshalErr != nil {
		return &pb.Status{}
	}
	return &pb.Status{Raw: raw}
}

// statusError is the gRPC error with the Kubernetes Status as its detail.
func statusError(err error) error {
	if err == nil {
		return nil
	}
	if carried(err) != nil {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return status.FromContextError(err).Err()
	}
	s := apiStatus(err)
	code, ok := grpcCodes[s.Code]
	if !ok {
		code = codes.Internal
	}
	if apierrors.IsAlreadyExists(err) {
		code = codes.AlreadyExists
	}
	st := status.New(code, s.Message)
	if with, err := st.WithDetails(packStatus(err)); err == nil {
		st = with
	}
	return st.Err()
}

// httpCode is for metrics and audit.
func httpCode(err error) int {
	if err == nil {
		return http.StatusOK
	}
	if errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		return statusClientClosed
	}
	st := metav1.Status{}
	if carried := carried(err); carried != nil && st.Unmarshal(carried.Raw) == nil {
		return int(st.Code)
	}
	st = apiStatus(err)
	return int(st.Code)
}

// statusClientClosed is for calls that the client gave up.
const statusClientClosed = 499

var errNoProtobuf = errors.New("the answer has no protobuf form")

// carried is the Kubernetes Status within a gRPC error of ours; nil in others,
// those of an etcd client among them.
func carried(err error) *pb.Status {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, d := range st.Details() {
		if s, ok := d.(*pb.Status); ok {
			return s
		}
	}
	return nil
}

// unpackStatus is the Kubernetes Status of any error.
func unpackStatus(err error) *pb.Status {
	if s := carried(err); s != nil {
		return s
	}
	return packStatus(err)
}
