// Package kms encrypts values at rest with keys that a key management
// service's plugin protects: Kubernetes' KMS v2.
package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/util/validation"

	pb "xebec.dev/proto/gen/plugin/kms/v2"
)

// Bounds of what a plugin may give, in bytes.
const (
	maxKeyID       = 1 << 10
	maxCiphertext  = 1 << 10
	maxAnnotations = 32 << 10
)

const service = "/v2.KeyManagementService/"

// plugin is a connection to the service on this machine.
type plugin struct {
	conn    *grpc.ClientConn
	timeout time.Duration
	metrics *Metrics
	name    string
}

// ParseEndpoint gives what gRPC dials for unix:///path and unix:///@abstract.
func ParseEndpoint(endpoint string) (string, error) {
	path, ok := strings.CutPrefix(endpoint, "unix://")
	switch {
	case endpoint == "":
		return "", errors.New("remote KMS provider can't use empty string as endpoint")
	case !ok:
		scheme, _, _ := strings.Cut(endpoint, ":")
		return "", fmt.Errorf("unsupported scheme %q for remote KMS provider: endpoint must be unix:///path/of/the.socket", scheme)
	case strings.HasPrefix(path, "/@"):
		return "unix-abstract:" + path[2:], nil
	case strings.HasPrefix(path, "@"):
		return "unix-abstract:" + path[1:], nil
	}
	return "unix:" + path, nil
}

func newPlugin(name, endpoint string, timeout time.Duration) (*plugin, error) {
	target, err := ParseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig(),
		grpc.WithAuthority("localhost"), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		return nil, err
	}
	return &plugin{conn: conn, timeout: timeout, name: name}, nil
}

func (p *plugin) call(method string, in, out any) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	start := time.Now()
	err := p.conn.Invoke(ctx, service+method, in, out)
	p.metrics.took(p.name, method, time.Since(start), status.Code(err))
	return err
}

// status is the key's id, when the plugin is well.
func (p *plugin) status() (string, error) {
	var out pb.StatusResponse
	if err := p.call("Status", &pb.StatusRequest{}, &out); err != nil {
		return "", fmt.Errorf("failed to perform status section of the healthz check for KMS Provider %s, error: %w", p.name, err)
	}
	var errs []error
	if out.Healthz != "ok" {
		errs = append(errs, fmt.Errorf("got unexpected healthz status: %s", out.Healthz))
	}
	if out.Version != "v2" && out.Version != "v2beta1" {
		errs = append(errs, fmt.Errorf("expected KMSv2 API version v2, got %s", out.Version))
	}
	if err := checkKeyID(out.KeyId); err != nil {
		p.metrics.invalidKeyID(p.name, err)
		errs = append(errs, fmt.Errorf("expected KMSv2 KeyID to be set, got %s", err))
	}
	return out.KeyId, errors.Join(errs...)
}

func (p *plugin) encrypt(plaintext []byte) (*pb.EncryptResponse, error) {
	out := &pb.EncryptResponse{}
	id := uuid.NewString()
	if err := p.call("Encrypt", &pb.EncryptRequest{Plaintext: plaintext, Uid: id}, out); err != nil {
		return nil, fmt.Errorf("failed to encrypt DEK, error: %w", err)
	}
	if err := checkKeyID(out.KeyId); err != nil {
		return nil, fmt.Errorf("failed to validate key id: %w", err)
	}
	if n := len(out.Ciphertext); n == 0 || n > maxCiphertext {
		return nil, fmt.Errorf("failed to validate encrypted DEK source: encrypted DEK source is %d bytes, which is not between 1 and the max size of %d", n, maxCiphertext)
	}
	if err := checkAnnotations(out.Annotations); err != nil {
		return nil, fmt.Errorf("failed to validate annotations: %w", err)
	}
	return out, nil
}

func (p *plugin) decrypt(o *pb.EncryptedObject) ([]byte, error) {
	var out pb.DecryptResponse
	in := &pb.DecryptRequest{Ciphertext: o.EncryptedDekSource, KeyId: o.KeyId, Annotations: o.Annotations, Uid: uuid.NewString()}
	if err := p.call("Decrypt", in, &out); err != nil {
		return nil, fmt.Errorf("failed to decrypt DEK, error: %w", err)
	}
	return out.Plaintext, nil
}

func checkKeyID(id string) error {
	switch {
	case id == "":
		return errors.New("keyID is empty")
	case len(id) > maxKeyID:
		return fmt.Errorf("keyID is %d bytes, which exceeds the max size of %d", len(id), maxKeyID)
	}
	return nil
}

func checkAnnotations(all map[string][]byte) error {
	size := 0
	for k, v := range all {
		if errs := validation.IsDNS1123Subdomain(k); len(errs) > 0 || !strings.Contains(k, ".") {
			return fmt.Errorf("annotation key %q should be a domain name with at least two segments separated by dots", k)
		}
		size += len(k) + len(v)
	}
	if size > maxAnnotations {
		return fmt.Errorf("total size of annotations is %d, which exceeds the max size of %d", size, maxAnnotations)
	}
	return nil
}
