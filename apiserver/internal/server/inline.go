package server

import (
	"net/http"
	"slices"

	authzsetup "xebec.dev/apiserver/internal/authz/setup"
	"xebec.dev/apiserver/internal/rest"
)

// inline reports the requests that are answered from memory, so that the
// connection's reader may handle them: one object as the cache has it, asked
// for by a client with a certificate and nobody else to be asked or told.
func (s *Server) inline(r *http.Request) bool {
	if r.Method != http.MethodGet || r.URL.RawQuery != "resourceVersion=0" || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 ||
		r.Header["Authorization"] != nil || s.records != nil || slices.Contains(s.cfg.Authz.Modes, authzsetup.ModeWebhook) || s.cfg.Authz.ConfigFile != "" ||
		s.refusing.Load() || !s.hooks.finished("storage-readiness") {
		return false
	}
	info := rest.ParseInfo(r)
	return info.Verb == "get" && info.Name != "" && info.Subresource == ""
}
