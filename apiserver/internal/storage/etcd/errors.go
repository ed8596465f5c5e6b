package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// reconnect finds a restarted etcd within a second.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
	MinConnectTimeout: 3 * time.Second,
}

var errLeaseNotFound = errors.New("lease not found")

func readError(err error) error {
	switch e := rpctypes.Error(err); {
	case errors.Is(e, rpctypes.ErrCompacted):
		return &kv.Compacted{}
	case errors.Is(e, rpctypes.ErrFutureRev):
		return kv.ErrFuture
	}
	return fmt.Errorf("read from etcd: %w", err)
}

// writeError tells failures after which nothing is written from those that
// leave it open. Only what etcd answers before it proposes is certain.
func writeError(err error) error {
	e := rpctypes.Error(err)
	for _, c := range []struct{ etcd, ours error }{
		{rpctypes.ErrRequestTooLarge, kv.ErrTooLarge},
		{rpctypes.ErrTooManyOps, kv.ErrTooLarge},
		{rpctypes.ErrNoSpace, kv.ErrNoSpace},
		{rpctypes.ErrLeaseNotFound, errLeaseNotFound},
		{rpctypes.ErrTooManyRequests, kv.ErrUnavailable},
		{rpctypes.ErrNoLeader, kv.ErrUnavailable},
		{rpctypes.ErrPermissionDenied, kv.ErrUnavailable},
		{rpctypes.ErrDuplicateKey, kv.ErrUnavailable},
	} {
		if errors.Is(e, c.etcd) {
			return fmt.Errorf("%w: %w", c.ours, err)
		}
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	case codes.ResourceExhausted:
		// The message did not fit the transport's limit.
		return fmt.Errorf("%w: %w", kv.ErrTooLarge, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: no answer from etcd: %w", storage.ErrUnknown, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnknown, err)
}
