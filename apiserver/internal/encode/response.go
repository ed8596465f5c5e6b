package encode

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// CompressAbove is the length that answers exceed to be compressed for clients
// that accept it. Up to it, gzip costs more than the network saves.
const CompressAbove = 128 << 10

// Response writes the body of one answer. The head goes out with the first
// bytes, so that until then an error can be answered instead. Large bodies are
// compressed. End it with Close or Abandon.
type Response struct {
	w      http.ResponseWriter
	head   func()
	accept bool
	// held is kept back until it is known whether the body is large.
	held    []byte
	zip     *gzip.Writer
	started bool
	lost    bool
}

// NewResponse answers on w. acceptEncoding is the request's header; head sets
// the headers and writes the status, after the encoding is set.
func NewResponse(w http.ResponseWriter, acceptEncoding string, head func()) *Response {
	return &Response{w: w, head: head, accept: acceptsGzip(acceptEncoding)}
}

func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		if strings.TrimSpace(part) == "gzip" {
			return true
		}
	}
	return false
}

// Sent reports whether anything has been sent, so that it is too late for
// another answer.
func (r *Response) Sent() bool { return r.started }

// Lost reports whether the client is gone.
func (r *Response) Lost() bool { return r.lost }

// Write takes the next bytes of the body.
func (r *Response) Write(b []byte) (int, error) {
	if !r.started && r.accept && len(r.held)+len(b) <= CompressAbove {
		r.held = append(r.held, b...)
		return len(b), nil
	}
	if !r.started {
		held := r.held
		r.held = nil
		r.start(r.accept)
		if _, err := r.send(held); err != nil {
			return 0, err
		}
	}
	return r.send(b)
}

func (r *Response) send(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	if r.zip != nil {
		n, err = r.zip.Write(b)
	} else {
		n, err = r.w.Write(b)
	}
	r.lost = r.lost || err != nil
	return n, err
}

// zippers are reused: each has a megabyte of tables.
var zippers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err)
	}
	return z
}}

func (r *Response) start(compressed bool) {
	r.started = true
	if compressed {
		h := r.w.Header()
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		r.zip = zippers.Get().(*gzip.Writer)
		r.zip.Reset(r.w)
	}
	r.head()
}

// Close sends what is held back and ends the body.
func (r *Response) Close() error {
	if !r.started {
		r.start(false)
		_, err := r.send(r.held)
		r.held = nil
		return err
	}
	if r.zip == nil {
		return nil
	}
	err := r.zip.Close()
	r.lost = r.lost || err != nil
	r.release()
	return err
}

// Abandon is Close for an answer that failed: nothing more is sent.
func (r *Response) Abandon() {
	r.held = nil
	if r.zip != nil {
		r.release()
	}
}

func (r *Response) release() {
	r.zip.Reset(nil)
	zippers.Put(r.zip)
	r.zip = nil
}
