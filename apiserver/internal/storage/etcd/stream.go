package etcd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// lineStream is a call over a line of its own that is answered with many messages: one
// goroutine takes them, and others may send.
type lineStream struct {
	l  *line
	a  answer // guarded by l.writing: room
	at int    // in the answer's bytes: what has been taken
	// spare is how large an empty buffer may be kept.
	spare int
}

// openStream begins a call on a line that is for nothing else. It reads in
// pieces of the given size, and sends nothing yet.
func openStream(l *line, method string, buffer, spare int) lineStream {
	l.in = append(make([]byte, 0, buffer), l.in[l.start:l.end]...)[:buffer]
	l.start, l.end = 0, l.end-l.start
	l.writing.Lock()
	defer l.writing.Unlock()
	s := lineStream{l: l, a: answer{stream: l.next, room: l.streamRoom, many: true}, spare: spare}
	// A member that lost its leader must say so, not fall silent.
	l.headers(method, hpack.HeaderField{Name: rpctypes.MetadataRequireLeaderKey, Value: rpctypes.MetadataHasLeader})
	return s
}

// send sends a request, which must be short.
func (s *lineStream) send(r proto.Message, end bool) error {
	body, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 5, 256), r)
	if err != nil {
		return err
	}
	putPrefix(body)
	s.l.writing.Lock()
	defer s.l.writing.Unlock()
	if int64(len(body)) > min(s.a.room, s.l.room) {
		return errors.New("etcd does not take requests on the stream")
	}
	s.l.data(&s.a, body, end)
	return s.l.flush()
}

// message waits for the next one, which is good until the next call; io.EOF
// after the last one.
func (s *lineStream) message() ([]byte, error) {
	for {
		if m, ok, err := s.whole(); ok || err != nil {
			return m, err
		}
		over, _, err := s.l.frame(&s.a)
		if err != nil {
			return nil, err
		}
		if over {
			if err := s.a.err(); s.a.code != "0" {
				return nil, err
			}
			if len(s.a.message) > 0 {
				return nil, errors.New("etcd's answer is cut short")
			}
			return nil, io.EOF
		}
	}
}

// whole takes the next message that is there whole.
func (s *lineStream) whole() ([]byte, bool, error) {
	b := s.a.message[s.at:]
	if len(b) < 5 {
		s.rewind()
		return nil, false, nil
	}
	n := int64(binary.BigEndian.Uint32(b[1:]))
	if b[0] != 0 || n > longestAnswer {
		return nil, false, fmt.Errorf("a message of kind %d with %d bytes", b[0], n)
	}
	if int64(len(b)) < 5+n {
		s.rewind()
		return nil, false, nil
	}
	s.at += 5 + int(n)
	return b[5 : 5+n], true, nil
}

// rewind moves what is left to the front of the buffer, and lets go of one
// that has grown.
func (s *lineStream) rewind() {
	left := s.a.message[s.at:]
	switch {
	case len(left) == 0 && cap(s.a.message) > s.spare:
		s.a.message = nil
	case s.at > 0:
		s.a.message = s.a.message[:copy(s.a.message, left)]
	}
	s.at = 0
}
