package watchcache

import (
	"encoding/base64"
	"fmt"
	"testing"
)

// Tokens of Kubernetes' servers, old and new.
func TestDecodeContinue(t *testing.T) {
	for _, c := range []struct {
		token, namespace string
		want             string
	}{
		{`{"v":"meta.k8s.io/v1","rv":7,"start":"web\u0000"}`, "shop", "shop/web\x00 7"},
		{`{"v":"meta.k8s.io/v1","rv":7,"start":"/web\u0000"}`, "shop", "shop/web\x00 7"},
		{`{"v":"meta.k8s.io/v1","rv":7,"start":"shop/web\u0000"}`, "", "shop/web\x00 7"},
		{`{"v":"meta.k8s.io/v1","rv":7,"start":"/shop/web\u0000"}`, "", "shop/web\x00 7"},
		{`{"v":"meta.k8s.io/v1","rv":7,"start":"//web\u0000"}`, "shop", "refused"},
		{`{"v":"meta.k8s.io/v1","rv":7,"start":"/../other/web"}`, "shop", "refused"},
		{`{"v":"meta.k8s.io/v1","rv":7,"start":"../other/web"}`, "shop", "refused"},
		{`{"v":"meta.k8s.io/v1","rv":7,"start":"/"}`, "shop", "shop/ 7"},
		{`{"v":"meta.k8s.io/v1","rv":7,"start":"/"}`, "", "/ 7"},
		{`{"v":"meta.k8s.io/v1","rv":7,"start":""}`, "shop", "refused"},
	} {
		got := "refused"
		k, rv, err := decodeContinue(base64.RawURLEncoding.EncodeToString([]byte(c.token)), c.namespace, true)
		if err == nil {
			got = fmt.Sprintf("%s/%s %d", k.namespace, k.name, rv)
		}
		if got != c.want {
			t.Errorf("%s in %q: %q, want %q", c.token, c.namespace, got, c.want)
		}
	}
}
