package h2

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// gather is how much of an answer waits for the handler's end, to go out with
// headers and end at once.
const gather = 32 << 10

// response is the http.ResponseWriter of a stream, with what
// http.ResponseController asks for.
type response struct {
	s       *stream
	refuse  int // a status that is answered without the handler
	header  http.Header
	status  int
	fields  []field // the headers as they were at WriteHeader
	few     [8]field
	written bool // WriteHeader was called
	sent    bool // headers were; guarded by the connection's mu where others look
	buf     *[]byte
	wrote   int64 // of the body
	length  int64 // content-length of the answer, -1 without one

	reads, writes *time.Timer // deadlines
}

type field struct {
	name   string
	values []string
}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(code int) {
	if w.written {
		return
	}
	if code < 100 || code > 999 {
		panic("h2: invalid status " + strconv.Itoa(code))
	}
	if code < 200 {
		w.inform(code)
		return
	}
	w.written, w.status, w.length = true, code, -1
	if v := w.header.Get("Content-Length"); v != "" {
		if n, err := strconv.ParseUint(v, 10, 63); err == nil {
			w.length = int64(n)
		}
	}
	w.fields = w.few[:0]
	for name, values := range w.header {
		if name != "Content-Length" && !strings.HasPrefix(name, http.TrailerPrefix) {
			w.fields = append(w.fields, field{name, values})
		}
	}
}

// get is a header as it was at WriteHeader.
func (w *response) get(name string) ([]string, bool) {
	for i := range w.fields {
		if w.fields[i].name == name {
			return w.fields[i].values, true
		}
	}
	return nil, false
}

// inform sends the headers so far with a status below 200, and at once.
func (w *response) inform(code int) {
	s, c := w.s, w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil || w.sent {
		return
	}
	if code == http.StatusContinue {
		s.proceed = false
	}
	_ = c.enc.WriteField(statusField(code)) // the block takes everything
	for name, values := range w.header {
		w.encode(name, values)
	}
	c.appendHeaders(s, false)
	c.flushSoon()
}

// bodiless answers have headers only.
func (w *response) bodiless() bool {
	return w.s.request.Method == http.MethodHead || w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

func (w *response) Write(p []byte) (int, error) {
	return w.write(p, "")
}

func (w *response) WriteString(p string) (int, error) { return w.write(nil, p) }

func (w *response) write(p []byte, text string) (int, error) {
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	n := len(p) + len(text)
	if w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	if w.length >= 0 && w.wrote+int64(n) > w.length {
		return 0, http.ErrContentLength
	}
	w.wrote += int64(n)
	if w.s.request.Method == http.MethodHead {
		return n, nil
	}
	if w.buf == nil {
		w.buf = buffers.Get().(*[]byte)
	}
	if len(*w.buf)+n <= gather {
		*w.buf = append(append(*w.buf, p...), text...)
		return n, nil
	}
	if text != "" {
		p = []byte(text)
	}
	if err := w.send(*w.buf, false); err != nil {
		return 0, err
	}
	*w.buf = (*w.buf)[:0]
	if n < gather/2 {
		*w.buf = append(*w.buf, p...)
		return n, nil
	}
	return n, w.send(p, false)
}

func (w *response) Flush() { _ = w.FlushError() }

func (w *response) FlushError() error {
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	if err := w.send(w.held(), false); err != nil {
		return err
	}
	w.release()
	w.s.c.flush(w.s.turn)
	return nil
}

func (w *response) held() []byte {
	if w.buf == nil {
		return nil
	}
	return *w.buf
}

func (w *response) release() {
	if w.buf != nil {
		release(w.buf)
		w.buf = nil
	}
}

// send appends headers, if they were not sent, and p; it waits for room. With
// end, the stream ends too.
func (w *response) send(p []byte, end bool) error {
	s, c := w.s, w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err == nil && !w.sent {
		if _, trailers := w.get("Trailer"); end && w.length < 0 && !trailers && (len(p) > 0 || !w.bodiless()) {
			w.length = int64(len(p))
		}
		last := end && len(p) == 0 && !w.trails()
		w.sendHeaders(p, last)
		if last {
			w.ended()
			return nil
		}
	}
	for s.err == nil && len(p) > 0 {
		if c.waits() >= outLimit {
			c.flushLocked(s.turn)
			if c.waits() >= outLimit {
				w.wait()
			}
			continue
		}
		n := c.appendData(s, p[:min(len(p), outLimit)])
		if p = p[n:]; n == 0 {
			c.flushLocked(s.turn)
			if s.err == nil && (s.window <= 0 || c.window <= 0) {
				w.wait()
			}
		}
	}
	if s.err != nil {
		return s.closed()
	}
	if end {
		if !w.sendTrailers() {
			c.appendEnd(s)
		}
		w.ended()
	}
	return nil
}

// closed is why nothing more can be written. It needs mu.
func (s *stream) closed() error {
	if s.c.err != nil {
		return s.c.err
	}
	return s.err
}

// wait until something has changed. It needs mu.
func (w *response) wait() {
	c := w.s.c
	if t := w.s.turn; t != nil && !t.gone {
		c.mu.Unlock()
		w.s.yield()
		c.mu.Lock()
		return
	}
	c.room.Wait()
}

// ended: the answer is complete. It needs mu.
func (w *response) ended() {
	s, c := w.s, w.s.c
	s.localDone = true
	if s.discard() {
		return
	}
	if !s.remoteDone {
		// The client need not send the rest.
		b := c.buffer()
		*b = appendRST(*b, s.id, http2.ErrCodeNo)
		c.resets[c.resetAt] = s.id
		c.resetAt = (c.resetAt + 1) % len(c.resets)
	}
	c.closeLocked(s, errDone)
}

// finish is the handler's end.
func (w *response) finish() {
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	if w.length >= 0 && w.wrote < w.length && !w.bodiless() {
		w.drop() // what was promised will not come
		w.s.reset(http2.ErrCodeInternal)
		return
	}
	_ = w.send(w.held(), true) // a client that is gone needs no answer
	w.drop()
}

// drop lets go of what the handler had; it may be called twice.
func (w *response) drop() {
	w.release()
	for _, t := range []*time.Timer{w.reads, w.writes} {
		if t != nil {
			t.Stop()
		}
	}
}

// sendHeaders needs mu. p is the beginning of the body.
func (w *response) sendHeaders(p []byte, end bool) {
	c := w.s.c
	w.sent = true
	_ = c.enc.WriteField(statusField(w.status)) // the block takes everything
	for i := range w.fields {
		f := &w.fields[i]
		if f.name == "Connection" && httpguts.HeaderValuesContainsToken(f.values, "close") {
			workers.start(c.drain)
		}
		if !w.declared(f.name) {
			w.encode(f.name, f.values)
		}
	}
	if _, ok := w.get("Content-Type"); !ok && len(p) > 0 {
		if _, encoded := w.get("Content-Encoding"); !encoded {
			w.encode("Content-Type", []string{http.DetectContentType(p)})
		}
	}
	if _, ok := w.get("Date"); !ok {
		w.encode("Date", date())
	}
	if w.length >= 0 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: "content-length", Value: strconv.FormatInt(w.length, 10), Sensitive: true})
	}
	c.appendHeaders(w.s, end)
}

func statusField(code int) hpack.HeaderField {
	return hpack.HeaderField{Name: ":status", Value: statusText(code)}
}

// lower are the names that answers usually have.
var lower = map[string]string{
	"Audit-Id": "audit-id", "Cache-Control": "cache-control", "Content-Type": "content-type", "Content-Length": "content-length",
	"Date": "date", "Content-Encoding": "content-encoding", "Vary": "vary", "Etag": "etag", "Warning": "warning",
}

// volatile headers differ from answer to answer: they would only push others
// out of the client's table.
var volatile = map[string]bool{"audit-id": true, "content-length": true, "date": true, "etag": true, "last-modified": true, "location": true}

// encode adds a header to the block. It needs mu.
func (w *response) encode(name string, values []string) {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
		return
	}
	l, ok := lower[name]
	if !ok {
		if !httpguts.ValidHeaderFieldName(name) {
			return
		}
		l = strings.ToLower(name)
	}
	for _, v := range values {
		if httpguts.ValidHeaderFieldValue(v) {
			_ = w.s.c.enc.WriteField(hpack.HeaderField{Name: l, Value: v, Sensitive: volatile[l]})
		}
	}
}

// declared are the headers that the Trailer header names.
func (w *response) declared(name string) bool {
	lists, _ := w.get("Trailer")
	for _, list := range lists {
		for n := range strings.SplitSeq(list, ",") {
			if http.CanonicalHeaderKey(strings.TrimSpace(n)) == name {
				return true
			}
		}
	}
	return false
}

// trails reports whether trailers are to follow.
func (w *response) trails() bool {
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) || w.declared(name) {
			return true
		}
	}
	return false
}

// sendTrailers ends the stream with trailers if there are any. It needs mu.
func (w *response) sendTrailers() bool {
	for name, values := range w.header {
		if n, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			name = http.CanonicalHeaderKey(n)
		} else if !w.declared(name) {
			continue
		}
		if httpguts.ValidTrailerHeader(name) {
			w.encode(name, values)
		}
	}
	if len(w.s.c.block.b) == 0 {
		return false
	}
	w.s.c.appendHeaders(w.s, true)
	return true
}

// SetReadDeadline and SetWriteDeadline are for http.ResponseController.
func (w *response) SetReadDeadline(at time.Time) error {
	setDeadline(&w.reads, at, w.s.expireRead)
	return nil
}

// SetWriteDeadline resets the stream at a time.
func (w *response) SetWriteDeadline(at time.Time) error {
	setDeadline(&w.writes, at, w.expireWrite)
	return nil
}

func (w *response) expireWrite() {
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.s.err == nil {
		c.resetLocked(w.s.id, http2.ErrCodeInternal)
		w.s.err = os.ErrDeadlineExceeded
		c.flushSoon()
	}
}

func setDeadline(t **time.Timer, at time.Time, f func()) {
	if *t != nil {
		(*t).Stop()
		*t = nil
	}
	if at.IsZero() {
		return
	}
	*t = time.AfterFunc(time.Until(at), f)
}

// EnableFullDuplex is what HTTP/2 always is.
func (w *response) EnableFullDuplex() error { return nil }

var errNoHijack = errors.New("h2: a connection of HTTP/2 can't be hijacked")

// Hijack is refused, by a text better than "not supported".
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errNoHijack }

type stamp struct {
	second int64
	text   []string
}

var stamps atomic.Pointer[stamp]

// date is the Date header, made once a second. It is read-only.
func date() []string {
	now := time.Now()
	if s := stamps.Load(); s != nil && s.second == now.Unix() {
		return s.text
	}
	s := &stamp{second: now.Unix(), text: []string{now.UTC().Format(http.TimeFormat)}}
	stamps.Store(s)
	return s.text
}
