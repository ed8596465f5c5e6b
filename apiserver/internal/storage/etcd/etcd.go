// Package etcd is the kv.Store over an etcd cluster: the only edge to etcd.
//
// It speaks etcd's gRPC services directly. The client library's own watcher
// resumes by itself, which would hide that a cluster was restored from a
// backup; and its transactions allocate for every operation.
package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/kv"
)

// Config says how to reach etcd. Zero fields take the defaults given.
type Config struct {
	Endpoints []string
	// Prefix of all keys: /registry.
	Prefix string
	// CertFile, KeyFile and CAFile secure the connection when any is set.
	CertFile, KeyFile, CAFile string
	// RequestTimeout bounds each request: 10 s. etcd itself gives up on a
	// proposal after about 7 s, and not at all on a stuck disk.
	RequestTimeout time.Duration
	// DialTimeout is for one attempt to connect: 20 s. KeepaliveTime and
	// KeepaliveTimeout find dead connections: 10 s and 3 s. The latter is also
	// how long the kernel waits for an acknowledgement, so that requests move
	// on from a member that was cut off.
	DialTimeout, KeepaliveTime, KeepaliveTimeout time.Duration
	Log                                          *zap.Logger
}

// Services are the parts of etcd's API in use, over a connection or in process.
type Services struct {
	KV    pb.KVClient
	Watch pb.WatchClient
	Lease pb.LeaseClient
	// LocalRevision, when set, reads the newest revision without a request.
	// Only right where it is linearizable: in the process of a cluster's
	// single member.
	LocalRevision func() int64
}

// Store is a kv.Store in etcd.
type Store struct {
	s       Services
	prefix  string
	timeout time.Duration
	log     *zap.Logger
	leases  leases
	keeper  keeper
	// lines are nil where etcd is in this process.
	lines *lines
	// odd makes the next feed go the client library's way.
	odd atomic.Bool
	// pagesOnly is set when etcd turned out not to stream ranges.
	pagesOnly atomic.Bool
	close     func() error
}

// New connects lazily: it does not wait for etcd to be there.
func New(c Config) (*Store, error) {
	log := c.Log
	if log == nil {
		log = zap.NewNop()
	}
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            c.Endpoints,
		TLS:                  tlsConfig,
		DialTimeout:          or(c.DialTimeout, 20*time.Second),
		DialKeepAliveTime:    or(c.KeepaliveTime, 10*time.Second),
		DialKeepAliveTimeout: or(c.KeepaliveTimeout, 3*time.Second),
		PermitWithoutStream:  true,
		// The default backoff after a lost connection grows to two minutes,
		// far longer than etcd takes to restart.
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(reconnect),
			// A page or a batch of events may be larger than gRPC's 4 MB.
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
		},
		Logger: log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel)),
	})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd %s: %w", strings.Join(c.Endpoints, ","), err)
	}
	conn := client.ActiveConnection()
	short := newLines(c, tlsConfig, log)
	s := Over(Services{
		KV:    shortCalls{clientv3.RetryKVClient(client), short},
		Watch: pb.NewWatchClient(conn),
		Lease: pb.NewLeaseClient(conn),
	}, c)
	s.lines = short
	s.close = func() error {
		short.close()
		return client.Close()
	}
	return s, nil
}

// Over is a Store over given services.
func Over(s Services, c Config) *Store {
	log := c.Log
	if log == nil {
		log = zap.NewNop()
	}
	prefix := c.Prefix
	if prefix == "" {
		prefix = "/registry"
	}
	return &Store{
		s:       s,
		prefix:  "/" + strings.Trim(prefix, "/") + "/",
		timeout: or(c.RequestTimeout, 10*time.Second),
		log:     log,
		close:   func() error { return nil },
	}
}

// Close ends the connection.
func (s *Store) Close() error {
	s.keeper.mu.Lock()
	s.keeper.close()
	s.keeper.mu.Unlock()
	return s.close()
}

// Prefix is the full prefix of all keys, ending in a slash.
func (s *Store) Prefix() string { return s.prefix }

func (c *Config) tls() (*tls.Config, error) {
	if c.CertFile == "" && c.KeyFile == "" && c.CAFile == "" {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the CA of etcd: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", c.CAFile)
		}
	}
	if c.CertFile != "" || c.KeyFile != "" {
		if _, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
			return nil, fmt.Errorf("read the client certificate for etcd: %w", err)
		}
		// Read again at each handshake, so that a rotated certificate is used.
		t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &cert, err
		}
	}
	return t, nil
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// Get reads one key.
func (s *Store) Get(ctx context.Context, key string, revision int64) (*kv.Entry, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.s.KV.Range(ctx, &pb.RangeRequest{Key: []byte(s.prefix + key), Revision: revision})
	if err != nil {
		return nil, 0, readError(err)
	}
	if len(r.Kvs) == 0 {
		return nil, r.Header.Revision, nil
	}
	e := s.entry(r.Kvs[0])
	return &e, r.Header.Revision, nil
}

// Range reads keys in order.
func (s *Store) Range(ctx context.Context, q kv.Range) (*kv.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	request := s.rangeRequest(q)
	page := new(kv.Page)
	done, err := s.lines.read(ctx, "/etcdserverpb.KV/Range", request, func(b []byte) error { return s.openPage(b, page) })
	switch {
	case err != nil:
		return nil, readError(err)
	case done:
		return page, nil
	}
	r, err := s.s.KV.Range(ctx, request)
	if err != nil {
		return nil, readError(err)
	}
	page = &kv.Page{Revision: r.Header.Revision, More: r.More, Count: r.Count}
	if len(r.Kvs) > 0 {
		page.Entries = make([]kv.Entry, len(r.Kvs))
		for i, e := range r.Kvs {
			page.Entries[i] = s.entry(e)
		}
	}
	return page, nil
}

func (s *Store) entry(e *mvccpb.KeyValue) kv.Entry {
	return kv.Entry{Key: string(e.Key[len(s.prefix):]), Value: e.Value, Revision: e.ModRevision}
}

// LocalRevision is the newest revision if etcd is in this process.
func (s *Store) LocalRevision() (int64, bool) {
	if s.s.LocalRevision == nil {
		return 0, false
	}
	return s.s.LocalRevision(), true
}

// Revision is etcd's, linearizable: an empty range read.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if r, ok := s.LocalRevision(); ok {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	request := &pb.RangeRequest{Key: []byte(s.prefix), CountOnly: true}
	var page kv.Page
	done, err := s.lines.read(ctx, "/etcdserverpb.KV/Range", request, func(b []byte) error { return s.openPage(b, &page) })
	switch {
	case err != nil:
		return 0, readError(err)
	case done:
		return page.Revision, nil
	}
	r, err := s.s.KV.Range(ctx, request)
	if err != nil {
		return 0, readError(err)
	}
	return r.Header.Revision, nil
}

// Apply does independent writes in one transaction.
func (s *Store) Apply(ctx context.Context, writes []kv.Write) (int64, []kv.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		rev, results, err := s.apply(ctx, writes)
		// A lease that was reused may have run out in the meantime.
		if attempt == 0 && errors.Is(err, errLeaseNotFound) {
			s.leases.forget()
			continue
		}
		if errors.Is(err, kv.ErrNoSpace) && !s.untouched(ctx, writes) {
			return 0, nil, fmt.Errorf("%w: %w", storage.ErrUnknown, err)
		}
		return rev, results, err
	}
}

// untouched tells that none of the writes was done: etcd refuses for want of
// space before it does anything, but the one write that finds no space in the
// middle of being done it does, and says the same.
func (s *Store) untouched(ctx context.Context, writes []kv.Write) bool {
	for i := range writes {
		w := &writes[i]
		if w.Delete {
			continue
		}
		e, _, err := s.Get(ctx, w.Key, 0)
		switch {
		case err != nil:
			return false
		case e == nil && w.Compare != 0, e != nil && e.Revision != w.Compare:
			return false
		}
	}
	return true
}

func (s *Store) apply(ctx context.Context, writes []kv.Write) (int64, []kv.Result, error) {
	txns := make([]*pb.TxnRequest, len(writes))
	creates := true
	for i := range writes {
		t, err := s.txn(ctx, &writes[i])
		if err != nil {
			return 0, nil, err
		}
		txns[i] = t
		creates = creates && writes[i].Compare == 0
	}
	results := make([]kv.Result, len(writes))
	if len(txns) == 1 {
		if creates {
			// Kubernetes' servers create without an alternative, and so it is
			// all that some stand-ins for etcd understand.
			txns[0].Failure = nil
		}
		r, err := s.s.KV.Txn(ctx, txns[0])
		if err != nil {
			return 0, nil, writeError(err)
		}
		results[0], err = s.standing(ctx, &writes[0], r)
		return r.Header.Revision, results, err
	}
	if creates {
		// As good as always none of the objects is there: all or none is much
		// less work for etcd than each by itself.
		r, err := s.s.KV.Txn(ctx, flat(txns))
		if err != nil {
			return 0, nil, writeError(err)
		}
		if r.Succeeded {
			for i := range results {
				results[i].Done = true
			}
			return r.Header.Revision, results, nil
		}
	}
	request := &pb.TxnRequest{Success: make([]*pb.RequestOp, len(txns))}
	for i, t := range txns {
		request.Success[i] = &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: t}}
	}
	r, err := s.s.KV.Txn(ctx, request)
	if err != nil {
		return 0, nil, writeError(err)
	}
	for i := range results {
		results[i] = s.result(r.Responses[i].GetResponseTxn())
	}
	return r.Header.Revision, results, nil
}

// flat is one transaction that does all of several or none.
func flat(txns []*pb.TxnRequest) *pb.TxnRequest {
	all := &pb.TxnRequest{Compare: make([]*pb.Compare, 0, len(txns)), Success: make([]*pb.RequestOp, 0, len(txns))}
	for _, t := range txns {
		all.Compare = append(all.Compare, t.Compare...)
		all.Success = append(all.Success, t.Success...)
	}
	return all
}

// txn is the compare-and-swap of one write, with a read of the key where the
// comparison fails.
func (s *Store) txn(ctx context.Context, w *kv.Write) (*pb.TxnRequest, error) {
	key := []byte(s.prefix + w.Key)
	t := &pb.TxnRequest{}
	if w.Delete {
		t.Success = []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: &pb.DeleteRangeRequest{Key: key}}}}
	} else {
		put := &pb.PutRequest{Key: key, Value: w.Value}
		if w.TTL > 0 {
			lease, err := s.lease(ctx, w.TTL)
			if err != nil {
				return nil, err
			}
			put.Lease = lease
		}
		t.Success = []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: put}}}
	}
	if w.Compare != kv.Anything {
		t.Compare = []*pb.Compare{{
			Key: key, Target: pb.Compare_MOD, Result: pb.Compare_EQUAL,
			TargetUnion: &pb.Compare_ModRevision{ModRevision: w.Compare},
		}}
		t.Failure = []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: key}}}}
	}
	return t, nil
}

// standing is the result of a single write, with what stood in its way.
func (s *Store) standing(ctx context.Context, w *kv.Write, r *pb.TxnResponse) (kv.Result, error) {
	if r.Succeeded || len(r.Responses) > 0 {
		return s.result(r), nil
	}
	e, _, err := s.Get(ctx, w.Key, r.Header.Revision)
	if err != nil {
		return kv.Result{}, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	return kv.Result{Current: e}, nil
}

func (s *Store) result(r *pb.TxnResponse) kv.Result {
	if r.Succeeded {
		return kv.Result{Done: true}
	}
	kvs := r.Responses[0].GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		return kv.Result{}
	}
	e := s.entry(kvs[0])
	return kv.Result{Current: &e}
}

// Services are what the store calls.
func (s *Store) Services() Services { return s.s }
