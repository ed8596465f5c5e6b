package rest

import (
	"compress/gzip"
	"net/http"
	"strings"
	"sync"
)

// compressFrom is the size in bytes from which lists are compressed for
// clients that accept it: below, the CPU costs more than the network.
const compressFrom = 128 << 10

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is a valid constant
	return w
}}

// listWriter writes the head with the first bytes, so that an encoder's
// early error can still become a Status, and compresses large answers.
type listWriter struct {
	w           http.ResponseWriter
	r           *http.Request
	contentType string
	started     bool
	zip         *gzip.Writer
}

func newListWriter(w http.ResponseWriter, r *http.Request, contentType string) *listWriter {
	return &listWriter{w: w, r: r, contentType: contentType}
}

func (l *listWriter) Write(b []byte) (int, error) {
	if !l.started {
		l.started = true
		if len(b) >= compressFrom && strings.Contains(l.r.Header.Get("Accept-Encoding"), "gzip") {
			l.zip = gzipWriters.Get().(*gzip.Writer)
			l.zip.Reset(l.w)
			l.w.Header().Set("Content-Encoding", "gzip")
			l.w.Header().Add("Vary", "Accept-Encoding")
		}
		head(l.w, l.r, l.contentType, http.StatusOK)
	}
	if l.zip != nil {
		return l.zip.Write(b)
	}
	return l.w.Write(b)
}

func (l *listWriter) Close() {
	if l.zip != nil {
		_ = l.zip.Close() // the client is gone
		gzipWriters.Put(l.zip)
	}
}
