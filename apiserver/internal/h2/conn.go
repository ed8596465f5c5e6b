package h2

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"xebec.dev/apiserver/internal/bell"
)

const (
	// prefaceTimeout is how long a client may take to say that it speaks HTTP/2.
	prefaceTimeout = 10 * time.Second
	// lingerTime is how long a connection that is over still reads, so that
	// what was sent last is not lost to a reset; lingerBytes is how much.
	lingerTime  = time.Second
	lingerBytes = 1 << 20
	// firstWindow is the window that both sides begin with, defaultFrame the
	// greatest frame of a client that has not said otherwise.
	firstWindow  = 65535
	defaultFrame = 16 << 10
	maxWindow    = 1<<31 - 1
	headerTable  = 4096
	readBuffer   = 8 << 10
	// queuedPerStream: a client that opens and resets streams faster than
	// handlers notice may have so many waiting for each it may have open.
	queuedPerStream = 4
)

// conn is one connection.
type conn struct {
	srv     *Server
	handler http.Handler
	net     net.Conn
	sock    *socket // below TLS, nil without one
	tls     *tls.ConnectionState
	remote  string
	base    context.Context
	cancel  context.CancelFunc
	done    chan struct{} // closed when the connection has ended
	pump    pump

	// The reader's own; the goroutine that reads changes at pass only.
	br      *bufio.Reader
	framer  *http2.Framer
	names   map[string]string // header names in canonical form
	waiting []*stream         // to be started when the reader has nothing more at hand
	unacked int               // our settings
	begun   bool              // the client's first settings have come

	mu sync.Mutex // guards what follows
	// room tells writers that wait: the buffer was taken, a window has
	// grown, a stream or the connection has ended.
	room    sync.Cond
	err     error // the connection is over
	streams map[uint32]*stream
	last    uint32 // the newest stream the client has opened
	resets  [16]uint32
	resetAt int

	out     *[]byte // what is to be written, nil when nothing
	writing bool
	open    *stream
	openAt  int // where in out the DATA frame of open begins, that may grow
	enc     *hpack.Encoder
	block   headerBlock

	window      int64 // that the client gives the connection, and a new stream
	startWindow int64
	maxFrame    int
	recvWindow  int64
	credit      int64 // consumed and not yet given back

	running int // handlers
	queued  []*stream

	going     bool // the client was told to go elsewhere
	goodbye   bool // and from which stream on
	leaving   bool // the last stream has ended
	idleSince time.Time
	idle      *time.Timer

	writer atomic.Pointer[turn] // of the reader, while it writes

	left  atomic.Bool // nothing is read or written any more
	ended atomic.Bool
}

// turn is the right to read. The reader gives it away when it must wait.
type turn struct{ gone bool }

func newConn(ctx context.Context, s *Server, nc net.Conn, h http.Handler, state *tls.ConnectionState) *conn {
	c := &conn{
		srv: s, handler: h, net: nc, tls: state, done: make(chan struct{}), names: map[string]string{},
		streams: map[uint32]*stream{}, window: firstWindow, startWindow: firstWindow, maxFrame: defaultFrame,
		recvWindow: int64(s.o.ConnWindow), idleSince: time.Now(),
	}
	if a := nc.RemoteAddr(); a != nil {
		c.remote = a.String()
	}
	c.base, c.cancel = context.WithCancel(ctx)
	c.room.L = &c.mu
	c.pump.c = c
	c.pump.board = bell.NewBoard[*group]()
	c.pump.groups = map[Topic]*group{}
	c.enc = hpack.NewEncoder(&c.block)
	c.br = bufio.NewReaderSize(nc, readBuffer)
	c.framer = http2.NewFramer(io.Discard, c.br)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(s.o.MaxFrame)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(headerTable, nil)
	c.framer.MaxHeaderListSize = s.o.MaxHeaderBytes
	if t, ok := nc.(*tls.Conn); ok {
		c.sock, _ = t.NetConn().(*socket)
	}
	if c.sock != nil {
		c.sock.mu.Lock()
		c.sock.blocked, c.sock.patience = c.writeBlocks, s.o.Patience
		c.sock.mu.Unlock()
	}
	return c
}

func (c *conn) serve() {
	defer c.cancel()
	if !c.start() {
		c.end(net.ErrClosed)
		return
	}
	if d := c.srv.o.IdleTimeout; d > 0 {
		c.mu.Lock()
		c.idle = time.AfterFunc(d, c.lookIdle)
		c.mu.Unlock()
	}
	c.read()
	<-c.done
}

// start exchanges the preface.
func (c *conn) start() bool {
	s := &c.srv.o
	c.mu.Lock()
	b := c.buffer()
	*b = appendSettings(*b,
		http2.Setting{ID: http2.SettingMaxFrameSize, Val: s.MaxFrame},
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: s.MaxStreams},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: s.MaxHeaderBytes},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(s.StreamWindow)},
	)
	if n := s.ConnWindow - firstWindow; n > 0 {
		*b = appendWindowUpdate(*b, 0, uint32(n))
	}
	c.unacked = 1
	if weak(c.tls) {
		*b = appendGoAway(*b, 0, http2.ErrCodeInadequateSecurity, "")
		c.flushLocked(nil)
		c.mu.Unlock()
		return false
	}
	// A client may wait for our settings, or we for its preface: ours go first.
	c.flushLocked(nil)
	c.mu.Unlock()
	_ = c.net.SetReadDeadline(time.Now().Add(prefaceTimeout)) // a closed connection shows at the read
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.br, preface[:]); err != nil || string(preface[:]) != http2.ClientPreface {
		return false
	}
	_ = c.net.SetReadDeadline(time.Time{})
	return true
}

// read is the reader, until the connection ends or its turn is given away.
func (c *conn) read() {
	t := &turn{}
	for {
		if !c.more() {
			c.startWaiting()
			if t.gone {
				return
			}
			c.flush(t)
			if t.gone {
				return
			}
		}
		f, err := c.readFrame()
		if err == nil {
			err = c.frame(f, t)
		}
		if t.gone {
			return // frames after the handler were read by another
		}
		if err != nil && !c.survives(err) {
			return
		}
	}
}

// more reports whether the next frame is here as a whole: reading it will not
// wait, so answers can.
func (c *conn) more() bool {
	have := c.br.Buffered()
	if have < frameHeader {
		return false
	}
	h, err := c.br.Peek(frameHeader)
	return err == nil && have >= frameHeader+int(h[0])<<16+int(h[1])<<8+int(h[2])
}

func (c *conn) readFrame() (http2.Frame, error) {
	h, err := c.framer.ReadFrameHeader()
	if err != nil {
		return nil, err
	}
	f, err := c.framer.ReadFrameForHeader(h)
	if se, ok := err.(http2.StreamError); ok && se.Cause == nil && h.Type == http2.FrameHeaders {
		// Its block was not decoded: the table of headers is no longer the client's.
		return nil, http2.ConnectionError(se.Code)
	}
	return f, err
}

// pass has another goroutine read.
func (c *conn) pass(t *turn) {
	if t == nil || t.gone {
		return
	}
	t.gone = true
	workers.start(c.read)
}

// survives answers an error of a stream, or ends the connection.
func (c *conn) survives(err error) bool {
	var se http2.StreamError
	var ce http2.ConnectionError
	switch {
	case errors.As(err, &se):
		c.mu.Lock()
		if id := se.StreamID; id%2 == 1 && id > c.last && !c.goodbye {
			c.last = id // its headers were at fault
		}
		c.resetLocked(se.StreamID, se.Code)
		c.mu.Unlock()
		return true
	case errors.Is(err, http2.ErrFrameTooLarge):
		c.fail(http2.ErrCodeFrameSize)
	case errors.As(err, &ce):
		c.fail(http2.ErrCode(ce))
	default:
		c.end(err)
	}
	return false
}

// frame handles one frame.
func (c *conn) frame(f http2.Frame, t *turn) error {
	if c.left.Load() {
		return nil
	}
	if !c.begun {
		if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.begun = true
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.headers(f, t)
	case *http2.DataFrame:
		return c.data(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.WindowUpdateFrame:
		return c.windowUpdate(f)
	case *http2.RSTStreamFrame:
		return c.rst(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.GoAwayFrame:
		c.drain() // it opens no more streams
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // others are to be ignored
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		if c.unacked--; c.unacked < 0 {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return nil
	}
	if f.NumSettings() > 100 || f.HasDuplicates() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.enc.SetMaxDynamicTableSize(min(s.Val, headerTable))
		case http2.SettingMaxFrameSize:
			c.maxFrame = int(min(s.Val, ourFrame))
		case http2.SettingInitialWindowSize:
			grow := int64(s.Val) - c.startWindow
			c.startWindow = int64(s.Val)
			for _, st := range c.streams {
				if st.window += grow; st.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.roomLocked()
	b := c.buffer()
	*b = appendHeader(*b, 0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	return c.replied()
}

func (c *conn) ping(f *http2.PingFrame) error {
	if f.IsAck() {
		if f.Data == drainPing {
			c.lastCall()
		}
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.buffer()
	*b = appendHeader(*b, 8, http2.FramePing, http2.FlagPingAck, 0)
	*b = append(*b, f.Data[:]...)
	return c.replied()
}

// replied makes a client that asks and doesn't listen wait. It needs mu.
func (c *conn) replied() error {
	for c.err == nil && c.writing && c.out != nil && len(*c.out) >= outLimit {
		c.room.Wait()
	}
	return c.err
}

func (c *conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.roomLocked()
		return nil
	}
	s, err := c.lookup(f.StreamID)
	if s == nil {
		return err
	}
	if s.window += int64(f.Increment); s.window > maxWindow {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	c.roomLocked()
	return nil
}

// roomLocked tells those who wait for a window. It needs mu.
func (c *conn) roomLocked() {
	c.room.Broadcast()
	c.pump.room()
}

// lookup finds an open stream; nil and no error for one that was open. It needs mu.
func (c *conn) lookup(id uint32) (*stream, error) {
	s := c.streams[id]
	if s == nil && (id%2 == 0 || id > c.last && !c.goodbye) {
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return s, nil
}

func (c *conn) rst(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.lookup(f.StreamID)
	if s != nil {
		c.closeLocked(s, http2.StreamError{StreamID: s.id, Code: f.ErrCode})
	}
	return err
}

// fail tells the client of its error and ends the connection.
func (c *conn) fail(code http2.ErrCode) {
	c.mu.Lock()
	b := c.buffer()
	*b = appendGoAway(*b, c.last, code, "")
	c.goodbye = true
	c.settle()
	c.mu.Unlock()
	c.linger()
	c.end(http2.ConnectionError(code))
}

// linger waits until the client has taken what was sent last, or so: closing
// while something of its is unread would reset the connection.
func (c *conn) linger() {
	c.closeWrite()
	_ = c.net.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.br, lingerBytes))
}

// end ends the connection and everything on it, once.
func (c *conn) end(err error) {
	if c.ended.Swap(true) {
		return
	}
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	if c.idle != nil {
		c.idle.Stop()
	}
	for _, s := range c.streams {
		c.closeLocked(s, errGone)
	}
	c.queued = nil
	c.room.Broadcast()
	c.mu.Unlock()
	_ = c.net.Close()
	c.cancel()
	close(c.done)
}

var errGone = errors.New("h2: the client is gone")

// lookIdle closes the connection when it had no request for long enough.
func (c *conn) lookIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	wait := c.srv.o.IdleTimeout
	if len(c.streams) == 0 {
		wait -= time.Since(c.idleSince)
	}
	if wait > 0 {
		c.idle.Reset(wait)
		return
	}
	workers.start(c.drain)
}

var drainPing = [8]byte{'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'}

// drain tells the client to go elsewhere, leaving it a round trip to notice:
// what it sends until then is still served.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.going || c.err != nil {
		return
	}
	c.going = true
	b := c.buffer()
	*b = appendGoAway(*b, maxWindow, http2.ErrCodeNo, "")
	*b = appendHeader(*b, 8, http2.FramePing, 0, 0)
	*b = append(*b, drainPing[:]...)
	c.flushSoon()
	time.AfterFunc(lingerTime, c.lastCall)
}

// lastCall says which stream is the last, and closes when that has ended.
func (c *conn) lastCall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goodbye || c.err != nil || !c.going {
		return
	}
	c.goodbye = true
	b := c.buffer()
	*b = appendGoAway(*b, c.last, http2.ErrCodeNo, "")
	c.flushSoon()
	c.leaveLocked()
}

// leaveLocked ends a connection that has said goodbye once its streams have
// ended. It needs mu.
func (c *conn) leaveLocked() {
	if !c.goodbye || c.leaving || len(c.streams) > 0 || c.err != nil {
		return
	}
	c.leaving = true
	workers.start(func() {
		c.mu.Lock()
		c.settle()
		c.mu.Unlock()
		c.closeWrite()
		// The reader goes on until the client has closed its side.
		time.AfterFunc(lingerTime, func() { c.end(net.ErrClosed) })
	})
}

// closeWrite tells the client that nothing follows.
func (c *conn) closeWrite() {
	if h, ok := c.net.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite() // the client may be gone already
	}
}

// settle writes the rest, and lets nothing follow. It needs mu.
func (c *conn) settle() {
	for c.err == nil && !c.left.Load() && (c.writing || c.out != nil) {
		c.flushLocked(nil)
		if c.writing && c.err == nil {
			c.room.Wait()
		}
	}
	c.left.Store(true)
}
