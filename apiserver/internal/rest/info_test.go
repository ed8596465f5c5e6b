package rest

import (
	"net/http/httptest"
	"testing"
)

func TestParseInfo(t *testing.T) {
	const pods = "/api/v1/namespaces/n/pods"
	for target, want := range map[string]struct{ verb, name string }{
		pods:                    {"list", ""},
		pods + "/a":             {"get", "a"},
		pods + "?watch=1":       {"watch", ""},
		pods + "?watch=True":    {"watch", ""}, // Python's client
		pods + "?watch=yes":     {"watch", ""},
		pods + "?watch":         {"watch", ""},
		pods + "?watch=false":   {"list", ""},
		pods + "?watch=FALSE":   {"list", ""},
		pods + "?watch=0":       {"list", ""},
		pods + "/a?watch=true":  {"get", "a"},
		"/api/v1/watch/pods":    {"watch", ""},
		pods + "?watch=t&limit": {"watch", ""},
		pods + "?fieldSelector=metadata.name%3Da":                              {"list", "a"},
		pods + "?fieldSelector=metadata.name%3D%3Da":                           {"list", "a"},
		pods + "?fieldSelector=metadata.name%3Da,spec.nodeName%3Db":            {"list", "a"},
		pods + "?fieldSelector=spec.nodeName%3Db,metadata.name%3Da&watch=true": {"watch", "a"},
		pods + "?fieldSelector=metadata.name!%3Da":                             {"list", ""},
		pods + "?fieldSelector=metadata.name%3D..":                             {"list", ""},
		pods + "?fieldSelector=metadata.namespace%3Da":                         {"list", ""},
	} {
		i := ParseInfo(httptest.NewRequest("GET", target, nil))
		if i.Verb != want.verb || i.Name != want.name {
			t.Errorf("%s: verb %q name %q, want %q %q", target, i.Verb, i.Name, want.verb, want.name)
		}
	}
}

// What is another server's to answer is passed on with methods that no
// resource of our own has.
func TestProxies(t *testing.T) {
	for target, want := range map[string]bool{
		"/api/v1/namespaces/n/pods/a/proxy/path":        true,
		"/api/v1/namespaces/n/services/http:a:80/proxy": true,
		"/api/v1/nodes/a/proxy/metrics":                 true,
		"/api/v1/namespaces/n/pods/a/log":               false,
		"/api/v1/namespaces/n/configmaps/a/proxy":       false,
		"/apis/apps/v1/namespaces/n/deployments/a":      false,
	} {
		for _, method := range []string{"HEAD", "OPTIONS"} {
			i := ParseInfo(httptest.NewRequest(method, target, nil))
			if got := proxies(&i) && proxyMethods[method]; got != want {
				t.Errorf("%s %s is passed on: %t, want %t", method, target, got, want)
			}
		}
	}
}
