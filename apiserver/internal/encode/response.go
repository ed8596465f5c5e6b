package encode

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// compressFrom is the length from which an answer is compressed for clients
// that accept it. Below, gzip costs more than the network saves.
const compressFrom = 128 << 10

// Response writes the body of one answer. The head goes out with the first
// bytes, so that until then an error can be answered instead. Large bodies are
// compressed. Close it.
type Response struct {
	w      http.ResponseWriter
	begin  func(header http.Header)
	accept bool
	// held is kept back until it is known whether the body is large.
	held    []byte
	zip     *gzip.Writer
	started bool
}

// NewResponse answers with a body of a format. acceptEncoding is the request's
// header; begin, when not nil, adds headers before they are sent.
func NewResponse(w http.ResponseWriter, contentType string, code int, acceptEncoding string, begin func(http.Header)) *Response {
	return &Response{w: w, accept: acceptsGzip(acceptEncoding), begin: func(h http.Header) {
		h.Set("Content-Type", contentType)
		if begin != nil {
			begin(h)
		}
		w.WriteHeader(code)
	}}
}

func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		if strings.TrimSpace(part) == "gzip" {
			return true
		}
	}
	return false
}

// Started reports whether anything has been sent.
func (r *Response) Started() bool { return r.started }

// Write takes the next bytes of the body.
func (r *Response) Write(b []byte) (int, error) {
	switch {
	case r.zip != nil:
		return r.zip.Write(b)
	case r.started:
		return r.w.Write(b)
	case !r.accept:
		r.start(false)
		return r.w.Write(b)
	case len(r.held)+len(b) < compressFrom:
		r.held = append(r.held, b...)
		return len(b), nil
	}
	r.start(true)
	if _, err := r.zip.Write(r.held); err != nil {
		return 0, err
	}
	r.held = nil
	return r.zip.Write(b)
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
	r.begin(r.w.Header())
}

// Close sends what is held back and ends the body.
func (r *Response) Close() error {
	if r.zip != nil {
		err := r.zip.Close()
		r.zip.Reset(nil)
		zippers.Put(r.zip)
		r.zip = nil
		return err
	}
	if !r.started {
		r.start(false)
		_, err := r.w.Write(r.held)
		r.held = nil
		return err
	}
	return nil
}

// Abandon is Close for an answer that failed: nothing more is sent, and the
// compressor is given back.
func (r *Response) Abandon() {
	if r.zip != nil {
		r.zip.Reset(nil)
		zippers.Put(r.zip)
		r.zip = nil
	}
	r.held = nil
	r.started = true
}
