package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	kmspb "xebec.dev/proto/gen/plugin/kms/v2"
)

// method makes a gRPC method of a function, without generated code: the
// service is called what the server calls, not what our package is called.
func method[In, Out any](name string, f func(*In) (*Out, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(In)
		if err := decode(in); err != nil {
			return nil, err
		}
		return f(in)
	}}
}

// socket serves a plugin; stop ends it, and its connections.
func socket(t testing.TB, path, service string, methods ...grpc.MethodDesc) (stop func()) {
	t.Helper()
	_ = os.Remove(path) // of a plugin before
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil), Methods: methods}, struct{}{})
	go func() { _ = s.Serve(l) }() // until Stop
	t.Cleanup(s.Stop)
	return s.Stop
}

// short is a directory whose path leaves room for a socket's name.
func short(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // only a socket
	return dir
}

// keeper is a KMS plugin: it encrypts with keys that have names.
type keeper struct {
	path string
	mu   sync.Mutex
	// guarded by mu.
	keys    map[string]cipher.AEAD
	current string
	healthz string

	encrypts, decrypts atomic.Int64
}

func newKeeper(t testing.TB) *keeper {
	k := &keeper{path: filepath.Join(short(t), "kms.sock"), keys: map[string]cipher.AEAD{}, healthz: "ok"}
	k.rotate(t, "key-1")
	return k
}

func (k *keeper) endpoint() string { return "unix://" + k.path }

func (k *keeper) rotate(t testing.TB, name string) {
	t.Helper()
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[name], k.current = aead, name
}

func (k *keeper) ill(how string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.healthz = how
}

func (k *keeper) serve(t testing.TB) (stop func()) {
	return socket(t, k.path, "v2.KeyManagementService", method("Status", k.status), method("Encrypt", k.encrypt), method("Decrypt", k.decrypt))
}

func (k *keeper) status(*kmspb.StatusRequest) (*kmspb.StatusResponse, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return &kmspb.StatusResponse{Version: "v2", Healthz: k.healthz, KeyId: k.current}, nil
}

func (k *keeper) encrypt(r *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
	k.encrypts.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.Uid == "" {
		return nil, status.Error(codes.InvalidArgument, "no uid")
	}
	nonce := make([]byte, 12)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return &kmspb.EncryptResponse{
		Ciphertext: k.keys[k.current].Seal(nonce, nonce, r.Plaintext, []byte(k.current)), KeyId: k.current,
		Annotations: map[string][]byte{"kept.example.com": []byte(k.current)},
	}, nil
}

func (k *keeper) decrypt(r *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
	k.decrypts.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	aead := k.keys[r.KeyId]
	if aead == nil || string(r.Annotations["kept.example.com"]) != r.KeyId || len(r.Ciphertext) < 12 {
		return nil, status.Errorf(codes.InvalidArgument, "no key %q", r.KeyId)
	}
	out, err := aead.Open(nil, r.Ciphertext[:12], r.Ciphertext[12:], []byte(r.KeyId))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &kmspb.DecryptResponse{Plaintext: out}, nil
}
