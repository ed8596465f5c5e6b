package etcd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// line is a connection to etcd that carries one gRPC call at a time. The
// caller's goroutine writes the request and reads the answer itself. For short
// calls that is most of the cost: a connection that calls share needs a
// goroutine that reads and one that writes, and every call wakes both.
//
// It speaks as much HTTP/2 as that takes. Between calls nobody reads; what
// the server sends then (a ping, its farewell) waits for the next call.
//
// A feed has a line for itself: one goroutine reads, and others may write.
type line struct {
	conn net.Conn
	raw  syscall.RawConn
	host string
	// patience bounds each write where the call has no deadline.
	patience time.Duration
	// heard is set when something comes from the server.
	heard atomic.Bool

	next   uint32 // stream
	block  bytes.Buffer
	encode *hpack.Encoder
	decode *hpack.Decoder
	// in holds bytes from the server that no frame has used yet.
	in         []byte
	start, end int
	// spare is a buffer for the next answer.
	spare []byte

	// writing guards what others than the reader use: what is to be sent, and
	// what the server lets us send on the connection, on a new stream, in a
	// frame.
	writing          sync.Mutex
	out              []byte
	room, streamRoom int64
	maxFrame         int
	// taken is what the server has sent since we last widened the
	// connection's window.
	taken int64
	// leaving is set when the server takes no new call.
	leaving bool
}

const (
	frameHeader = 9
	// window is what the server may send before we widen it.
	window = 1 << 30
	// lastStream leaves the connection before its numbers run out.
	lastStream = 1 << 30
	// spareBytes is how large a buffer an idle line keeps.
	spareBytes = 64 << 10
	// firstBytes bounds what is made room for on a server's word.
	firstBytes = 8 << 20
	// longestAnswer bounds a message: etcd answers with pages of some MB.
	longestAnswer = 1 << 30
)

// errLine wraps what went wrong with the connection, not with the call.
type errLine struct {
	err error
	// sent is whether the server may have seen the call.
	sent bool
}

func (e *errLine) Error() string { return "connection to etcd: " + e.err.Error() }
func (e *errLine) Unwrap() error { return e.err }

// newLine exchanges greetings with the server. The socket is conn itself, or
// what TLS is over.
func newLine(conn net.Conn, socket syscall.Conn, host string) (*line, error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &line{conn: conn, raw: raw, host: host, next: 1, in: make([]byte, 4<<10), room: 65535, streamRoom: 65535, maxFrame: 16 << 10}
	l.encode = hpack.NewEncoder(&l.block)
	l.decode = hpack.NewDecoder(4096, nil)
	l.out = append(l.out, http2.ClientPreface...)
	l.out = appendFrame(l.out, http2.FrameSettings, 0, 0, 12)
	l.out = appendSetting(l.out, http2.SettingEnablePush, 0)
	l.out = appendSetting(l.out, http2.SettingInitialWindowSize, window)
	l.out = appendFrame(l.out, http2.FrameWindowUpdate, 0, 0, 4)
	l.out = binary.BigEndian.AppendUint32(l.out, window)
	if err := l.flush(); err != nil {
		return nil, err
	}
	// What TLS sends after its handshake comes before the greeting: from now
	// on bytes from the server are frames, and pending can rely on it.
	for {
		_, t, err := l.frame(nil)
		if err != nil || t == http2.FrameSettings {
			return l, err
		}
	}
}

func appendFrame(b []byte, t http2.FrameType, flags http2.Flags, stream uint32, length int) []byte {
	b = append(b, byte(length>>16), byte(length>>8), byte(length), byte(t), byte(flags))
	return binary.BigEndian.AppendUint32(b, stream)
}

func appendSetting(b []byte, id http2.SettingID, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, uint16(id)), value)
}

// flush sends what is to be sent. It needs writing, as all that adds to it.
func (l *line) flush() error {
	if len(l.out) == 0 {
		return nil
	}
	if l.patience > 0 {
		if err := l.conn.SetWriteDeadline(time.Now().Add(l.patience)); err != nil {
			return err
		}
	}
	_, err := l.conn.Write(l.out)
	l.out = l.out[:0]
	if cap(l.out) > spareBytes {
		b := l.out
		large.Put(&b)
		l.out = nil
	}
	return err
}

func (l *line) close() { l.conn.Close() }

// settle takes what came since the last call. It does not wait. An error
// means that the line is of no use, and that nothing was sent.
func (l *line) settle(deadline time.Time) error {
	for l.end > l.start || l.pending() {
		if err := l.conn.SetDeadline(deadline); err != nil {
			return err
		}
		if _, _, err := l.frame(nil); err != nil {
			return err
		}
	}
	if l.leaving || l.next > lastStream {
		return errors.New("it is closing")
	}
	return nil
}

// pending is whether there is something to read: bytes or the end.
func (l *line) pending() bool {
	pending := true
	err := l.raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		pending = err != syscall.EAGAIN
	})
	return pending || err != nil
}

// call is one unary call. body is the request behind five free bytes. The
// answer is good until the next call. The error is an *errLine or a gRPC status.
func (l *line) call(method string, body []byte, deadline time.Time) ([]byte, error) {
	timeout := time.Until(deadline)
	if timeout <= 0 {
		return nil, status.Error(codes.DeadlineExceeded, "no time left for a call to etcd")
	}
	if err := l.conn.SetDeadline(deadline); err != nil {
		return nil, &errLine{err: err}
	}
	putPrefix(body)
	l.writing.Lock()
	a := answer{stream: l.next, room: l.streamRoom, message: l.spare[:0]}
	// In whole seconds, so that the value is mostly the same.
	l.headers(method, hpack.HeaderField{Name: "grpc-timeout", Value: strconv.Itoa(int(math.Ceil(timeout.Seconds()))) + "S"})
	l.writing.Unlock()
	for {
		l.writing.Lock()
		body = l.data(&a, body, true)
		err := l.flush()
		l.writing.Unlock()
		if err != nil {
			return nil, &errLine{err, true}
		}
		// An answer before the end of the request is a refusal.
		for a.room <= 0 || l.room <= 0 || len(body) == 0 {
			over, _, err := l.frame(&a)
			if err != nil {
				return nil, &errLine{err, true}
			}
			if over {
				if len(body) > 0 {
					l.leaving = true // its stream is half open
				}
				return a.message, a.err()
			}
		}
	}
}

// putPrefix fills in what precedes a gRPC message.
func putPrefix(body []byte) {
	body[0] = 0 // not compressed
	binary.BigEndian.PutUint32(body[1:], uint32(len(body)-5))
}

// large are buffers for pages of answers and groups of writes, given back when
// nobody uses them.
var large = sync.Pool{New: func() any { return new([]byte) }}

// keep takes an answer's buffer back.
func (l *line) keep(b []byte) {
	switch {
	case cap(b) <= spareBytes:
		l.spare = b
	case cap(b) <= firstBytes:
		large.Put(&b)
	}
}

// buffer is an empty one for n bytes, or for the first of very many.
func (a *answer) buffer(n int) []byte {
	if cap(a.message) >= n {
		return a.message[:0]
	}
	n = min(n, firstBytes)
	if n > spareBytes {
		if b := *large.Get().(*[]byte); cap(b) >= n {
			return b[:0]
		}
	}
	return make([]byte, 0, n)
}

// headers begins a call on the next stream.
func (l *line) headers(method string, more hpack.HeaderField) {
	id := l.next
	l.next += 2
	l.block.Reset()
	for _, f := range [...]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: method},
		{Name: ":authority", Value: l.host},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
		more,
	} {
		_ = l.encode.WriteField(f) // into a buffer
	}
	l.out = appendFrame(l.out, http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, l.block.Len())
	l.out = append(l.out, l.block.Bytes()...)
}

// reserve makes room in out for n bytes.
func (l *line) reserve(n int) {
	n += len(l.out)
	if n <= cap(l.out) {
		return
	}
	var b []byte
	if n > spareBytes {
		b = (*large.Get().(*[]byte))[:0]
	}
	l.out = append(slices.Grow(b, n), l.out...)
}

// data puts as much of a body into frames as the server takes now and returns
// the rest.
func (l *line) data(a *answer, body []byte, end bool) []byte {
	// What fits, with its frames' headers, at once and not step by step.
	if n := int(min(int64(len(body)), a.room, l.room)); n > 0 {
		l.reserve(n + frameHeader*(1+n/l.maxFrame))
	}
	for len(body) > 0 {
		n := int(min(int64(len(body)), int64(l.maxFrame), a.room, l.room))
		if n <= 0 {
			break
		}
		var flags http2.Flags
		if end && n == len(body) {
			flags = http2.FlagDataEndStream
		}
		l.out = appendFrame(l.out, http2.FrameData, flags, a.stream, n)
		l.out = append(l.out, body[:n]...)
		body = body[n:]
		a.room -= int64(n)
		l.room -= int64(n)
	}
	return body
}

// fill reads until at least n bytes are there.
func (l *line) fill(n int) error {
	if l.end-l.start >= n {
		return nil
	}
	if l.start > 0 {
		l.end = copy(l.in, l.in[l.start:l.end])
		l.start = 0
	}
	if n > len(l.in) {
		l.in = append(make([]byte, 0, n), l.in[:l.end]...)[:n]
	}
	for l.end < n {
		k, err := l.conn.Read(l.in[l.end:])
		l.end += k
		l.heard.Store(true)
		if err != nil && l.end < n {
			return err
		}
	}
	return nil
}

// frame takes the next frame. It reports whether the call is over.
func (l *line) frame(a *answer) (over bool, t http2.FrameType, err error) {
	if err := l.fill(frameHeader); err != nil {
		return false, 0, err
	}
	h := l.in[l.start:]
	n := int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	t, flags := http2.FrameType(h[3]), http2.Flags(h[4])
	stream := binary.BigEndian.Uint32(h[5:]) &^ (1 << 31)
	l.start += frameHeader
	if t == http2.FrameData {
		over, err := l.answerData(a, stream, flags, n)
		return over, t, err
	}
	if n > 1<<20 {
		return false, t, fmt.Errorf("a frame of %d bytes", n)
	}
	if err := l.fill(n); err != nil {
		return false, t, err
	}
	payload := l.in[l.start : l.start+n]
	l.start += n
	switch t {
	case http2.FrameHeaders, http2.FrameContinuation:
		over, err = l.answerHeaders(a, t, stream, flags, payload)
	case http2.FrameRSTStream:
		if a != nil && stream == a.stream && n == 4 {
			a.broken = status.Errorf(codes.Unavailable, "etcd reset the stream: %v", http2.ErrCode(binary.BigEndian.Uint32(payload)))
			over = true
		}
	case http2.FrameSettings:
		err = l.settings(a, flags, payload)
	case http2.FramePing:
		if flags&http2.FlagPingAck == 0 && n == 8 {
			err = l.pong(payload)
		}
	case http2.FrameGoAway:
		// A call that it has taken is still answered.
		l.leaving = true
		if n >= 8 && a != nil && binary.BigEndian.Uint32(payload) < a.stream {
			err = errors.New("etcd is stopping")
		}
	case http2.FrameWindowUpdate:
		if n == 4 {
			l.widen(a, stream, int64(binary.BigEndian.Uint32(payload)))
		}
	}
	return over, t, err
}

// send sends a short frame at once.
func (l *line) send(t http2.FrameType, flags http2.Flags, stream uint32, payload []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.out = append(appendFrame(l.out, t, flags, stream, len(payload)), payload...)
	return l.flush()
}

func (l *line) widen(a *answer, stream uint32, by int64) {
	l.writing.Lock()
	defer l.writing.Unlock()
	switch {
	case stream == 0:
		l.room += by
	case a != nil && stream == a.stream:
		a.room += by
	}
}

func (l *line) settings(a *answer, flags http2.Flags, payload []byte) error {
	if flags&http2.FlagSettingsAck != 0 {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	for ; len(payload) >= 6; payload = payload[6:] {
		value := binary.BigEndian.Uint32(payload[2:])
		switch http2.SettingID(binary.BigEndian.Uint16(payload)) {
		case http2.SettingInitialWindowSize:
			if a != nil {
				a.room += int64(value) - l.streamRoom
			}
			l.streamRoom = int64(value)
		case http2.SettingMaxFrameSize:
			l.maxFrame = int(value)
		case http2.SettingHeaderTableSize:
			l.encode.SetMaxDynamicTableSize(min(value, 4096))
		}
	}
	l.out = appendFrame(l.out, http2.FrameSettings, http2.FlagSettingsAck, 0, 0)
	return l.flush()
}

// answer is what comes back on a stream.
type answer struct {
	stream uint32
	// room is what the server takes on the stream.
	room int64
	// prefix and message are the gRPC message and what precedes it.
	prefix  []byte
	message []byte
	missing int
	// many is set for a stream of messages: message takes all bytes, prefixes too. taken is
	// what has come since we last widened the stream's window.
	many  bool
	taken int64
	// From the headers and trailers.
	http, code, text string
	broken           error
}

// answerData reads a frame's payload to where it belongs.
func (l *line) answerData(a *answer, stream uint32, flags http2.Flags, n int) (bool, error) {
	mine := a != nil && stream == a.stream
	if err := l.reopen(&l.taken, 0, n); err != nil {
		return false, err
	}
	if mine && a.many {
		if err := l.reopen(&a.taken, stream, n); err != nil {
			return false, err
		}
	}
	if flags&http2.FlagDataPadded != 0 {
		return false, errors.New("a padded frame")
	}
	for n > 0 {
		// The bulk of a long message needs no buffer between.
		if k := a.bulk(n, len(l.in)); mine && k > 0 && l.end == l.start {
			at := len(a.message)
			a.message = slices.Grow(a.message, k)[:at+k]
			if _, err := io.ReadFull(l.conn, a.message[at:]); err != nil {
				return false, err
			}
			if !a.many {
				a.missing -= k
			}
			n -= k
			continue
		}
		if err := l.fill(1); err != nil {
			return false, err
		}
		k := min(n, l.end-l.start)
		if mine {
			if err := a.take(l.in[l.start : l.start+k]); err != nil {
				return false, err
			}
		}
		l.start += k
		n -= k
	}
	return mine && flags&http2.FlagDataEndStream != 0, nil
}

// reopen counts n bytes that came and widens the window when half is used.
func (l *line) reopen(taken *int64, stream uint32, n int) error {
	if *taken += int64(n); *taken <= window/2 {
		return nil
	}
	by := binary.BigEndian.AppendUint32(nil, uint32(*taken))
	*taken = 0
	return l.send(http2.FrameWindowUpdate, 0, stream, by)
}

// bulk is how many of a frame's n bytes to read straight to where they belong.
func (a *answer) bulk(n, buffer int) int {
	switch {
	case a == nil:
		return 0
	case a.many && n >= buffer:
		return n
	case !a.many && len(a.prefix) == 5:
		return min(n, a.missing)
	}
	return 0
}

// take adds bytes of a body.
func (a *answer) take(b []byte) error {
	if a.many {
		if len(a.message) > longestAnswer {
			return errors.New("a message without an end")
		}
		a.message = append(a.message, b...)
		return nil
	}
	if k := min(5-len(a.prefix), len(b)); k > 0 {
		a.prefix = append(a.prefix, b[:k]...)
		b = b[k:]
		if len(a.prefix) == 5 {
			length := binary.BigEndian.Uint32(a.prefix[1:])
			if a.prefix[0] != 0 || length > longestAnswer {
				return fmt.Errorf("a message of kind %d with %d bytes", a.prefix[0], length)
			}
			a.missing = int(length)
			a.message = a.buffer(int(length))
		}
	}
	if len(b) > a.missing {
		return errors.New("more than one message")
	}
	a.message = append(a.message, b...)
	a.missing -= len(b)
	return nil
}

func (l *line) answerHeaders(a *answer, t http2.FrameType, stream uint32, flags http2.Flags, payload []byte) (bool, error) {
	if t == http2.FrameContinuation || flags&http2.FlagHeadersEndHeaders == 0 {
		return false, errors.New("headers in several frames")
	}
	if flags&http2.FlagHeadersPadded != 0 {
		return false, errors.New("padded headers")
	}
	if flags&http2.FlagHeadersPriority != 0 {
		if len(payload) < 5 {
			return false, errors.New("headers without their priority")
		}
		payload = payload[5:]
	}
	mine := a != nil && stream == a.stream
	l.decode.SetEmitFunc(func(f hpack.HeaderField) {
		if !mine {
			return
		}
		switch f.Name {
		case ":status":
			a.http = f.Value
		case "grpc-status":
			a.code = f.Value
		case "grpc-message":
			a.text = f.Value
		}
	})
	// The table must follow even what concerns nobody.
	if _, err := l.decode.Write(payload); err != nil {
		return false, err
	}
	if err := l.decode.Close(); err != nil {
		return false, err
	}
	return mine && flags&http2.FlagHeadersEndStream != 0, nil
}

// err is what the call came to.
func (a *answer) err() error {
	switch {
	case a.broken != nil:
		return a.broken
	case a.code == "0" && len(a.prefix) == 5 && a.missing == 0:
		return nil
	case a.code == "0":
		return status.Error(codes.Internal, "etcd's answer is cut short")
	}
	code, err := strconv.ParseUint(a.code, 10, 32)
	if err != nil {
		return status.Errorf(codes.Unavailable, "etcd answers HTTP %s without a gRPC status", a.http)
	}
	text, err := url.PathUnescape(a.text)
	if err != nil {
		text = a.text
	}
	return status.Error(codes.Code(code), text)
}
