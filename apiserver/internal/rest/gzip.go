package rest

import (
	"net/http"

	"xebec.dev/apiserver/internal/encode"
	"xebec.dev/apiserver/internal/storage"
)

// writeList answers a list, compressed when it is large and the client accepts
// that. An error before the first byte is the caller's to answer; after it the
// connection is cut, so that half a list is not taken for a whole one.
func (x *exchange) writeList(f encode.Format, l *storage.List) error {
	out := encode.NewResponse(x.w, x.r.Header.Get("Accept-Encoding"), func() {
		head(x.w, x.r, f.ContentType(), http.StatusOK)
	})
	err := x.encoder(&x.t).WriteList(out, f, l)
	if err == nil {
		_ = out.Close() // an error means that the client is gone
		return nil
	}
	out.Abandon()
	switch {
	case out.Lost():
		return nil
	case out.Sent():
		panic(http.ErrAbortHandler)
	}
	return err
}
