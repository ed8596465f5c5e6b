package certificate

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/client"
)

// Serving is the node's identity towards those who call it.
type Serving struct {
	// CertFile and KeyFile are given, or empty.
	CertFile, KeyFile string
	Dir               string
	Node              string
	// Request has the API sign; else the certificate is self-signed.
	Request   bool
	API       *client.Client
	Addresses func() []corev1.NodeAddress
	Log       *zap.Logger

	rotation *rotation

	mu sync.Mutex
	// guarded by mu
	loaded *tls.Certificate
	stamp  string
	looked time.Time
}

// Prepare makes what can be made at once.
func (s *Serving) Prepare(hosts []string) error {
	switch {
	case s.CertFile != "":
	case s.Request && s.API != nil:
		store := Store{Dir: s.Dir, Name: "kubelet-server"}
		pair, err := store.Load()
		if err != nil || !Good(pair, time.Now()) {
			pair = nil
		}
		s.rotation = &rotation{store: store, api: s.API, pair: pair, log: s.Log, name: "serving",
			want: func() Want { return ForServing(s.Node, s.Addresses()) }, again: s.moved}
		return nil
	default:
		s.CertFile, s.KeyFile = filepath.Join(s.Dir, "kubelet.crt"), filepath.Join(s.Dir, "kubelet.key")
		if err := s.selfSigned(hosts); err != nil {
			return fmt.Errorf("make a serving certificate: %w", err)
		}
	}
	_, err := s.files()
	return err
}

// moved reports whether the node has addresses that the certificate hasn't.
func (s *Serving) moved(pair *tls.Certificate) bool {
	for _, a := range s.Addresses() {
		if pair.Leaf.VerifyHostname(a.Address) != nil {
			return true
		}
	}
	return false
}

// Run keeps a requested certificate fresh until ctx ends.
func (s *Serving) Run(ctx context.Context) error {
	if s.rotation == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.rotation.run(ctx)
}

// Get is a tls.Config's GetCertificate.
func (s *Serving) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.rotation != nil {
		if pair := s.rotation.get(); pair != nil {
			return pair, nil
		}
		return nil, errors.New("no serving certificate available for the kubelet: its certificate signing request waits for approval")
	}
	return s.files()
}

// Until is when the certificate in use ends, and how often it could not be
// renewed; known is false while there is none.
func (s *Serving) Until() (until time.Time, failures int64, known bool) {
	if s.rotation != nil {
		failures = s.rotation.failures.Load()
	}
	pair, err := s.Get(nil)
	if err != nil || pair == nil {
		return time.Time{}, failures, false
	}
	return pair.Leaf.NotAfter, failures, true
}

// checkFiles is how often files are looked at for change.
const checkFiles = 10 * time.Second

func (s *Serving) files() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loaded != nil && time.Since(s.looked) < checkFiles {
		return s.loaded, nil
	}
	s.looked = time.Now()
	stamp := ""
	for _, f := range []string{s.CertFile, s.KeyFile} {
		if info, err := os.Stat(f); err == nil {
			stamp += info.ModTime().String()
		}
	}
	if s.loaded != nil && stamp == s.stamp {
		return s.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	if err != nil {
		if s.loaded != nil {
			return s.loaded, nil // half-written files: go on with the old pair
		}
		return nil, fmt.Errorf("serving certificate %s, %s: %w", s.CertFile, s.KeyFile, err)
	}
	s.loaded, s.stamp = &pair, stamp
	return s.loaded, nil
}

// selfSigned makes the pair unless a good one is there.
func (s *Serving) selfSigned(hosts []string) error {
	have, err := tls.LoadX509KeyPair(s.CertFile, s.KeyFile)
	switch {
	case err == nil && Good(&have, time.Now()):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		s.Log.Warn("the serving certificate is replaced", zap.String("path", s.CertFile), zap.Error(err))
	}
	signer, key, err := newKey()
	if err != nil {
		return err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: fmt.Sprintf("%s@%d", s.Node, now.Unix())},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, signer.Public(), signer)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, dirMode); err != nil {
		return err
	}
	return errors.Join(writeSynced(s.KeyFile, key), writeSynced(s.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
}
