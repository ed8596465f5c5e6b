package server

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// served applies --runtime-config: the most specific word on a version wins,
// then api/alpha, api/beta, api/ga and api/all, then the table.
func (s *Server) served(gv schema.GroupVersion, resource string) bool {
	rc := s.cfg.RuntimeConfig
	keys := []string{gv.String() + "/" + resource, gv.String()}
	if gv.Group == "" {
		keys = append(keys, "api/"+gv.Version)
	}
	keys = append(keys, stage(gv.Version), "api/all")
	for _, k := range keys {
		if v, ok := rc[k]; ok {
			return v == "" || v == "true"
		}
	}
	r, ok := s.scheme.At(gv.WithResource(resource))
	return ok && !r.At.OffByDefault
}

// carried reports whether gRPC, which knows objects by their storage version
// alone, may carry a resource: when any of its versions is served.
func (s *Server) carried(gv schema.GroupVersion, resource string) bool {
	r, ok := s.scheme.At(gv.WithResource(resource))
	if !ok {
		return false
	}
	for _, v := range r.ServedVersions() {
		if s.served(schema.GroupVersion{Group: v.Group, Version: v.Version}, resource) {
			return true
		}
	}
	return false
}

func stage(version string) string {
	switch {
	case strings.Contains(version, "alpha"):
		return "api/alpha"
	case strings.Contains(version, "beta"):
		return "api/beta"
	}
	return "api/ga"
}
