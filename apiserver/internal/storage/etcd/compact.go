package etcd

import (
	"context"
	"fmt"
	"strconv"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.uber.org/zap"
)

// compactKey is shared with Kubernetes' API servers, outside every prefix.
// Its version is a clock that the servers of a cluster agree on; its value is
// the revision that the last interval ended with.
const compactKey = "compact_rev_key"

// Compact forgets history that is older than an interval, over and over. Of
// several servers, Kubernetes' among them, one does it in each interval: the
// one whose write moves the clock on. An interval of 0 leaves it to others.
func (s *Store) Compact(ctx context.Context, interval time.Duration) error {
	if interval <= 0 {
		<-ctx.Done()
		return nil
	}
	var clock, revision int64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(interval):
		}
		c, r, err := s.compact(ctx, clock, revision)
		if err != nil {
			s.log.Warn("compaction failed", zap.Error(err))
			continue
		}
		clock, revision = c, r
	}
}

// compact moves the clock on from the given time and compacts to the revision
// of one interval ago. If another server moved it, this returns the new time.
func (s *Store) compact(ctx context.Context, clock, revision int64) (int64, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	key := []byte(compactKey)
	r, err := s.s.KV.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Key: key, Target: pb.Compare_VERSION, Result: pb.Compare_EQUAL,
			TargetUnion: &pb.Compare_Version{Version: clock},
		}},
		Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: &pb.PutRequest{
			Key: key, Value: []byte(strconv.FormatInt(revision, 10)),
		}}}},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}},
	})
	if err != nil {
		return 0, 0, fmt.Errorf("write %s: %w", compactKey, err)
	}
	now := r.Header.Revision
	if !r.Succeeded {
		kvs := r.Responses[0].GetResponseRange().GetKvs()
		if len(kvs) == 0 {
			return 0, now, nil
		}
		return kvs[0].Version, now, nil
	}
	if revision == 0 {
		// The first interval: there is no revision of one interval ago yet.
		return clock + 1, now, nil
	}
	if _, err := s.s.KV.Compact(ctx, &pb.CompactionRequest{Revision: revision}); err != nil {
		return 0, 0, fmt.Errorf("compact to revision %d: %w", revision, err)
	}
	s.log.Debug("compacted", zap.Int64("revision", revision))
	return clock + 1, now, nil
}
