package client

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	pb "xebec.dev/proto/gen/control/v1"
)

// busy is an API server that refuses every write for being busy, once it has
// let it wait.
type busy struct {
	pb.ObjectsClient
	takes   time.Duration
	refusal []byte
	sent    chan time.Time
	// breaks has it go away for an hour after each refusal.
	breaks  bool
	streams int
}

func (s *busy) Mutate(ctx context.Context, _ ...grpc.CallOption) (pb.Objects_MutateClient, error) {
	if s.streams++; s.breaks && s.streams > 1 {
		time.Sleep(time.Hour)
	}
	return &refusing{server: s, ctx: ctx, answers: make(chan *pb.MutateResponse, 16)}, nil
}

type refusing struct {
	grpc.ClientStream
	server  *busy
	ctx     context.Context
	answers chan *pb.MutateResponse
	refused bool
}

func (r *refusing) Send(q *pb.MutateRequest) error {
	r.server.sent <- time.Now()
	time.AfterFunc(r.server.takes, func() {
		r.answers <- &pb.MutateResponse{Id: q.Id, Result: &pb.MutateResponse_Failed{Failed: &pb.Status{Raw: r.server.refusal}}}
	})
	return nil
}

func (r *refusing) CloseSend() error { return nil }

func (r *refusing) Recv() (*pb.MutateResponse, error) {
	if r.server.breaks && r.refused {
		return nil, io.EOF
	}
	select {
	case a := <-r.answers:
		r.refused = true
		return a, nil
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
	}
}

// TestInsistEnds: nothing is sent later than insistFor after the first
// sending, however long a server takes to refuse or is away, and the refusal
// is the result.
func TestInsistEnds(t *testing.T) {
	refusal, err := apierrors.NewTooManyRequests("Too many requests, please try again later.", 1).ErrStatus.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		takes       time.Duration
		breaks      bool
		least, most int // tries
	}{{0, false, 6, 14}, {time.Second, false, 3, 4}, {15 * time.Second, false, 1, 1}, {0, true, 1, 1}} {
		synctest.Test(t, func(t *testing.T) {
			s := &busy{takes: tt.takes, breaks: tt.breaks, refusal: refusal, sent: make(chan time.Time, 64)}
			b := NewBatch(&Client{objects: s}, 1)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- b.Run(ctx) }()
			began, result := time.Now(), make(chan Result, 1)
			if err := b.Insist(ctx, &Write{}, func(r Result) { result <- r }); err != nil {
				t.Fatal(err)
			}
			if r := <-result; !apierrors.IsTooManyRequests(r.Err) {
				t.Errorf("%v a refusal: %v", tt.takes, r.Err)
			}
			cancel()
			<-ended
			close(s.sent)
			tries, last := 0, began
			for at := range s.sent {
				tries, last = tries+1, at
			}
			if tries < tt.least || tries > tt.most || last.Sub(began) > insistFor {
				t.Errorf("%v a refusal: %d tries, the last after %v", tt.takes, tries, last.Sub(began))
			}
		})
	}
}
