package main

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pb "xebec.dev/proto/gen/control/v1"
)

// Xebec's own protocol, by the same client of frames: requests are made once
// and messages of answers are counted, so that gRPC's Go library is on the
// server's side only.

const service = "/xebec.control.v1.Objects/"

var podResource = &pb.Resource{Version: "v1", Resource: "pods"}

// overGRPC is the user as one who asks for gRPC's own transport.
func (b *bench) overGRPC() *tls.Config {
	c := b.user.Clone()
	c.NextProtos = []string{"xebec-grpc"}
	return c
}

func marshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

// unary is a call whose answer is thrown away.
func unary(c *conn, method string, body []byte) (int64, error) {
	s, err := c.do(request{method: "POST", path: service + method, header: grpcHeader, body: message(body)})
	if err != nil {
		return 0, err
	}
	if s.grpc != "0" {
		return 0, fmt.Errorf("%s: HTTP %d, gRPC status %q", method, s.status, s.grpc)
	}
	return s.bytes, nil
}

func podKey(name string) *pb.Key {
	return &pb.Key{Resource: podResource, Namespace: namespace, Name: name}
}

func getOverGRPC(name string) func(c *conn, n int) (int64, error) {
	body := marshal(&pb.GetRequest{Key: podKey(name)})
	return func(c *conn, _ int) (int64, error) { return unary(c, "Get", body) }
}

func listOverGRPC() func(c *conn, n int) (int64, error) {
	body := marshal(&pb.ListRequest{Resource: podResource, Selection: &pb.Selection{Namespace: namespace}})
	return func(c *conn, _ int) (int64, error) { return unary(c, "List", body) }
}

// creation is the CreateRequest of a pod, as a template.
func creation(omitObject bool) template {
	raw, err := newPod().Marshal()
	if err != nil {
		panic(err)
	}
	return marshal(&pb.CreateRequest{Key: podKey("pod-" + placeholder), Object: &pb.Object{Raw: raw}, OmitObject: omitObject})
}

func createOverGRPC() func(c *conn, n int) (int64, error) {
	pods := creation(false)
	return func(c *conn, n int) (int64, error) { return unary(c, "Create", pods.pod('c', n)) }
}

// messages puts the messages of a gRPC stream together.
type messages struct {
	buf  []byte
	each func(message []byte)
}

func (m *messages) take(b []byte) {
	m.buf = append(m.buf, b...)
	rest := m.buf
	for len(rest) >= 5 {
		end := 5 + int(binary.BigEndian.Uint32(rest[1:]))
		if len(rest) < end {
			break
		}
		m.each(rest[5:end])
		rest = rest[end:]
	}
	m.buf = append(m.buf[:0], rest...)
}

// fields calls f with each field of a message; v is the value of a varint.
func fields(b []byte, f func(num protowire.Number, v uint64)) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return protowire.ParseError(n)
		}
		var v uint64
		if typ == protowire.VarintType {
			v, _ = protowire.ConsumeVarint(b)
		}
		f(num, v)
		b = b[n:]
	}
	return nil
}

// mutate creates pods over one stream for d, with at most so many under way.
func mutate(server *process, config *tls.Config, inFlight int, d time.Duration) (*result, error) {
	c, err := dial(server.address(), config)
	if err != nil {
		return nil, err
	}
	defer c.close()
	type answer struct {
		at time.Time
		id int
	}
	pods := creation(true)
	answers, problems := make(chan answer, inFlight), make(chan error, 1)
	in := messages{each: func(m []byte) {
		a := answer{at: time.Now()}
		failed := false
		if err := fields(m, func(num protowire.Number, v uint64) {
			switch num {
			case 1:
				a.id = int(v)
			case 3:
				failed = true
			}
		}); err != nil || failed {
			select {
			case problems <- fmt.Errorf("a write of the stream failed: %q %v", m, err):
			default:
			}
		}
		answers <- a
	}}
	s, err := c.start(request{method: "POST", path: service + "Mutate", header: grpcHeader, open: true, onData: in.take})
	if err != nil {
		return nil, err
	}
	r := &result{}
	sent := map[int]time.Time{}
	var id int
	send := func() error {
		id++
		body := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(id))
		body = appendBytes(body, 2, pods.pod('m', int(sequence.Add(1))))
		sent[id] = time.Now()
		return c.send(s, message(body), false)
	}
	receive := func() error {
		select {
		case a := <-answers:
			r.lat = append(r.lat, a.at.Sub(sent[a.id]))
			delete(sent, a.id)
			return nil
		case err := <-problems:
			return err
		case err := <-s.end:
			return fmt.Errorf("Mutate ended: gRPC status %q: %v", s.grpc, err)
		}
	}
	before, start := server.cpu(), time.Now()
	for time.Since(start) < d {
		if len(sent) < inFlight {
			err = send()
		} else {
			err = receive()
		}
		if err != nil {
			return nil, err
		}
	}
	for len(sent) > 0 {
		if err := receive(); err != nil {
			return nil, err
		}
	}
	r.ops, r.elapsed, r.cpu = len(r.lat), time.Since(start), server.cpu()-before
	slices.Sort(r.lat)
	return r, nil
}

// subscribe opens n subscriptions of all pods on one stream; got is told how
// many events of which of them, from 0, have come.
func subscribe(c *conn, n int, revision int64, got func(id, events int)) (*stream, error) {
	in := messages{each: func(m []byte) {
		id, events := 0, 0
		_ = fields(m, func(num protowire.Number, v uint64) { // a broken message counts for nothing, and is missed
			switch num {
			case 1:
				id = int(v)
			case 2:
				events++
			}
		})
		if id > 0 && events > 0 {
			got(id-1, events)
		}
	}}
	s, err := c.start(request{method: "POST", path: service + "Watch", header: grpcHeader, open: true, onData: in.take})
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	for id := range n {
		all.Write(message(marshal(&pb.WatchRequest{Id: int64(id + 1), Action: &pb.WatchRequest_Subscribe{Subscribe: &pb.Subscribe{
			Resource: podResource, Selection: &pb.Selection{Namespace: namespace}, AfterRevision: revision,
		}}})))
	}
	return s, c.send(s, all.Bytes(), false)
}
