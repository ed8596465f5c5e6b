// Package embedded runs a single-member etcd inside the process. It listens
// on a socket in its data directory only, for etcdctl; the process itself
// calls it directly, without a connection.
package embedded

import (
	"context"
	"encoding/json"
	"expvar"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy/adapter"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"

	"xebec.dev/apiserver/internal/storage/etcd"
)

// Server is a running etcd.
type Server struct {
	etcd *embed.Etcd
	// Endpoint is for other processes: unix:///…/etcd.sock, or an address of
	// the loopback interface when the directory's name is too long for a
	// socket.
	Endpoint string

	stop       context.CancelFunc
	background sync.WaitGroup
}

// Options for Start; the zero value is for production.
type Options struct {
	// NoSync does not wait for the disk: for tests.
	NoSync bool
	// Quota in bytes; 0 is 8 GiB, as far as etcd recommends.
	Quota int64
	Log   *zap.Logger
}

func (o *Options) log() *zap.Logger {
	if o.Log == nil {
		return zap.NewNop()
	}
	return o.Log
}

// Start runs etcd on a directory and returns once it takes requests.
func Start(dir string, o Options) (*Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory of etcd: %w", err)
	}
	endpoint, err := address(dir)
	if err != nil {
		return nil, err
	}
	c := config(dir, endpoint, o)
	starting.Lock()
	defer starting.Unlock()
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", dir, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go elect(ctx, e.Server)
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		e.Close()
		return nil, fmt.Errorf("start etcd in %s: %w", dir, err)
	case <-time.After(60 * time.Second):
		e.Close()
		return nil, fmt.Errorf("start etcd in %s: not ready after a minute", dir)
	}
	s := &Server{etcd: e, Endpoint: endpoint.String()}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.background.Go(func() { s.trimLoop(background, o.log()) })
	return s, nil
}

// starting is held from a server's start until it is the leader: etcd
// publishes the raft status of the last one that was started.
var starting sync.Mutex

// elect makes the only member the leader at once, instead of after an election
// timeout: it gets the message by which a leader hands over to another.
//
// That must wait until raft knows that everything committed is applied.
// Before, raft would look through those entries for changes of membership,
// while etcd, which is ahead of it, may have dropped them from memory; raft
// panics then.
func elect(ctx context.Context, s *etcdserver.EtcdServer) {
	id := uint64(s.MemberID())
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Leader() == 0 {
		if caughtUp(fmt.Sprintf("%x", id)) {
			s.Process(ctx, &raftpb.Message{Type: raftpb.MsgTimeoutNow.Enum(), To: &id, From: &id})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// caughtUp reports whether raft has applied all that is committed. As long as
// there is no leader nothing more can be committed.
func caughtUp(id string) bool {
	published := expvar.Get("raft.status")
	if published == nil {
		return false
	}
	var status struct {
		ID      string `json:"id"`
		Commit  uint64 `json:"commit"`
		Applied uint64 `json:"applied"`
	}
	err := json.Unmarshal([]byte(published.String()), &status)
	return err == nil && status.ID == id && status.Commit > 0 && status.Applied == status.Commit
}

// address picks where to listen.
func address(dir string) (*url.URL, error) {
	abs, err := filepath.Abs(filepath.Join(dir, "etcd.sock"))
	if err != nil {
		return nil, err
	}
	// The kernel takes 107 bytes.
	if len(abs) < 107 {
		os.Remove(abs) // left by a process that was killed
		return &url.URL{Scheme: "unix", Path: abs}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}, nil
}

func config(dir string, endpoint *url.URL, o Options) *embed.Config {
	c := embed.NewConfig()
	c.Dir = dir
	c.ListenClientUrls = []url.URL{*endpoint}
	c.AdvertiseClientUrls = c.ListenClientUrls
	// A single member has no peers. The address is only a name in its
	// membership and must stay the same over restarts.
	c.ListenPeerUrls = nil
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(o.log().WithOptions(zap.IncreaseLevel(zap.WarnLevel)))
	c.EnableGRPCGateway = false
	// No peer will ever need to catch up from the log in memory.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 1000, 10
	c.QuotaBackendBytes = o.Quota
	if o.Quota == 0 {
		c.QuotaBackendBytes = 8 << 30
	}
	c.UnsafeNoFsync = o.NoSync
	c.WarningApplyDuration = time.Second
	c.WarningUnaryRequestDuration = time.Second
	return c
}

// Services calls the server within the process.
func (s *Server) Services() etcd.Services {
	server := s.etcd.Server
	return etcd.Services{
		KV:    adapter.KvServerToKvClient(v3rpc.NewQuotaKVServer(server)),
		Watch: adapter.WatchServerToWatchClient(v3rpc.NewWatchServer(server)),
		Lease: adapter.LeaseServerToLeaseClient(v3rpc.NewQuotaLeaseServer(server)),
		// What was answered has been applied, and there is no other member.
		LocalRevision: server.KV().Rev,
	}
}

// Err tells when the server stopped by itself.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close stops the server and closes its files.
func (s *Server) Close() {
	s.stop()
	s.background.Wait()
	s.etcd.Close()
}
