package watchcache_test

import (
	"context"
	"sync"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

var breaking sync.Mutex

func (b *breakable) Watch(ctx context.Context, opts ...grpc.CallOption) (pb.Watch_WatchClient, error) {
	breaking.Lock()
	defer breaking.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	b.cancels = append(b.cancels, cancel)
	return b.WatchClient.Watch(ctx, opts...)
}

func (b *breakable) breakAll() {
	breaking.Lock()
	defer breaking.Unlock()
	for _, cancel := range b.cancels {
		cancel()
	}
	b.cancels = nil
}
