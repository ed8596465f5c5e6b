package h2

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/net/http2"
)

const (
	// outLimit is how many bytes may wait for a write; who adds more waits.
	outLimit = 128 << 10
	// ourFrame is the greatest DATA frame that is sent: one TLS record less
	// its own header would be 16 KB, and larger ones save nothing.
	ourFrame    = 16 << 10
	frameHeader = 9
)

func appendHeader(b []byte, length int, t http2.FrameType, flags http2.Flags, stream uint32) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(t), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendSettings(b []byte, settings ...http2.Setting) []byte {
	b = appendHeader(b, 6*len(settings), http2.FrameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, uint16(s.ID))
		b = binary.BigEndian.AppendUint32(b, s.Val)
	}
	return b
}

func appendWindowUpdate(b []byte, stream, n uint32) []byte {
	b = appendHeader(b, 4, http2.FrameWindowUpdate, 0, stream)
	return binary.BigEndian.AppendUint32(b, n)
}

func appendRST(b []byte, stream uint32, code http2.ErrCode) []byte {
	b = appendHeader(b, 4, http2.FrameRSTStream, 0, stream)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendGoAway(b []byte, last uint32, code http2.ErrCode, text string) []byte {
	b = appendHeader(b, 8+len(text), http2.FrameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, text...)
}

// buffer is where frames are appended. It needs mu.
func (c *conn) buffer() *[]byte {
	if c.out == nil {
		c.out = buffers.Get().(*[]byte)
	}
	c.open = nil
	return c.out
}

// waits is how many bytes are to be written. It needs mu.
func (c *conn) waits() int {
	if c.out == nil {
		return 0
	}
	return len(*c.out)
}

// flush writes what was appended.
func (c *conn) flush(t *turn) {
	c.mu.Lock()
	c.flushLocked(t)
	c.mu.Unlock()
}

// flushLocked writes what was appended, unless another does; that one will
// write it too. t is the reader's turn, which it gives away rather than wait
// for the client. It needs mu, and lets go of it while it writes.
func (c *conn) flushLocked(t *turn) {
	if c.writing || c.out == nil || c.err != nil || c.left.Load() {
		return
	}
	c.writing = true
	c.writer.Store(t)
	c.writeOnce()
	c.writer.Store(nil)
	c.writing = false
	if c.out != nil && c.err == nil {
		// It was appended meanwhile, by those who went on: so does this one.
		c.flushSoon()
	}
	c.room.Broadcast()
}

// flushSoon has another goroutine write, after those that are ready to run and
// may add to it. It needs mu.
func (c *conn) flushSoon() {
	if c.writing || c.out == nil || c.err != nil || c.left.Load() {
		return
	}
	c.writing = true
	workers.start(c.drainOut)
}

// drainOut writes until nothing is left.
func (c *conn) drainOut() {
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.out != nil && c.err == nil {
		c.writeOnce()
		c.room.Broadcast()
	}
	c.writing = false
	c.room.Broadcast()
}

// writeOnce writes what there is. It needs mu and that no other writes.
func (c *conn) writeOnce() {
	out := c.out
	c.out, c.open = nil, nil
	c.mu.Unlock()
	err := c.write(*out)
	release(out)
	if err != nil {
		_ = c.net.Close() // the reader finds it closed, and ends the connection
	}
	c.mu.Lock()
	if err != nil && c.err == nil {
		c.err = err
	}
}

// write is one system call, unless the client is slow.
func (c *conn) write(b []byte) error {
	if c.sock == nil {
		_, err := c.net.Write(b)
		return err
	}
	if len(b) <= ourFrame {
		_, err := c.net.Write(b)
		return err
	}
	c.sock.cork()
	_, err := c.net.Write(b)
	if e := c.sock.uncork(); err == nil {
		err = e
	}
	return err
}

// writeBlocks is called by the socket: the client takes no more for now.
func (c *conn) writeBlocks() { c.pass(c.writer.Load()) }

// appendData appends what of p the windows allow as DATA of s, to its frame
// that is last in the buffer if there is one. It needs mu.
func (c *conn) appendData(s *stream, p []byte) int {
	total := 0
	for len(p) > 0 {
		n := int(min(int64(len(p)), s.window, c.window))
		if n <= 0 {
			break
		}
		held := 0
		if c.open == s {
			held = len(*c.out) - c.openAt - frameHeader
		}
		if c.open != s || held >= c.maxFrame {
			b := c.buffer()
			c.open, c.openAt, held = s, len(*b), 0
			*b = appendHeader(*b, 0, http2.FrameData, 0, s.id)
		}
		n = min(n, c.maxFrame-held)
		*c.out = append(*c.out, p[:n]...)
		held += n
		h := (*c.out)[c.openAt:]
		h[0], h[1], h[2] = byte(held>>16), byte(held>>8), byte(held)
		s.window -= int64(n)
		c.window -= int64(n)
		total += n
		p = p[n:]
	}
	return total
}

// appendEnd ends s, in its last frame if that is last in the buffer. It needs mu.
func (c *conn) appendEnd(s *stream) {
	if c.open == s {
		(*c.out)[c.openAt+4] |= byte(http2.FlagDataEndStream)
		c.open = nil
		return
	}
	b := c.buffer()
	*b = appendHeader(*b, 0, http2.FrameData, http2.FlagDataEndStream, s.id)
}

// headerBlock is what the encoder writes to.
type headerBlock struct{ b []byte }

func (h *headerBlock) Write(p []byte) (int, error) {
	h.b = append(h.b, p...)
	return len(p), nil
}

// appendHeaders appends the block as HEADERS and CONTINUATION. It needs mu.
func (c *conn) appendHeaders(s *stream, end bool) {
	b := c.buffer()
	t, flags := http2.FrameHeaders, http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for rest := c.block.b; ; {
		n := min(len(rest), c.maxFrame)
		if n == len(rest) {
			flags |= http2.FlagHeadersEndHeaders // CONTINUATION's is the same bit
		}
		*b = appendHeader(*b, n, t, flags, s.id)
		*b = append(*b, rest[:n]...)
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
		t, flags = http2.FrameContinuation, 0
	}
	c.block.b = c.block.b[:0]
	if cap(c.block.b) > defaultFrame {
		c.block.b = nil
	}
}
