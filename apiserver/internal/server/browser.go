package server

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"

	"xebec.dev/apiserver/internal/nodeproxy"
	"xebec.dev/apiserver/internal/rest"
)

// surroundings add what is the same for all requests: none that has been passed
// on to a node, who in a browser may read the answer, that HTTPS is to stay, and
// now and then that the client shall connect anew.
func (s *Server) surroundings(next http.Handler) (http.Handler, error) {
	c := s.cfg
	next = s.leaving(notReturned(next))
	if c.GoAway > 0 {
		next = goAway(next, c.GoAway)
	}
	if len(c.Origins) > 0 {
		origins := make([]*regexp.Regexp, len(c.Origins))
		for i, text := range c.Origins {
			if !strings.Contains(text, "//") && !strings.HasPrefix(text, "^") {
				return nil, fmt.Errorf("--cors-allowed-origins: %q must hold on to the beginning of the host: begin it with // or ^", text)
			}
			var err error
			if origins[i], err = regexp.Compile(text); err != nil {
				return nil, fmt.Errorf("--cors-allowed-origins: %w", err)
			}
		}
		next = cors(next, origins)
	}
	if len(c.HSTS) == 0 {
		return next, nil
	}
	for _, d := range c.HSTS {
		if !regexp.MustCompile(`^(max-age=[0-9]+|includeSubDomains|preload)$`).MatchString(d) {
			return nil, fmt.Errorf("--strict-transport-security-directives: %q is neither max-age=SECONDS, includeSubDomains nor preload", d)
		}
	}
	value := strings.Join(c.HSTS, "; ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Strict-Transport-Security", value)
		next.ServeHTTP(w, r)
	}), nil
}

// notReturned refuses what this server, or another one, sent to a node.
func notReturned(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if nodeproxy.Returned(r.Header) {
			rest.Fail(w, r, nodeproxy.ErrReturned)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// cors lets pages of the origins call. It stands before authentication:
// browsers ask first, without credentials.
func cors(next http.Handler, origins []*regexp.Regexp) http.Handler {
	allowed := func(origin string) bool {
		for _, o := range origins {
			if o.MatchString(origin) {
				return true
			}
		}
		return false
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if origin == "" || !allowed(origin) {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE, PATCH")
		h.Set("Access-Control-Allow-Headers", "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, If-Modified-Since")
		h.Set("Access-Control-Expose-Headers", "Date")
		h.Set("Access-Control-Allow-Credentials", "true")
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// goAway has HTTP/2 connections end: the server's transport answers
// "Connection: close" with GOAWAY and serves what is open.
func goAway(next http.Handler, chance float64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && rand.Float64() < chance {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
