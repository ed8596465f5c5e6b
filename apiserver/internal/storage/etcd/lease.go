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

// keeper prolongs leases over one call that stays open. What it knows of the
// key prolonged last saves asking each time under which lease it is.
type keeper struct {
	mu sync.Mutex // held while an answer is waited for
	// guarded by mu
	key      string
	revision int64
	lease    int64
	stream   pb.Lease_LeaseKeepAliveClient
	hangUp   context.CancelFunc
}

// Prolong implements kv.Prolonger. It is no proposal of etcd's: nothing is
// written, synced and told to watchers.
func (s *Store) Prolong(ctx context.Context, key string, revision int64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	k := &s.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key != key || k.revision != revision {
		r, err := s.s.KV.Range(ctx, &pb.RangeRequest{Key: []byte(s.prefix + key), Serializable: true})
		if err != nil {
			return false, fmt.Errorf("%w: read %s: %w", kv.ErrUnavailable, key, err)
		}
		if len(r.Kvs) == 0 || r.Kvs[0].Lease == 0 || r.Kvs[0].ModRevision != revision {
			return false, nil
		}
		k.key, k.revision, k.lease = key, revision, r.Kvs[0].Lease
	}
	ttl, err := k.prolong(ctx, s.s.Lease)
	if err != nil {
		return false, fmt.Errorf("%w: prolong the lease of %s: %w", kv.ErrUnavailable, key, err)
	}
	return ttl > 0, nil // none is left of one that ran out
}

// prolong needs mu.
func (k *keeper) prolong(ctx context.Context, service pb.LeaseClient) (ttl int64, err error) {
	if k.stream == nil {
		open, hangUp := context.WithCancel(context.WithoutCancel(ctx))
		stream, err := service.LeaseKeepAlive(open)
		if err != nil {
			hangUp()
			return 0, err
		}
		k.stream, k.hangUp = stream, hangUp
	}
	stop := context.AfterFunc(ctx, k.hangUp)
	err = k.stream.Send(&pb.LeaseKeepAliveRequest{ID: k.lease})
	var answer *pb.LeaseKeepAliveResponse
	if err == nil {
		answer, err = k.stream.Recv()
	}
	if !stop() || err != nil {
		k.close()
	}
	if err != nil {
		return 0, err
	}
	return answer.TTL, nil
}

// close needs mu.
func (k *keeper) close() {
	if k.stream != nil {
		k.hangUp()
		k.stream = nil
	}
}
