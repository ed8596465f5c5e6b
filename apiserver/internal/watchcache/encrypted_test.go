package watchcache_test

import (
	"bytes"
	"context"
	"testing"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
	"xebec.dev/apiserver/internal/storage/encrypt"
	"xebec.dev/apiserver/internal/storage/kv"
	"xebec.dev/apiserver/internal/storage/memory"
	"xebec.dev/apiserver/internal/storage/storagetest"
	"xebec.dev/apiserver/internal/storage/value"
	"xebec.dev/apiserver/internal/watchcache"
)

const encryption = `
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [configmaps]
  providers:
  - aesgcm: {keys: [{name: k, secret: MDEyMzQ1Njc4OWFiY2RlZg==}]}
  - identity: {}
`

// Values are encrypted below and plain above; what was plain before stays
// readable; what was moved to another key does not.
func TestEncrypted(t *testing.T) {
	m := memory.New()
	ctx := context.Background()
	raw := storagetest.ConfigMap("a", "x", "open", nil)
	if _, err := open(t, m).Collection(storagetest.ConfigMaps).Create(ctx, "a", "plain", storagetest.ConfigMap("a", "plain", "open", nil), 0); err != nil {
		t.Fatal(err)
	}
	config, err := encrypt.Parse([]byte(encryption), encrypt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	transformer := func(r *scheme.Resource) value.Transformer { return config.Transformer(r) }
	c := openWith(t, m, watchcache.Options{Transformer: transformer}).Collection(storagetest.ConfigMaps)
	o, err := c.Create(ctx, "a", "x", raw, 0)
	if err != nil {
		t.Fatal(err)
	}
	e, _, err := m.Get(ctx, "configmaps/a/x", 0)
	if err != nil || !bytes.HasPrefix(e.Value, []byte("k8s:enc:aesgcm:v1:k:")) || bytes.Contains(e.Value, []byte("open")) {
		t.Fatalf("stored %q, %v", e.Value, err)
	}
	other := openWith(t, m, watchcache.Options{Transformer: transformer}).Collection(storagetest.ConfigMaps)
	l, err := other.List(ctx, storage.ListOptions{})
	if err != nil || len(l.Objects) != 2 || !bytes.Equal(l.Objects[1].Raw, raw) || l.Objects[1].Revision != o.Revision {
		t.Fatalf("list: %v, %v", l, err)
	}
	if !l.Objects[0].Stale || l.Objects[1].Stale {
		t.Error("it is the plain value that should be written again")
	}
	if _, _, err := m.Apply(ctx, []kv.Write{{Key: "configmaps/a/y", Value: e.Value}}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Get(ctx, "a", "y", storage.Fresh, 0); err == nil {
		t.Fatal("a value that was moved is read")
	}
}
