package kms

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "xebec.dev/proto/gen/plugin/kms/v2"
)

// fake is a plugin whose encryption is an exclusive or: what it is asked and
// says is what counts.
type fake struct {
	mu sync.Mutex
	// guarded by mu.
	statusResponse pb.StatusResponse
	encryptID      string
	annotations    map[string][]byte
	err            error
	asked, made    int
}

func flip(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= 0x55
	}
	return out
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func handler[In, Out any](f *fake, name string, h func(*In, *Out)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in, out := new(In), new(Out)
		if err := decode(in); err != nil {
			return nil, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		h(in, out)
		return out, f.err
	}}
}

func (f *fake) serve(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "v2.KeyManagementService", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		handler(f, "Status", func(_ *pb.StatusRequest, out *pb.StatusResponse) { f.asked++; proto.Merge(out, &f.statusResponse) }),
		handler(f, "Encrypt", func(in *pb.EncryptRequest, out *pb.EncryptResponse) {
			f.made++
			out.Ciphertext, out.KeyId, out.Annotations = flip(in.Plaintext), f.encryptID, f.annotations
		}),
		handler(f, "Decrypt", func(in *pb.DecryptRequest, out *pb.DecryptResponse) { out.Plaintext = flip(in.Ciphertext) }),
	}}, struct{}{})
	go func() { _ = s.Serve(l) }() // until Stop
	t.Cleanup(s.Stop)
}

type world struct {
	*fake
	*Provider
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{fake: &fake{statusResponse: pb.StatusResponse{Version: "v2", Healthz: "ok", KeyId: "a"}, encryptID: "a"}, now: time.Now()}
	socket := filepath.Join(t.TempDir(), "s")
	w.serve(t, socket)
	p, err := New(Options{Name: "x", Endpoint: "unix://" + socket, Timeout: 10 * time.Second, now: func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.now
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	w.Provider = p
	return w
}

const at = "/registry/secrets/a/b"

var text = []byte("k8s\x00 the value")

func (w *world) id(t *testing.T, v []byte) string {
	t.Helper()
	var o pb.EncryptedObject
	if err := proto.Unmarshal(v, &o); err != nil {
		t.Fatal(err)
	}
	return o.KeyId
}

func TestKeysChange(t *testing.T) {
	w := newWorld(t)
	first, err := w.Encrypt(text, at)
	if err != nil || w.id(t, first) != "a" {
		t.Fatal(err)
	}
	w.fake.set(func() { w.statusResponse.KeyId = "b" })
	// The plugin says two things at once: neither is used until it is one.
	w.pass(30 * time.Second)
	if err := w.Healthy(t.Context()); err == nil || !strings.Contains(err.Error(), "failed to rotate DEK") {
		t.Errorf("between two keys: %v", err)
	}
	if v, err := w.Encrypt(text, at); err != nil || w.id(t, v) != "a" {
		t.Errorf("between two keys: %v", err)
	}
	w.fake.set(func() { w.encryptID = "b" })
	w.pass(5 * time.Second)
	if err := w.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	second, err := w.Encrypt(text, at)
	if err != nil || w.id(t, second) != "b" {
		t.Error(err)
	}
	for _, c := range []struct {
		v     []byte
		stale bool
	}{{first, true}, {second, false}} {
		if out, stale, err := w.Decrypt(c.v, at); err != nil || stale != c.stale || !bytes.Equal(out, text) {
			t.Errorf("%q %v %v, want stale %v", out, stale, err, c.stale)
		}
	}
}

// Without an answer writes go on for three minutes, and then no more.
func TestExpiry(t *testing.T) {
	w := newWorld(t)
	v, err := w.Encrypt(text, at)
	if err != nil {
		t.Fatal(err)
	}
	w.fake.set(func() { w.err = status.Error(codes.Unavailable, "away") })
	w.pass(2 * time.Minute)
	if _, err := w.Encrypt(text, at); err != nil {
		t.Errorf("after two minutes: %v", err)
	}
	w.pass(2 * time.Minute)
	if _, err := w.Encrypt(text, at); err == nil || !strings.Contains(err.Error(), "expired at") || !strings.Contains(err.Error(), "away") {
		t.Errorf("after four minutes: %v", err)
	}
	if out, _, err := w.Decrypt(v, at); err != nil || !bytes.Equal(out, text) {
		t.Errorf("reading: %v", err)
	}
	w.fake.set(func() { w.err = nil })
	if _, err := w.Encrypt(text, at); err != nil {
		t.Errorf("the plugin is back: %v", err)
	}
}

// A new seed is not made, nor the plugin asked, for each write.
func TestCalls(t *testing.T) {
	w := newWorld(t)
	var g sync.WaitGroup
	for range 50 {
		g.Go(func() {
			v, err := w.Encrypt(text, at)
			if err != nil {
				t.Error(err)
			} else if _, _, err := w.Decrypt(v, at); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	w.fake.set(func() {
		if w.fake.asked != 1 || w.made != 1 {
			t.Errorf("asked %d times, %d seeds", w.fake.asked, w.made)
		}
	})
}

func TestBadPlugins(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for want, change := range map[string]func(*fake){
		"got unexpected healthz status: sealed":                           func(f *fake) { f.statusResponse.Healthz = "sealed" },
		"expected KMSv2 API version v2, got v1":                           func(f *fake) { f.statusResponse.Version = "v1" },
		"expected KMSv2 KeyID to be set, got keyID is empty":              func(f *fake) { f.statusResponse.KeyId = "" },
		"keyID is 1025 bytes, which exceeds the max size of 1024":         func(f *fake) { f.statusResponse.KeyId = long },
		"failed to validate key id":                                       func(f *fake) { f.encryptID = long },
		"should be a domain name":                                         func(f *fake) { f.annotations = map[string][]byte{"x": nil} },
		"total size of annotations is 32773, which exceeds the max size":  func(f *fake) { f.annotations = map[string][]byte{"a.com": make([]byte, 32<<10)} },
		"failed to perform status section of the healthz check for KMS P": func(f *fake) { f.err = errors.New("no") },
	} {
		w := newWorld(t)
		change(w.fake)
		if _, err := w.Encrypt(text, at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Values that were tampered with, cut off or moved are errors, not panics.
func TestTampered(t *testing.T) {
	w := newWorld(t)
	v, err := w.Encrypt(text, at)
	if err != nil {
		t.Fatal(err)
	}
	for n := range v {
		if out, _, err := w.Decrypt(v[:n], at); err == nil {
			t.Errorf("the first %d bytes give %q", n, out)
		}
	}
	for i := range v {
		bad := bytes.Clone(v)
		bad[i] ^= 1
		if out, _, err := w.Decrypt(bad, at); err == nil && !bytes.Equal(out, text) {
			t.Errorf("byte %d changed gives %q", i, out)
		}
	}
	if _, _, err := w.Decrypt(v, "/registry/secrets/a/c"); !errors.Is(err, errOpen) {
		t.Errorf("a value can be moved: %v", err)
	}
}

func FuzzDecrypt(f *testing.F) {
	o, err := proto.Marshal(&pb.EncryptedObject{EncryptedData: make([]byte, 80), KeyId: "a", EncryptedDekSource: make([]byte, 32), EncryptedDekSourceType: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(o)
	// No plugin is there: what needs it fails at once.
	p, err := New(Options{Name: "x", Endpoint: "unix:///nowhere", Timeout: time.Nanosecond})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(p.Close)
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, _, err := p.Decrypt(b, at); err == nil {
			t.Errorf("%x gives %x without a key", b, out)
		}
	})
}
