package rest

import (
	"net/http"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/apiserver/internal/encode"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
	"xebec.dev/apiserver/internal/storage"
)

// buffers are reused between answers; large ones are let go.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

const keepBuffer = 256 << 10

func release(p *[]byte, b []byte) {
	if cap(b) <= keepBuffer {
		*p = b[:0]
		buffers.Put(p)
	}
}

// recorder remembers the status code for metrics and audit.
type recorder struct {
	http.ResponseWriter
	status int
	sent   int
}

func (r *recorder) Write(b []byte) (int, error) {
	n, err := r.ResponseWriter.Write(b)
	r.sent += n
	return n, err
}

func (r *recorder) WriteHeader(code int) {
	if r.status == 0 {
		r.status = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController and hijackers reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// head writes warnings, content type and status.
func head(w http.ResponseWriter, r *http.Request, contentType string, code int) {
	if q := request.From(r.Context()); q != nil {
		for _, text := range q.Warnings() {
			w.Header().Add("Warning", warningHeader(text))
		}
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(code)
}

// warningHeader is RFC 7234's form with the code that Kubernetes uses.
func warningHeader(text string) string {
	var b strings.Builder
	b.WriteString(`299 - "`)
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c < ' ' || c == 0x7f:
			b.WriteByte(' ')
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// send writes a whole body, compressed when it is large and the client accepts
// that. A client that is gone needs no answer.
func send(w http.ResponseWriter, r *http.Request, f encode.Format, code int, b []byte) {
	if len(b) <= encode.CompressAbove {
		head(w, r, f.ContentType(), code)
		_, _ = w.Write(b)
		return
	}
	out := encode.NewResponse(w, r.Header.Get("Accept-Encoding"), func() { head(w, r, f.ContentType(), code) })
	_, _ = out.Write(b)
	_ = out.Close()
}

func writeAny(w http.ResponseWriter, r *http.Request, f encode.Format, code int, obj runtime.Object) {
	f.Pretty = f.Pretty || encode.PrettyFor(r.URL.Query()["pretty"], r.UserAgent())
	p := buffers.Get().(*[]byte)
	b, err := encode.AppendAny((*p)[:0], f, schema.GroupVersionKind{}, obj)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, r, f, code, b)
	release(p, b)
}

// writeObject answers one stored object.
func (h *Handler) writeObject(w http.ResponseWriter, r *http.Request, t *registry.Target, f encode.Format, code int, o *storage.Object) error {
	p := buffers.Get().(*[]byte)
	b, err := h.encoder(t).AppendObject((*p)[:0], f, o)
	if err != nil {
		return err
	}
	send(w, r, f, code, b)
	release(p, b)
	return nil
}

// writeResult answers a write.
func (h *Handler) writeResult(w http.ResponseWriter, r *http.Request, t *registry.Target, f encode.Format, res *registry.Result) error {
	code := http.StatusOK
	if res.Created {
		code = http.StatusCreated
	}
	if res.Other == nil {
		return h.writeObject(w, r, t, f, code, res.Stored)
	}
	if f.Shape != encode.Whole {
		f = encode.NegotiateError(r.Header.Get("Accept"))
	}
	writeAny(w, r, f, code, res.Other)
	return nil
}

func (h *Handler) encoder(t *registry.Target) *encode.Encoder {
	return h.encoders[schema.GroupVersionResource{Group: t.At.Group, Version: t.At.Version, Resource: t.Plural}]
}
