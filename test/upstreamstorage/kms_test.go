package upstreamstorage

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	upstreamvalue "k8s.io/apiserver/pkg/storage/value"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage/encrypt"
	pb "xebec.dev/proto/gen/plugin/kms/v2"
)

func unary[In, Out any](name string, f func(*In) *Out) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(In)
		err := decode(in)
		return f(in), err
	}}
}

// plugin is a key management service that both sides use; its encryption is
// for the test only.
func plugin(t *testing.T) (endpoint string) {
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		for i := range b {
			b[i] ^= 0x55
		}
		return b
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "v2.KeyManagementService", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		unary("Status", func(*pb.StatusRequest) *pb.StatusResponse {
			return &pb.StatusResponse{Version: "v2", Healthz: "ok", KeyId: "k"}
		}),
		unary("Encrypt", func(in *pb.EncryptRequest) *pb.EncryptResponse {
			return &pb.EncryptResponse{Ciphertext: flip(in.Plaintext), KeyId: "k", Annotations: map[string][]byte{"a.example.com": []byte("v")}}
		}),
		unary("Decrypt", func(in *pb.DecryptRequest) *pb.DecryptResponse {
			return &pb.DecryptResponse{Plaintext: flip(in.Ciphertext)}
		}),
	}}, struct{}{})
	go func() { _ = s.Serve(l) }() // until Stop
	t.Cleanup(s.Stop)
	return "unix://" + path
}

// What either writes through a KMS plugin the other reads, with a seed of its
// own for each value's key, and with one key for all values as it was before.
func TestKMS(t *testing.T) {
	endpoint := plugin(t)
	config, err := encrypt.Parse(fmt.Appendf(nil, `
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers: [{kms: {apiVersion: v2, name: vault, endpoint: %q}}]
`, endpoint), encrypt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(config.Close)
	ours := config.Transformer(&scheme.Resource{Plural: "secrets"})
	service, err := kmsv2.NewGRPCService(t.Context(), endpoint, "vault", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/registry/secrets/a/b"
	text := []byte("k8s\x00 the value")
	where := upstreamvalue.DefaultContext(path)
	for _, seed := range []bool{true, false} {
		transformer, object, cacheKey, err := kmsv2.GenerateTransformer(t.Context(), "uid", service, seed)
		if err != nil {
			t.Fatal(err)
		}
		theirs := upstreamvalue.NewPrefixTransformers(nil, upstreamvalue.PrefixTransformer{
			Prefix: []byte("k8s:enc:kms:v2:vault:"),
			Transformer: kmsv2.NewEnvelopeTransformer(service, "vault", func() (kmsv2.State, error) {
				return kmsv2.State{
					Transformer: transformer, EncryptedObjectKeyID: object.KeyID, EncryptedObjectEncryptedDEKSource: object.EncryptedDEKSource,
					EncryptedObjectAnnotations: object.Annotations, EncryptedObjectEncryptedDEKSourceType: object.EncryptedDEKSourceType,
					UID: "uid", ExpirationTimestamp: time.Now().Add(time.Hour), CacheKey: cacheKey, KMSProviderName: "vault",
				}, nil
			}, "id"),
		})
		v, err := theirs.TransformToStorage(t.Context(), text, where)
		if err != nil {
			t.Fatal(err)
		}
		// A value of the old kind is to be written again.
		if out, stale, err := ours.FromStorage(v, path); err != nil || stale == seed || !bytes.Equal(out, text) {
			t.Errorf("seed %v: we read %q, %v, %v", seed, out, stale, err)
		}
		if v, err = ours.ToStorage(text, path); err != nil {
			t.Fatal(err)
		}
		if out, _, err := theirs.TransformFromStorage(t.Context(), v, where); err != nil || !bytes.Equal(out, text) {
			t.Errorf("seed %v: upstream reads %q, %v", seed, out, err)
		}
	}
}
