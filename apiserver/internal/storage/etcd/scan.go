package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"xebec.dev/apiserver/internal/storage/kv"
)

// scanBuffer takes a few of etcd's frames, which are of 16 KB, with one call
// of the system. scanSpare is room for a piece, which etcd makes of 1 to 3 MB.
const (
	scanBuffer = 64 << 10
	scanSpare  = 8 << 20
)

var errNoScan = errors.New("etcd does not stream ranges here")

// Scan reads a range by etcd's RangeStream, which etcd has since 3.7: it reads
// the next piece while we take this one, and counts nothing. With pages, each
// side waits for the other.
func (s *Store) Scan(ctx context.Context, q kv.Range, each func(*kv.Page)) error {
	if s.lines == nil || len(s.lines.endpoints) == 0 || s.pagesOnly.Load() {
		return errNoScan
	}
	l, err := s.lines.connect(ctx, s.lines.next())
	if err != nil {
		s.lines.another()
		return err
	}
	defer l.close()
	defer context.AfterFunc(ctx, l.close)()
	stream := openStream(l, "/etcdserverpb.KV/RangeStream", scanBuffer, scanSpare)
	if err := l.conn.SetDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	request := s.rangeRequest(q)
	request.Limit = 0
	if err := stream.send(request, true); err != nil {
		return err
	}
	for {
		m, err := stream.message()
		switch {
		case err == io.EOF:
			return nil
		case status.Code(err) == codes.Unimplemented:
			s.pagesOnly.Store(true)
			return errNoScan
		case err != nil:
			return readError(err)
		}
		page := new(kv.Page)
		if err := fields(m, func(tag uint64, raw []byte, _ uint64) error {
			if tag == 1<<3|asBytes {
				return s.openPage(raw, page)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("read from etcd: %w", err)
		}
		each(page)
		// Each piece has the time of a request.
		if err := l.conn.SetDeadline(time.Now().Add(s.timeout)); err != nil {
			return err
		}
	}
}

func (s *Store) rangeRequest(q kv.Range) *pb.RangeRequest {
	from := q.From
	if from == "" {
		from = q.Prefix
	}
	return &pb.RangeRequest{
		Key:       []byte(s.prefix + from),
		RangeEnd:  []byte(clientv3.GetPrefixRangeEnd(s.prefix + q.Prefix)),
		Limit:     q.Limit,
		Revision:  q.Revision,
		CountOnly: q.CountOnly,
	}
}
