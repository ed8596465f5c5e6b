package etcd

import (
	"context"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"xebec.dev/apiserver/internal/storage/kv"
)

const (
	// leaseReuse is how long a lease takes further keys. Each lives up to
	// this much longer than asked.
	leaseReuse = 60 * time.Second
	// leaseKeys bounds the keys of one lease: etcd removes them all in one
	// revision.
	leaseKeys = 1000
)

// leases shares leases between keys that are to live equally long.
type leases struct {
	mu sync.Mutex
	// guarded by mu
	id    int64
	ttl   time.Duration
	until time.Time
	keys  int
}

// lease finds or grants a lease under which a key lives at least ttl.
func (s *Store) lease(ctx context.Context, ttl time.Duration) (int64, error) {
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.id != 0 && l.ttl == ttl && l.keys < leaseKeys && now.Before(l.until) {
		l.keys++
		return l.id, nil
	}
	// A short TTL must not be stretched by a whole minute.
	reuse := min(leaseReuse, max(time.Second, ttl/2))
	r, err := s.s.Lease.LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: int64((ttl + reuse + time.Second - 1) / time.Second)})
	if err != nil {
		return 0, fmt.Errorf("%w: grant a lease: %w", kv.ErrUnavailable, err)
	}
	l.id, l.ttl, l.keys, l.until = r.ID, ttl, 1, now.Add(reuse)
	return r.ID, nil
}

func (l *leases) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = 0
}

// Prolong implements kv.Prolonger. It is no proposal of etcd's: nothing is
// written, synced and told to watchers.
func (s *Store) Prolong(ctx context.Context, key string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.s.KV.Range(ctx, &pb.RangeRequest{Key: []byte(s.prefix + key), Serializable: true})
	if err != nil {
		return false, fmt.Errorf("%w: read %s: %w", kv.ErrUnavailable, key, err)
	}
	if len(r.Kvs) == 0 || r.Kvs[0].Lease == 0 {
		return false, nil
	}
	stream, err := s.s.Lease.LeaseKeepAlive(ctx)
	if err != nil {
		return false, fmt.Errorf("%w: prolong the lease of %s: %w", kv.ErrUnavailable, key, err)
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: r.Kvs[0].Lease}); err != nil {
		return false, fmt.Errorf("%w: prolong the lease of %s: %w", kv.ErrUnavailable, key, err)
	}
	answer, err := stream.Recv()
	if err != nil {
		return false, fmt.Errorf("%w: prolong the lease of %s: %w", kv.ErrUnavailable, key, err)
	}
	return answer.TTL > 0, nil // none is left of one that ran out
}
