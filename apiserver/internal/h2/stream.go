package h2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// stream is one request and its answer.
type stream struct {
	c       *conn
	id      uint32
	request *http.Request
	cancel  context.CancelFunc
	declare int64 // its content-length, -1 without one
	turn    *turn // of the reader, while it runs the handler
	answer  response

	// All below is guarded by the connection's mu.

	arrived sync.Cond // for the body's reader
	body    []byte    // not yet read
	taken   int       // of body
	length  int64     // of the body so far
	bodyErr error     // what reading gives after body: io.EOF, or why there is no more
	trailer http.Header
	proceed bool // the client waits for a 100

	window     int64 // what the client takes
	recvWindow int64
	credit     int64

	started    bool // or queued
	remoteDone bool
	localDone  bool
	rest       *time.Timer // of the body, which is discarded
	err        error       // it is closed
}

// data takes a piece of a body.
func (c *conn) data(f *http2.DataFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := int64(f.Length)
	if c.recvWindow -= n; c.recvWindow < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	s, err := c.lookup(f.StreamID)
	if err != nil {
		return err
	}
	if s == nil || s.remoteDone {
		c.giveBack(nil, n)
		if s == nil && (c.wasReset(f.StreamID) || f.StreamID > c.last) {
			return c.replied() // it was on its way
		}
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	if s.recvWindow -= n; s.recvWindow < 0 {
		c.giveBack(nil, n)
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
	}
	data := f.Data()
	s.length += int64(len(data))
	if s.declare >= 0 && (s.length > s.declare || f.StreamEnded() && s.length != s.declare) {
		c.giveBack(nil, n)
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	}
	if s.bodyErr == nil {
		if s.body == nil {
			s.body = make([]byte, 0, max(len(data), int(min(s.declare, defaultFrame))))
		}
		s.body = append(s.body, data...)
		n -= int64(len(data))
	}
	if n > 0 { // padding, or a body that nobody reads
		c.giveBack(s, n)
	}
	if f.StreamEnded() {
		c.remoteEnd(s)
	} else {
		s.arrived.Signal()
	}
	return c.replied()
}

// restBytes is how much of a body is still taken once the request is answered,
// and restTime how long it may take to come.
const (
	restBytes = 64 << 10
	restTime  = 5 * time.Second
)

// discard takes the rest of a short body that nobody will read, and reports
// whether it does. The client could be told to stop (RST_STREAM with NO_ERROR),
// but one that is still sending may take that for a failure, as curl 7 does,
// and drop the answer that it has. It needs mu.
func (s *stream) discard() bool {
	left := s.declare - s.length
	if s.remoteDone || s.proceed || s.declare < 0 || left > min(restBytes, s.recvWindow) {
		return false
	}
	s.bodyErr = errDone
	s.c.giveBack(nil, int64(len(s.body)-s.taken))
	s.body, s.taken = nil, 0
	s.rest = time.AfterFunc(restTime, func() { s.reset(http2.ErrCodeNo) })
	return true
}

// remoteEnd: the request is complete. It needs mu.
func (c *conn) remoteEnd(s *stream) {
	s.remoteDone = true
	if s.localDone {
		c.closeLocked(s, errDone)
		return
	}
	if s.bodyErr == nil {
		s.bodyErr = io.EOF
	}
	s.arrived.Signal()
	if s.started {
		return
	}
	for i, w := range c.waiting {
		if w == s {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			c.launch(s)
			return
		}
	}
}

// startWaiting starts the handlers whose bodies have not come with them.
func (c *conn) startWaiting() {
	if len(c.waiting) == 0 {
		return
	}
	c.mu.Lock()
	for i, s := range c.waiting {
		c.launch(s)
		c.waiting[i] = nil
	}
	c.waiting = c.waiting[:0]
	c.mu.Unlock()
}

// launch starts a handler, or queues it: a client that resets streams may open
// new ones before the handlers of the old have noticed. It needs mu.
func (c *conn) launch(s *stream) {
	s.started = true
	if s.err != nil {
		return
	}
	if c.running >= int(c.srv.o.MaxStreams) {
		c.queued = append(c.queued, s)
		return
	}
	c.running++
	workers.start(s.run)
}

// next starts a handler in the place of one that has returned. It needs mu.
func (c *conn) next() {
	c.running--
	for len(c.queued) > 0 && c.running < int(c.srv.o.MaxStreams) {
		s := c.queued[0]
		c.queued[0] = nil
		if c.queued = c.queued[1:]; len(c.queued) == 0 {
			c.queued = nil
		}
		if s.err == nil {
			c.running++
			workers.start(s.run)
		}
	}
}

// giveBack lets the client send as much again as was consumed, a good deal at
// a time. It needs mu.
func (c *conn) giveBack(s *stream, n int64) {
	if c.credit += n; c.credit >= int64(c.srv.o.ConnWindow)/2 {
		b := c.buffer()
		*b = appendWindowUpdate(*b, 0, uint32(c.credit))
		c.recvWindow += c.credit
		c.credit = 0
	}
	if s == nil || s.remoteDone || s.localDone || s.err != nil {
		return
	}
	if s.credit += n; s.credit >= int64(c.srv.o.StreamWindow)/2 {
		b := c.buffer()
		*b = appendWindowUpdate(*b, s.id, uint32(s.credit))
		s.recvWindow += s.credit
		s.credit = 0
	}
}

// resetLocked resets a stream, open or not. It needs mu.
func (c *conn) resetLocked(id uint32, code http2.ErrCode) {
	b := c.buffer()
	*b = appendRST(*b, id, code)
	c.resets[c.resetAt] = id
	c.resetAt = (c.resetAt + 1) % len(c.resets)
	if s := c.streams[id]; s != nil {
		c.closeLocked(s, http2.StreamError{StreamID: id, Code: code})
	}
	_ = c.replied() // a connection that is over shows at the next frame
}

// wasReset: frames of a stream that we have reset lately may still come. It needs mu.
func (c *conn) wasReset(id uint32) bool {
	for _, r := range c.resets {
		if r == id {
			return true
		}
	}
	return false
}

// closeLocked ends a stream: both sides are done, or err says why not. It needs mu.
func (c *conn) closeLocked(s *stream, err error) {
	if s.err != nil {
		return
	}
	s.err = err
	if s.rest != nil {
		s.rest.Stop()
	}
	if s.bodyErr == nil || s.bodyErr == io.EOF && len(s.body) > s.taken {
		s.bodyErr = err
	}
	c.giveBack(nil, int64(len(s.body)-s.taken))
	s.body, s.taken = nil, 0
	s.arrived.Signal()
	if err != errDone {
		s.cancel()
		c.room.Broadcast()
	}
	delete(c.streams, s.id)
	if len(c.streams) == 0 {
		c.idleSince = time.Now()
	}
	c.leaveLocked()
}

// errDone closes a stream that was answered whole.
var errDone = errors.New("h2: the request was answered")

// yield gives the reader's turn away before its handler waits.
func (s *stream) yield() {
	if s.turn != nil {
		s.c.pass(s.turn)
	}
}

// run runs the handler on a goroutine of its own.
func (s *stream) run() {
	s.handle()
	c := s.c
	c.mu.Lock()
	c.next()
	if c.running > c.pump.count() {
		c.flushSoon() // others may be about to answer
	} else {
		c.flushLocked(nil)
	}
	c.mu.Unlock()
}

// runInline runs the handler on the reader.
func (s *stream) runInline(t *turn) {
	c := s.c
	s.turn = t
	s.handle()
	s.turn = nil
	c.mu.Lock()
	c.next()
	if t.gone || c.waits() >= ourFrame {
		c.flushLocked(t)
	}
	c.mu.Unlock()
}

func (s *stream) handle() {
	defer s.cancel()
	completed := false
	defer func() {
		if completed {
			return
		}
		p := recover()
		if p != nil && p != http.ErrAbortHandler {
			s.c.srv.o.Log.Printf("h2: panic serving %s: %v\n%s", s.request.RemoteAddr, p, debug.Stack())
		}
		s.answer.drop()
		s.reset(http2.ErrCodeInternal)
	}()
	if s.answer.refuse != 0 {
		http.Error(&s.answer, http.StatusText(s.answer.refuse), s.answer.refuse)
	} else {
		s.c.handler.ServeHTTP(&s.answer, s.request)
	}
	completed = true
	s.answer.finish()
}

func (s *stream) reset(code http2.ErrCode) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err == nil {
		c.resetLocked(s.id, code)
		c.flushSoon()
	}
}

// body is the request's body as handlers see it.
type body struct{ s *stream }

func (b body) Read(p []byte) (int, error) {
	s, c := b.s, b.s.c
	if len(p) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.proceed {
		s.proceed = false
		if !s.answer.sent && s.err == nil {
			_ = c.enc.WriteField(statusField(http.StatusContinue)) // the block takes everything
			c.appendHeaders(s, false)
			c.flushSoon()
		}
	}
	for s.taken == len(s.body) && s.bodyErr == nil {
		if s.turn != nil && !s.turn.gone {
			c.mu.Unlock()
			s.yield()
			c.mu.Lock()
			continue
		}
		s.arrived.Wait()
	}
	if s.taken == len(s.body) {
		err := s.bodyErr
		if err == io.EOF {
			s.endTrailer()
		}
		return 0, err
	}
	n := copy(p, s.body[s.taken:])
	if s.taken += n; s.taken == len(s.body) {
		s.body, s.taken = s.body[:0], 0
		if s.remoteDone || cap(s.body) > defaultFrame {
			s.body = nil
		}
	}
	before := c.waits()
	c.giveBack(s, int64(n))
	if c.waits() > before {
		c.flushSoon()
	}
	return n, nil
}

// endTrailer puts the trailers where the handler looks for them. It needs mu.
func (s *stream) endTrailer() {
	for name := range s.request.Trailer {
		if v, ok := s.trailer[name]; ok {
			s.request.Trailer[name] = v
		}
	}
	s.trailer = nil
}

func (b body) Close() error {
	s, c := b.s, b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.bodyErr == nil || s.bodyErr == io.EOF {
		s.bodyErr = http.ErrBodyReadAfterClose
	}
	c.giveBack(s, int64(len(s.body)-s.taken))
	s.body, s.taken = nil, 0
	return nil
}

// expireRead ends the body at a deadline.
func (s *stream) expireRead() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.bodyErr == nil {
		s.bodyErr = os.ErrDeadlineExceeded
		s.arrived.Signal()
	}
}

func statusText(code int) string {
	if code == http.StatusOK {
		return "200"
	}
	return strconv.Itoa(code)
}
