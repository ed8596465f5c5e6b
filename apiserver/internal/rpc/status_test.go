package rpc

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	pb "xebec.dev/proto/gen/control/v1"
)

// said keeps what a stream was sent.
type said struct {
	pb.Objects_WatchServer
	last *pb.WatchResponse
}

func (s *said) SendMsg(m any) error {
	s.last = m.(*pb.WatchResponse)
	return nil
}

func (s *said) Send(m *pb.WatchResponse) error { return s.SendMsg(m) }

// TestEndOfASubscription: why it ended is what was said of it, also where that
// is the error of a whole call by then.
func TestEndOfASubscription(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for _, err := range []error{
		apierrors.NewServiceUnavailable("the API server is starting"), apierrors.NewForbidden(pods, "", nil),
		apierrors.NewBadRequest("no"), apierrors.NewResourceExpired("too old"),
	} {
		for _, given := range []error{err, statusError(err)} {
			s := &said{}
			(&watchStream{stream: s}).ended(7, given)
			var got metav1.Status
			if uerr := got.Unmarshal(s.last.GetEnded().GetRaw()); uerr != nil {
				t.Fatal(uerr)
			}
			if want := err.(apierrors.APIStatus).Status(); s.last.Id != 7 || got.Code != want.Code || got.Reason != want.Reason || got.Message != want.Message {
				t.Errorf("%v: subscription %d ended with %d %s: %s", given, s.last.Id, got.Code, got.Reason, got.Message)
			}
		}
	}
}
