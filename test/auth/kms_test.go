package auth

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kmspb "xebec.dev/proto/gen/plugin/kms/v2"
	"xebec.dev/test/apiservertest"
)

func encryptionConfig(providers ...string) string {
	return "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - " + strings.Join(providers, "\n  - ") + "\n"
}

func kmsProvider(name string, k *keeper) string {
	return fmt.Sprintf("kms: {apiVersion: v2, name: %s, endpoint: %q, timeout: 1s}", name, k.endpoint())
}

const kmsPrefix = "k8s:enc:kms:v2:vault:"

// vault is a server whose secrets a KMS plugin protects, over an etcd that the
// test can look into.
type vault struct {
	t testing.TB
	*apiservertest.Server
	db *clientv3.Client
}

func newVault(t *testing.T, args ...string) *vault {
	etcd := apiservertest.StartEtcd(t)
	db, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // the test is over
	return &vault{t: t, db: db, Server: apiservertest.Start(t, append(args, "--etcd-servers="+etcd)...)}
}

func (v *vault) create(name string) error {
	return call(v.t, v.Server, admin(v.t, v.Server), http.MethodPost, secrets, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"k": "canary"},
	}, nil)
}

func (v *vault) read(name string) error {
	var o corev1.Secret
	if err := call(v.t, v.Server, admin(v.t, v.Server), http.MethodGet, secrets+"/"+name, nil, &o); err != nil {
		return err
	}
	if string(o.Data["k"]) != "canary" {
		return fmt.Errorf("data is %q", o.Data)
	}
	return nil
}

// rewrite puts what was read: with another key in use it is stored anew.
func (v *vault) rewrite(name string) {
	v.t.Helper()
	var o corev1.Secret
	if err := call(v.t, v.Server, admin(v.t, v.Server), http.MethodGet, secrets+"/"+name, nil, &o); err != nil {
		v.t.Fatal(err)
	}
	if err := call(v.t, v.Server, admin(v.t, v.Server), http.MethodPut, secrets+"/"+name, &o, nil); err != nil {
		v.t.Fatal(err)
	}
}

// stored is a secret as etcd has it.
func (v *vault) stored(name string) *kmspb.EncryptedObject {
	v.t.Helper()
	r, err := v.db.Get(v.t.Context(), "/registry/secrets/default/"+name)
	if err != nil || len(r.Kvs) != 1 {
		v.t.Fatalf("%v, %v", r, err)
	}
	raw, ok := bytes.CutPrefix(r.Kvs[0].Value, []byte(kmsPrefix))
	if !ok || bytes.Contains(raw, []byte("canary")) {
		v.t.Fatalf("stored as %q", r.Kvs[0].Value)
	}
	o := &kmspb.EncryptedObject{}
	if err := proto.Unmarshal(raw, o); err != nil {
		v.t.Fatal(err)
	}
	return o
}

func (v *vault) health(path string) error {
	var text string
	return call(v.t, v.Server, admin(v.t, v.Server), http.MethodGet, path, nil, &text)
}

func TestKMS(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	stop := k.serve(t)
	config := write(t, filepath.Join(t.TempDir(), "encryption.yaml"), encryptionConfig(kmsProvider("vault", k), "identity: {}"))
	v := newVault(t, "--encryption-provider-config="+config)
	for i := range 20 {
		if err := v.create(fmt.Sprintf("s%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	one, two := v.stored("s0"), v.stored("s1")
	if one.KeyId != "key-1" || string(one.Annotations["kept.example.com"]) != "key-1" || one.EncryptedDekSourceType != kmspb.SourceType_HKDF_SHA256_XNONCE_AES_GCM_SEED {
		t.Errorf("stored %+v", one)
	}
	if !bytes.Equal(one.EncryptedDekSource, two.EncryptedDekSource) || bytes.Equal(one.EncryptedData[:32], two.EncryptedData[:32]) {
		t.Error("a seed is for many values, each of which has a key of its own")
	}
	if n := k.encrypts.Load(); n != 1 {
		t.Errorf("%d calls to encrypt for 20 values", n)
	}
	if err := v.read("s0"); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"/healthz/kms-providers", "/livez/kms-providers", "/readyz/kms-providers"} {
		if err := v.health(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	t.Run("rotation", func(t *testing.T) {
		k.rotate(t, "key-2")
		// Whoever asks for health has the plugin asked.
		n := 0
		eventually(t, "the new key", func() error {
			n++
			if err := v.health("/healthz/kms-providers"); err != nil {
				return err
			}
			name := fmt.Sprintf("r%d", n)
			if err := v.create(name); err != nil {
				return err
			}
			if id := v.stored(name).KeyId; id != "key-2" {
				return errors.New(id)
			}
			return nil
		})
		if err := v.read("s0"); err != nil {
			t.Error(err)
		}
		eventually(t, "the old value in the new key", func() error {
			v.rewrite("s0")
			if id := v.stored("s0").KeyId; id != "key-2" {
				return errors.New(id)
			}
			return nil
		})
		if v.stored("s1").KeyId != "key-1" {
			t.Error("what nobody wrote has changed")
		}
	})
	t.Run("restart", func(t *testing.T) {
		v.Stop(t)
		k.rotate(t, "key-3")
		v.Run(t)
		before := k.decrypts.Load()
		for i := range 20 {
			if err := v.read(fmt.Sprintf("s%d", i)); err != nil {
				t.Error(err)
			}
		}
		if n := k.decrypts.Load(); n != before || n > 10 {
			t.Errorf("%d calls to decrypt, %d of them to read: seeds are few and remembered", n, n-before)
		}
		// It is known at once that the key is another now.
		v.rewrite("s2")
		if id := v.stored("s2").KeyId; id != "key-3" {
			t.Error(id)
		}
	})
	t.Run("moved", func(t *testing.T) {
		r, err := v.db.Get(t.Context(), "/registry/secrets/default/s3")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.db.Put(t.Context(), "/registry/secrets/default/s4", string(r.Kvs[0].Value)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the refusal", func() error {
			if err := v.read("s4"); err == nil {
				return errors.New("a value under another key is read")
			}
			return nil
		})
		if _, err := v.db.Delete(t.Context(), "/registry/secrets/default/s4"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("down", func(t *testing.T) {
		stop()
		// What is known stays readable and writable for a while.
		if err := v.read("s5"); err != nil {
			t.Error(err)
		}
		if err := v.create("while-down"); err != nil {
			t.Error(err)
		}
		v.Stop(t)
		k.serve(t)
		v.Run(t)
	})
	if n := metric(t, v.Server, fmt.Sprintf(`apiserver_envelope_encryption_key_id_hash_total{apiserver_id_hash=%q,key_id_hash=%q,provider_name="vault",transformation_type="from_storage"}`,
		identity(), hashOf("key-3"))); n != 1 {
		t.Errorf("uses of the key: %v", n)
	}
}

// A plugin that comes late is found; what could not be read then can be.
func TestKMSDownAtStart(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	stop := k.serve(t)
	config := write(t, filepath.Join(t.TempDir(), "encryption.yaml"), encryptionConfig(kmsProvider("vault", k)))
	v := newVault(t, "--encryption-provider-config="+config)
	if err := v.create("s"); err != nil {
		t.Fatal(err)
	}
	v.Stop(t)
	stop()
	// It is not ready, and says why; the rest of it works.
	v.Args = append(v.Args, "--v=0")
	done := make(chan struct{})
	go func() { defer close(done); v.Run(t) }()
	eventually(t, "other resources", func() error {
		return call(t, v.Server, admin(t, v.Server), http.MethodGet, "/api/v1/namespaces/default/configmaps", nil, nil)
	})
	if err := v.read("s"); err == nil {
		t.Error("a secret is read without its key")
	}
	if err := v.create("t"); err == nil {
		t.Error("a secret is stored without a key")
	}
	if err := v.health("/readyz"); err == nil {
		t.Error("ready without a key")
	}
	k.serve(t)
	eventually(t, "the secret", func() error { return v.read("s") })
	<-done
	k.ill("sealed")
	eventually(t, "the plugin's own words", func() error {
		err := v.health("/healthz/kms-providers")
		if err == nil || !strings.Contains(err.Error(), "internal server error") {
			return fmt.Errorf("%v", err)
		}
		return nil
	})
}

func TestKMSReload(t *testing.T) {
	t.Parallel()
	one, two := newKeeper(t), newKeeper(t)
	one.serve(t)
	config := write(t, filepath.Join(t.TempDir(), "encryption.yaml"), encryptionConfig(kmsProvider("vault", one)))
	v := newVault(t, "--encryption-provider-config="+config, "--encryption-provider-config-automatic-reload")
	if err := v.create("s"); err != nil {
		t.Fatal(err)
	}
	// A plugin that does not answer does not come into use.
	second := encryptionConfig(kmsProvider("second", two), kmsProvider("vault", one))
	write(t, config, second)
	eventually(t, "the report", func() error {
		if err := v.create("x"); err == nil {
			if err := call(t, v.Server, admin(t, v.Server), http.MethodDelete, secrets+"/x", nil, nil); err != nil {
				return err
			}
		}
		if n := metric(t, v.Server, reloads("encryption", "failure")); n != 1 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	two.serve(t)
	write(t, config, second+"# again\n")
	eventually(t, "the second plugin", func() error {
		v.rewrite("s")
		r, err := v.db.Get(t.Context(), "/registry/secrets/default/s")
		if err != nil || !bytes.HasPrefix(r.Kvs[0].Value, []byte("k8s:enc:kms:v2:second:")) {
			return fmt.Errorf("%.40q, %v", r.Kvs[0].Value, err)
		}
		return nil
	})
	if err := v.read("s"); err != nil {
		t.Error(err)
	}
}

// What cannot be meant is refused at the start, with the place and the remedy.
func TestKMSConfiguration(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	for want, provider := range map[string]string{
		`KMSv1 is deprecated`:                                     "kms: {name: x, endpoint: 'unix:///x'}",
		`name is a mandatory field for a KMS provider`:            "kms: {apiVersion: v2, endpoint: 'unix:///x'}",
		`for remote KMS provider: endpoint must be unix:///path`:  "kms: {apiVersion: v2, name: x, endpoint: 'tcp://x'}",
		`timeout -1s should be a positive value`:                  "kms: {apiVersion: v2, name: x, endpoint: 'unix:///x', timeout: -1s}",
		`duplicate KMS provider name a, names must be unique`:     kmsProvider("a", k) + "\n  - " + kmsProvider("a", k),
		`exactly one of aesgcm, aescbc, secretbox, kms and ident`: "{kms: {apiVersion: v2, name: x, endpoint: 'unix:///x'}, identity: {}}",
	} {
		config := write(t, filepath.Join(t.TempDir(), "encryption.yaml"), encryptionConfig(provider))
		out, err := exec.Command(apiservertest.Binary("kube-apiserver"), "--data-dir="+t.TempDir(), "--secure-port=0", "--bind-address=127.0.0.1", "--encryption-provider-config="+config).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || !strings.Contains(string(out), "resources[0]: providers[") {
			t.Errorf("%v, %s: want %s", err, out, want)
		}
	}
}
