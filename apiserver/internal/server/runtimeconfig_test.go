package server

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
	"xebec.dev/apiserver/internal/config"
)

func TestServed(t *testing.T) {
	bundles := func(version string) schema.GroupVersion {
		return schema.GroupVersion{Group: "certificates.k8s.io", Version: version}
	}
	for _, c := range []struct {
		config           map[string]string
		v1, v1beta1, own bool
	}{
		{nil, true, false, true}, // stored as v1beta1
		{map[string]string{"api/beta": "true"}, true, true, true},
		{map[string]string{"certificates.k8s.io/v1": "false"}, false, false, false},
		{map[string]string{"api/all": "false", "certificates.k8s.io/v1": "true"}, true, false, true},
	} {
		s := &Server{cfg: &config.Config{RuntimeConfig: c.config}, scheme: builtin.Scheme()}
		const resource = "clustertrustbundles"
		if a, b, o := s.served(bundles("v1"), resource), s.served(bundles("v1beta1"), resource), s.carried(bundles("v1beta1"), resource); a != c.v1 || b != c.v1beta1 || o != c.own {
			t.Errorf("%v: v1 %v, v1beta1 %v, by gRPC %v", c.config, a, b, o)
		}
	}
}
