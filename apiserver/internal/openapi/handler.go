package openapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"xebec.dev/apiserver/internal/discovery"
)

// Media types of the protobuf forms, and their older spellings.
const (
	typeJSON  = "application/json"
	typeV2    = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
	typeV2Old = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
	typeV3    = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
	typeV3Old = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
)

// Handler serves OpenAPI. Its groups may be replaced at any time.
type Handler struct {
	release string
	current atomic.Pointer[state]
}

type state struct {
	v3    map[string]*document
	v2    *document
	index []byte
	etag  string
}

// NewHandler makes a handler that knows no group yet. release is the server's
// version, "v1.37.2".
func NewHandler(release string) *Handler {
	h := &Handler{release: release}
	h.Set(nil)
	return h
}

// Set replaces all groups, in order. The kinds of their resources are built-in
// or among the custom ones. Documents are built when they are asked for, those
// that have not changed only once.
func (h *Handler) Set(groups []discovery.Group, custom ...CustomKind) {
	s := &state{}
	s.v3, s.v2 = documents(h.release, groups, custom)
	if was := h.current.Load(); was != nil {
		s.keep(was)
	}
	type entry struct {
		ServerRelativeURL string `json:"serverRelativeURL"`
	}
	index := struct {
		Paths map[string]entry `json:"paths"`
	}{map[string]entry{}}
	for path, d := range s.v3 {
		index.Paths[path] = entry{address(path, d.etag)}
	}
	s.index, _ = json.Marshal(index) // plain strings
	s.etag = etag("index", index)
	h.current.Store(s)
}

// keep takes over the documents that are the same as before.
func (s *state) keep(was *state) {
	for path, d := range s.v3 {
		if old := was.v3[path]; old != nil && old.etag == d.etag {
			s.v3[path] = old
		}
	}
	if was.v2 != nil && was.v2.etag == s.v2.etag {
		s.v2 = was.v2
	}
}

func address(path, etag string) string {
	u := url.URL{Path: "/openapi/v3/" + path, RawQuery: url.Values{"hash": {etag}}.Encode()}
	return u.String()
}

// Serve answers a GET below /openapi. found is false when the path is none of
// OpenAPI's.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request) (found bool, err error) {
	s := h.current.Load()
	switch path := r.URL.Path; {
	case path == "/openapi/v2":
		return true, s.serveV2(w, r)
	case path == "/openapi/v3" || path == "/openapi/v3/":
		s.serveIndex(w, r)
		return true, nil
	case strings.HasPrefix(path, "/openapi/v3/"):
		return true, s.serveV3(w, r, strings.TrimPrefix(path, "/openapi/v3/"))
	}
	return false, nil
}

func (s *state) serveIndex(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("ETag", strconv.Quote(s.etag))
	if unchanged(w, r, s.etag) {
		return
	}
	header.Set("Content-Type", typeJSON)
	header.Set("Content-Length", strconv.Itoa(len(s.index)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(s.index) // the client is gone
}

func (s *state) serveV2(w http.ResponseWriter, r *http.Request) error {
	w.Header().Add("Vary", "Accept")
	f, media, ok := accept(r, typeV2, typeV2Old)
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return nil
	}
	return s.v2.serve(w, r, f, media)
}

func (s *state) serveV3(w http.ResponseWriter, r *http.Request, path string) error {
	d := s.v3[path]
	if d == nil {
		w.WriteHeader(http.StatusNotFound)
		return nil
	}
	w.Header().Add("Vary", "Accept")
	f, media, ok := accept(r, typeV3, typeV3Old)
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return nil
	}
	if hash := r.URL.Query().Get("hash"); hash != "" {
		if hash != d.etag {
			http.Redirect(w, r, address(path, d.etag), http.StatusMovedPermanently)
			return nil
		}
		// What has this hash never changes.
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).Format(time.RFC1123))
	}
	return d.serve(w, r, f, media)
}

// serve sends a form of the document, gzipped when the client takes that.
func (d *document) serve(w http.ResponseWriter, r *http.Request, f form, media string) error {
	header := w.Header()
	header.Set("ETag", strconv.Quote(d.etag))
	if unchanged(w, r, d.etag) {
		return nil
	}
	data, err := d.zipped(f)
	if err != nil {
		return err
	}
	header.Set("Content-Type", media)
	if takesGzip(r) {
		header.Set("Content-Encoding", "gzip")
		header.Add("Vary", "Accept-Encoding")
	} else if data, err = unzip(data); err != nil {
		return err
	}
	header.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(data) // the client is gone
	return nil
}

// unchanged answers 304 when the client has what it asks for.
func unchanged(w http.ResponseWriter, r *http.Request, etag string) bool {
	for _, have := range strings.Split(r.Header.Get("If-None-Match"), ",") {
		if have = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(have), "W/")); have == strconv.Quote(etag) || have == "*" {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

func takesGzip(r *http.Request) bool {
	for _, e := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(e), ";")
		if name == "gzip" && strings.ReplaceAll(q, " ", "") != "q=0" {
			return true
		}
	}
	return false
}

// accept chooses between JSON and protobuf, in the order the client names
// them.
func accept(r *http.Request, protobuf, old string) (form, string, bool) {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if header == "" {
		return formJSON, typeJSON, true
	}
	for _, clause := range strings.Split(header, ",") {
		media, _, _ := strings.Cut(clause, ";")
		switch strings.TrimSpace(media) {
		case typeJSON, "application/*", "*/*":
			return formJSON, typeJSON, true
		case protobuf, old:
			return formProtobuf, protobuf, true
		}
	}
	return 0, "", false
}
