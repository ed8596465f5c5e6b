package h2

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

// headers opens a stream, or ends one with trailers.
func (c *conn) headers(f *http2.MetaHeadersFrame, t *turn) error {
	id := f.StreamID
	if id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	if id <= c.last {
		defer c.mu.Unlock()
		return c.trailers(f)
	}
	if c.goodbye {
		c.mu.Unlock()
		return nil // the client was told that these are not served
	}
	c.last = id
	if f.HasPriority() && f.Priority.StreamDep == id {
		c.mu.Unlock()
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	if len(c.streams) >= int(c.srv.o.MaxStreams) {
		c.mu.Unlock()
		if c.unacked > 0 {
			return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
		}
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	if len(c.queued)+len(c.waiting) > queuedPerStream*int(c.srv.o.MaxStreams) {
		c.mu.Unlock()
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	c.mu.Unlock()
	s, err := c.newStream(f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.streams[id] = s
	if !f.StreamEnded() {
		// A small body often comes in the same read: its handler need not
		// wait for it.
		if !s.proceed && c.more() {
			c.waiting = append(c.waiting, s)
		} else {
			c.launch(s)
		}
		c.mu.Unlock()
		return nil
	}
	inline := c.srv.o.Inline
	if inline == nil || c.running >= int(c.srv.o.MaxStreams) || !inline(s.request) {
		c.launch(s)
		c.mu.Unlock()
		return nil
	}
	s.started = true
	c.running++
	c.mu.Unlock()
	s.runInline(t)
	return nil
}

// trailers end a body. It needs mu.
func (c *conn) trailers(f *http2.MetaHeadersFrame) error {
	s := c.streams[f.StreamID]
	switch {
	case s == nil && c.wasReset(f.StreamID):
		return nil // they were on their way
	case s == nil:
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	case s.remoteDone:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeStreamClosed}
	case !f.StreamEnded() || len(f.PseudoFields()) > 0 || s.declare >= 0 && s.length != s.declare:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	}
	if s.request.Trailer != nil {
		s.trailer = http.Header{}
		for _, h := range f.RegularFields() {
			name := c.canonical(h.Name)
			if !httpguts.ValidTrailerHeader(name) {
				return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
			}
			s.trailer[name] = append(s.trailer[name], h.Value)
		}
	}
	c.remoteEnd(s)
	return nil
}

// keepNames bounds the canonical names that a connection remembers.
const keepNames = 100

func (c *conn) canonical(name string) string {
	if n, ok := c.names[name]; ok {
		return n
	}
	n := textproto.CanonicalMIMEHeaderKey(name)
	if len(c.names) < keepNames && len(name) < 64 {
		c.names[strings.Clone(name)] = n
	}
	return n
}

// newStream makes the request; an error is of the stream.
func (c *conn) newStream(f *http2.MetaHeadersFrame) (*stream, error) {
	malformed := http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	r := &http.Request{Proto: "HTTP/2.0", ProtoMajor: 2, RemoteAddr: c.remote, TLS: c.tls, Header: make(http.Header, len(f.Fields))}
	var scheme, path string
	refuse := 0
	values := make([]string, len(f.Fields)) // of all headers, one allocation
	for i, h := range f.Fields {
		switch h.Name {
		case ":method":
			r.Method = h.Value
		case ":scheme":
			scheme = h.Value
		case ":authority":
			r.Host = h.Value
		case ":path":
			path = h.Value
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			refuse = http.StatusBadRequest
		case "te":
			if h.Value != "trailers" && h.Value != "" {
				refuse = http.StatusBadRequest
			}
			r.Header["Te"] = append(r.Header["Te"], h.Value)
		default:
			if h.IsPseudo() {
				return nil, malformed // :protocol is not offered, others are unknown
			}
			name := c.canonical(h.Name)
			if have, ok := r.Header[name]; ok {
				r.Header[name] = append(have, h.Value)
				continue
			}
			values[i] = h.Value
			r.Header[name] = values[i : i+1 : i+1]
		}
	}
	if f.Truncated {
		refuse = http.StatusRequestHeaderFieldsTooLarge
		r.Method, scheme, path = "GET", "https", "/" // what there is of them is not to be trusted
	}
	if r.Method == http.MethodConnect {
		if path != "" || scheme != "" || r.Host == "" {
			return nil, malformed
		}
		r.URL, r.RequestURI = &url.URL{Host: r.Host}, r.Host
	} else {
		if r.Method == "" || path == "" || scheme != "https" && scheme != "http" {
			return nil, malformed
		}
		var err error
		if r.URL, err = url.ParseRequestURI(path); err != nil {
			return nil, malformed
		}
		r.RequestURI = path
	}
	if r.Host == "" {
		r.Host = r.Header.Get("Host")
	}
	if !httpguts.ValidHostHeader(r.Host) {
		refuse = http.StatusBadRequest
	}
	delete(r.Header, "Host")
	return c.finishStream(f, r, refuse)
}

// finishStream: the body, and what headers say about it.
func (c *conn) finishStream(f *http2.MetaHeadersFrame, r *http.Request, refuse int) (*stream, error) {
	malformed := http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	s := &stream{
		c: c, id: f.StreamID, request: r, declare: -1, remoteDone: f.StreamEnded(),
		recvWindow: int64(c.srv.o.StreamWindow),
	}
	if cookies := r.Header["Cookie"]; len(cookies) > 1 {
		r.Header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
	if v, ok := r.Header["Content-Length"]; ok {
		n, err := strconv.ParseUint(v[0], 10, 63)
		if err != nil || len(v) > 1 {
			return nil, malformed
		}
		s.declare = int64(n)
	}
	r.ContentLength = s.declare
	if s.remoteDone {
		if s.declare > 0 {
			return nil, malformed
		}
		r.ContentLength, r.Body = 0, http.NoBody
	} else {
		r.Body = body{s}
		if httpguts.HeaderValuesContainsToken(r.Header["Expect"], "100-continue") {
			s.proceed = true
			delete(r.Header, "Expect")
		}
		declareTrailers(r)
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(c.base)
	s.request = r.WithContext(ctx)
	if b, ok := r.Body.(body); ok {
		s.request.Body = b
	}
	s.answer.s, s.answer.refuse = s, refuse
	s.answer.header = make(http.Header, 6)
	c.mu.Lock()
	s.arrived.L = &c.mu
	s.window = c.startWindow
	c.mu.Unlock()
	return s, nil
}

// declareTrailers makes room for those that the request announces.
func declareTrailers(r *http.Request) {
	for _, list := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			if name == "" || !httpguts.ValidTrailerHeader(name) {
				continue
			}
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			r.Trailer[name] = nil
		}
	}
	delete(r.Header, "Trailer")
}
