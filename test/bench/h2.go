package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// conn is an HTTP/2 connection that does as little as a client can: it looks
// at frame headers and hands the bytes of bodies on without copying them. Its
// receive windows are so large that the server never waits for one.
type conn struct {
	net    net.Conn
	framer *http2.Framer

	mu      sync.Mutex // guards the rest, and writing
	room    *sync.Cond
	window  int64 // that the server still takes
	initial int64 // window of a stream
	next    uint32
	streams map[uint32]*stream
	encoder *hpack.Encoder
	block   bytes.Buffer
	out     *bufio.Writer
	err     error
}

// stream is one request.
type stream struct {
	id     uint32
	window int64 // that the server still takes; guarded by the connection's mu
	status int
	grpc   string // grpc-status, "" without
	bytes  int64
	onData func([]byte) // called by the connection's reader
	end    chan error
}

const window = 1 << 30

func dial(address string, config *tls.Config) (*conn, error) {
	var nc net.Conn
	var err error
	if config == nil {
		nc, err = net.Dial("tcp", address)
	} else {
		config = config.Clone()
		if len(config.NextProtos) == 0 {
			config.NextProtos = []string{"h2"}
		}
		nc, err = tls.Dial("tcp", address, config)
	}
	if err != nil {
		return nil, err
	}
	c := &conn{net: nc, window: 65535, initial: 65535, next: 1, streams: map[uint32]*stream{}, out: bufio.NewWriterSize(nc, 32<<10)}
	c.room = sync.NewCond(&c.mu)
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer = http2.NewFramer(c.out, bufio.NewReaderSize(nc, 64<<10))
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = c.out.WriteString(http2.ClientPreface) // an error stays in the writer until the flush
	_ = c.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
	_ = c.framer.WriteWindowUpdate(0, window)
	if err := c.out.Flush(); err != nil {
		return nil, err
	}
	go c.read()
	return c, nil
}

func (c *conn) close() { _ = c.net.Close() }

// read owns the receiving side until the connection ends.
func (c *conn) read() {
	var taken int64
	var err error
	for err == nil {
		var f http2.Frame
		if f, err = c.framer.ReadFrame(); err != nil {
			break
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			taken += int64(f.Length)
			if taken > window/2 {
				err = c.write(func() { _ = c.framer.WriteWindowUpdate(0, uint32(taken)) })
				taken = 0
			}
			c.data(f)
		case *http2.MetaHeadersFrame:
			c.headers(f)
		case *http2.RSTStreamFrame:
			c.finish(f.StreamID, fmt.Errorf("stream reset: %v", f.ErrCode))
		case *http2.WindowUpdateFrame:
			c.mu.Lock()
			if f.StreamID == 0 {
				c.window += int64(f.Increment)
			} else if s := c.streams[f.StreamID]; s != nil {
				s.window += int64(f.Increment)
			}
			c.room.Broadcast()
			c.mu.Unlock()
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.settings(f)
				err = c.write(func() { _ = c.framer.WriteSettingsAck() })
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				data := f.Data
				err = c.write(func() { _ = c.framer.WritePing(true, data) })
			}
		case *http2.GoAwayFrame:
			err = fmt.Errorf("the server is going away: %v", f.ErrCode)
		}
	}
	c.fail(err)
}

// settings takes over how much the server wants of a stream at first.
func (c *conn) settings(f *http2.SettingsFrame) {
	v, ok := f.Value(http2.SettingInitialWindowSize)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		s.window += int64(v) - c.initial
	}
	c.initial = int64(v)
	c.room.Broadcast()
}

func (c *conn) data(f *http2.DataFrame) {
	c.mu.Lock()
	s := c.streams[f.StreamID]
	c.mu.Unlock()
	if s == nil {
		return
	}
	before := s.bytes
	s.bytes += int64(f.Length)
	if before/(window/2) != s.bytes/(window/2) {
		_ = c.write(func() { _ = c.framer.WriteWindowUpdate(f.StreamID, window/2) })
	}
	if s.onData != nil {
		s.onData(f.Data())
	}
	if f.StreamEnded() {
		c.finish(f.StreamID, nil)
	}
}

func (c *conn) headers(f *http2.MetaHeadersFrame) {
	c.mu.Lock()
	s := c.streams[f.StreamID]
	c.mu.Unlock()
	if s == nil {
		return
	}
	if v := f.PseudoValue("status"); v != "" {
		_, _ = fmt.Sscan(v, &s.status)
	}
	for _, h := range f.Fields {
		if h.Name == "grpc-status" {
			s.grpc = h.Value
		}
	}
	if f.StreamEnded() {
		c.finish(f.StreamID, nil)
	}
}

func (c *conn) finish(id uint32, err error) {
	c.mu.Lock()
	s := c.streams[id]
	delete(c.streams, id)
	c.room.Broadcast()
	c.mu.Unlock()
	if s != nil {
		s.end <- err
	}
}

func (c *conn) fail(err error) {
	if err == nil || errors.Is(err, net.ErrClosed) {
		err = io.ErrUnexpectedEOF
	}
	c.mu.Lock()
	c.err = err
	all := c.streams
	c.streams = map[uint32]*stream{}
	c.room.Broadcast()
	c.mu.Unlock()
	for _, s := range all {
		s.end <- err
	}
	_ = c.net.Close()
}

func (c *conn) write(frames func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	frames()
	return c.out.Flush()
}

// request is what start sends; header is pairs of name and value.
type request struct {
	method, path string
	header       []string
	body         []byte
	open         bool // the body goes on
	onData       func([]byte)
}

// start sends a request; the stream's end says when the answer is complete.
func (c *conn) start(r request) (*stream, error) {
	if len(r.body) > 65535 {
		return nil, fmt.Errorf("a body of %d bytes exceeds the first window", len(r.body))
	}
	s := &stream{onData: r.onData, end: make(chan error, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.window < int64(len(r.body)) && c.err == nil {
		c.room.Wait()
	}
	if c.err != nil {
		return nil, c.err
	}
	c.window -= int64(len(r.body))
	id := c.next
	c.next += 2
	c.streams[id] = s
	s.id, s.window = id, c.initial-int64(len(r.body))
	c.block.Reset()
	c.field(":method", r.method)
	c.field(":scheme", "https")
	c.field(":authority", "127.0.0.1")
	c.field(":path", r.path)
	for i := 0; i < len(r.header); i += 2 {
		c.field(r.header[i], r.header[i+1])
	}
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: len(r.body) == 0 && !r.open,
	})
	for body := r.body; len(body) > 0; {
		n := min(len(body), 16<<10)
		_ = c.framer.WriteData(id, n == len(body) && !r.open, body[:n])
		body = body[n:]
	}
	return s, c.out.Flush()
}

// send goes on with the body of an open request, as fast as the server takes it.
func (c *conn) send(s *stream, body []byte, end bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(body) > 0 {
		for (c.window <= 0 || s.window <= 0) && c.err == nil && c.streams[s.id] == s {
			c.room.Wait()
		}
		if c.err != nil {
			return c.err
		}
		if c.streams[s.id] != s {
			return errors.New("the stream has ended")
		}
		n := min(len(body), 16<<10, int(c.window), int(s.window))
		c.window -= int64(n)
		s.window -= int64(n)
		_ = c.framer.WriteData(s.id, end && n == len(body), body[:n]) // an error stays in the writer until the flush
		if err := c.out.Flush(); err != nil {
			return err
		}
		body = body[n:]
	}
	return nil
}

func (c *conn) field(name, value string) {
	// Paths differ in every request: indexing them would only churn the table.
	_ = c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: name == ":path"})
}

// do is a request and its whole answer.
func (c *conn) do(r request) (*stream, error) {
	s, err := c.start(r)
	if err != nil {
		return nil, err
	}
	return s, <-s.end
}
