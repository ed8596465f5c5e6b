package volume

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
)

// Times of certificates of pods.
const (
	// signPause lies between looks whether a request was answered, signWait is
	// how long the start of a pod waits in one go.
	signPause = 250 * time.Millisecond
	signWait  = 10 * time.Second
	// signLook is between looks while a certificate that is good is renewed.
	signLook = 2 * time.Second
	// askPause lies between requests, after one that was denied or failed.
	askPause = time.Minute
)

// certKey is a source of a volume of a pod.
type certKey struct {
	pod    types.UID
	volume string
	source int
}

// podCert is a pod's key and certificate.
type podCert struct {
	key, chain []byte // PEM; empty before the first is there
	refresh    time.Time
	expires    time.Time

	// A request under way: its name, and the key that it is for.
	asked   string
	pending []byte
	pause   time.Time // no other request before this
	failed  error
}

func (c *podCert) good(now time.Time) bool { return len(c.chain) > 0 && now.Before(c.expires) }

// due is when to look at it again.
func (c *podCert) due(now time.Time) time.Time {
	switch {
	case c.asked != "":
		return now.Add(signLook)
	case c.pause.After(c.refresh):
		return c.pause
	}
	return c.refresh
}

// signer asks for certificates and reads the answers.
type signer interface {
	ask(ctx context.Context, r *certificatesv1beta1.PodCertificateRequest) (name string, err error)
	answer(ctx context.Context, namespace, name string) (*certificatesv1beta1.PodCertificateRequestStatus, error)
	account(ctx context.Context, namespace, name string) (types.UID, error)
}

// certificates are those of pods. Keys are in memory and in the pods' volumes
// only: a kubelet that begins anew asks anew.
type certificates struct {
	signer signer
	node   func() *corev1.Node

	mu   sync.Mutex
	kept map[certKey]*podCert // guarded by mu; entries belong to who holds the pod's operation
}

func newCertificates(s signer, node func() *corev1.Node) *certificates {
	return &certificates{signer: s, node: node, kept: map[certKey]*podCert{}}
}

func (c *certificates) entry(k certKey) *podCert {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept[k] == nil {
		c.kept[k] = &podCert{}
	}
	return c.kept[k]
}

func (c *certificates) forget(pod types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.kept {
		if k.pod == pod {
			delete(c.kept, k)
		}
	}
}

// next is when the first of a pod's certificates wants a look; zero is never.
// The pod's operation is held.
func (c *certificates) next(pod types.UID) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var first time.Time
	for k, e := range c.kept {
		if k.pod != pod || !e.good(time.Now()) { // another's is not ours to read
			continue
		}
		if d := e.due(time.Now()); first.IsZero() || d.Before(first) {
			first = d
		}
	}
	return first
}

// get gives a key and a chain that are good; it waits for the first.
func (c *certificates) get(ctx context.Context, k certKey, pod *corev1.Pod, s *corev1.PodCertificateProjection) (*podCert, error) {
	e := c.entry(k)
	now := time.Now()
	if e.good(now) && e.asked == "" && (now.Before(e.refresh) || now.Before(e.pause)) {
		return e, nil
	}
	err := c.renew(ctx, e, pod, s)
	if e.good(time.Now()) {
		return e, nil // what is there stays as long as it holds
	}
	return e, err
}

// renew brings a request one step on, or to its end if the pod has nothing else.
func (c *certificates) renew(ctx context.Context, e *podCert, pod *corev1.Pod, s *corev1.PodCertificateProjection) error {
	if e.asked == "" {
		if time.Now().Before(e.pause) {
			return e.failed
		}
		if err := c.ask(ctx, e, pod, s); err != nil {
			return err
		}
	}
	patience := signWait
	if e.good(time.Now()) {
		patience = 0
	}
	for end := time.Now().Add(patience); ; {
		done, err := c.look(ctx, e, pod.Namespace)
		if done || err != nil {
			return err
		}
		if !time.Now().Before(end) {
			return fmt.Errorf("PodCertificateRequest %s/%s has not been answered by signer %q yet", pod.Namespace, e.asked, s.SignerName)
		}
		select {
		case <-time.After(signPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *certificates) ask(ctx context.Context, e *podCert, pod *corev1.Pod, s *corev1.PodCertificateProjection) error {
	key, err := newKey(s.KeyType)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	unnamed, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	account, err := c.signer.account(ctx, pod.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return fmt.Errorf("read service account %s: %w", pod.Spec.ServiceAccountName, err)
	}
	node := c.node()
	if node == nil || node.UID == "" {
		return errors.New("the node is not registered yet")
	}
	r := &certificatesv1beta1.PodCertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, GenerateName: "req-",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}},
		},
		Spec: certificatesv1beta1.PodCertificateRequestSpec{
			SignerName: s.SignerName, PodName: pod.Name, PodUID: pod.UID, ServiceAccountName: pod.Spec.ServiceAccountName, ServiceAccountUID: account,
			NodeName: types.NodeName(node.Name), NodeUID: node.UID, MaxExpirationSeconds: s.MaxExpirationSeconds, StubPKCS10Request: unnamed, UnverifiedUserAnnotations: s.UserAnnotations,
		},
	}
	name, err := c.signer.ask(ctx, r)
	if err != nil {
		return fmt.Errorf("create a PodCertificateRequest: %w", err)
	}
	e.asked, e.pending = name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
	return nil
}

// look reads the answer to a request, if there is one.
func (c *certificates) look(ctx context.Context, e *podCert, namespace string) (done bool, err error) {
	s, err := c.signer.answer(ctx, namespace, e.asked)
	if apierrors.IsNotFound(err) {
		e.refused(fmt.Errorf("PodCertificateRequest %s/%s was deleted before it was answered", namespace, e.asked))
		return true, e.failed
	}
	if err != nil {
		return false, fmt.Errorf("read PodCertificateRequest %s/%s: %w", namespace, e.asked, err)
	}
	for _, cond := range s.Conditions {
		if cond.Status != metav1.ConditionTrue {
			continue
		}
		switch cond.Type {
		case certificatesv1beta1.PodCertificateRequestConditionTypeDenied, certificatesv1beta1.PodCertificateRequestConditionTypeFailed:
			e.refused(fmt.Errorf("PodCertificateRequest %s/%s: %s: %s: %s", namespace, e.asked, cond.Type, cond.Reason, cond.Message))
			return true, e.failed
		case certificatesv1beta1.PodCertificateRequestConditionTypeIssued:
			if s.BeginRefreshAt == nil || s.NotAfter == nil {
				e.refused(fmt.Errorf("PodCertificateRequest %s/%s was issued without its times", namespace, e.asked))
				return true, e.failed
			}
			*e = podCert{key: e.pending, chain: chain(s.CertificateChain), refresh: s.BeginRefreshAt.Time, expires: s.NotAfter.Time}
			// A signer that wants it renewed at once is not asked all the time.
			e.pause = time.Now().Add(askPause)
			return true, nil
		}
	}
	return false, nil
}

func (c *podCert) refused(err error) {
	c.asked, c.pending, c.failed, c.pause = "", nil, err, time.Now().Add(askPause)
}

// chain is the certificates of a text in their order, without headers and
// what is between them.
func chain(text string) []byte {
	var out []byte
	for rest := []byte(text); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return out
		}
		if b.Type == "CERTIFICATE" {
			out = append(out, pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: b.Bytes})...)
		}
	}
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "RSA3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "RSA4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ECDSAP256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECDSAP384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ECDSAP521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ED25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("podCertificate: keyType %q is none of RSA3072, RSA4096, ECDSAP256, ECDSAP384, ECDSAP521 and ED25519", kind)
}

// apiSigner asks through the API server.
type apiSigner struct{ api *client.Client }

func (a apiSigner) ask(ctx context.Context, r *certificatesv1beta1.PodCertificateRequest) (string, error) {
	if a.api == nil {
		return "", errors.New("this kubelet has no API server to ask for certificates")
	}
	made, err := client.Create(ctx, a.api, r)
	if err != nil {
		return "", err
	}
	return made.Name, nil
}

func (a apiSigner) answer(ctx context.Context, namespace, name string) (*certificatesv1beta1.PodCertificateRequestStatus, error) {
	r, err := client.Get[*certificatesv1beta1.PodCertificateRequest](ctx, a.api, namespace, name)
	if err != nil {
		return nil, err
	}
	return &r.Status, nil
}

func (a apiSigner) account(ctx context.Context, namespace, name string) (types.UID, error) {
	if a.api == nil {
		return "", errors.New("this kubelet has no API server to ask")
	}
	s, err := client.Get[*corev1.ServiceAccount](ctx, a.api, namespace, name)
	if err != nil {
		return "", err
	}
	return s.UID, nil
}

// podCertificate puts a pod's key and certificate in.
func (m *Manager) podCertificate(ctx context.Context, p Payload, pod *corev1.Pod, at certKey, s *corev1.PodCertificateProjection, mode int32) error {
	e, err := m.certificates.get(ctx, at, pod, s)
	if err != nil {
		return err
	}
	f := File{Mode: mode, Owner: fsUser(pod)}
	if f.Owner != nil || fsGroup(pod) != nil {
		f.Mode = 0o600 // the group, if there is one, may read too
	}
	for path, data := range map[string][]byte{s.CredentialBundlePath: append(append([]byte{}, e.key...), e.chain...), s.KeyPath: e.key, s.CertificateChainPath: e.chain} {
		if path == "" {
			continue
		}
		f.Data = data
		if err := p.add(path, f); err != nil {
			return err
		}
	}
	return nil
}
