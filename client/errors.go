package client

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pb "xebec.dev/proto/gen/control/v1"
)

// ErrOutcomeUnknown is wrapped by errors of writes that may have happened:
// the connection broke, or time was up, before the answer came. Read the
// object again before repeating such a write.
var ErrOutcomeUnknown = errors.New("the outcome of the write is unknown")

// FromStatus is the error of a Kubernetes Status on the wire.
func FromStatus(s *pb.Status) error {
	st := metav1.Status{}
	if err := st.Unmarshal(s.GetRaw()); err != nil {
		return fmt.Errorf("decode the server's status: %w", err)
	}
	return &apierrors.StatusError{ErrStatus: st}
}

// FromError turns a gRPC error into the API error it carries. Errors of the
// transport, which carry none, stay what they are, and contexts' errors
// become those of package context.
func FromError(err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, d := range st.Details() {
		if s, ok := d.(*pb.Status); ok {
			return FromStatus(s)
		}
	}
	switch st.Code() {
	case codes.Canceled:
		return fmt.Errorf("%w: %s", context.Canceled, st.Message())
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %s", context.DeadlineExceeded, st.Message())
	}
	return err
}

// answered reports whether the error is the API server's answer rather than
// the want of one.
func answered(err error) bool {
	if carriesStatus(err) {
		return true
	}
	// Refusals of gRPC itself come before any work.
	switch status.Code(err) {
	case codes.Unimplemented, codes.InvalidArgument, codes.ResourceExhausted:
		return true
	}
	return false
}

func carriesStatus(err error) bool {
	st, ok := status.FromError(err)
	if !ok {
		return false
	}
	for _, d := range st.Details() {
		if _, ok := d.(*pb.Status); ok {
			return true
		}
	}
	return false
}

// writeError is FromError for writes: it says so when the write may have
// happened all the same.
func writeError(err error) error {
	if err == nil {
		return nil
	}
	out := FromError(err)
	if !answered(err) || apierrors.IsTimeout(out) {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, out)
	}
	return out
}

// IsUnavailable reports that the server could not be reached or is shutting
// down: the same call may well succeed later.
func IsUnavailable(err error) bool {
	return apierrors.IsServiceUnavailable(err) || status.Code(err) == codes.Unavailable
}

// timeoutUnknown marks the server's own doubt: a timeout is no refusal.
func timeoutUnknown(err error) error {
	if apierrors.IsTimeout(err) {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return err
}
