package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// checkFiles is how often a handshake looks whether files have changed.
const checkFiles = 10 * time.Second

// keyPair is a certificate that follows its files.
type keyPair struct {
	cert, key string
	domains   []string // for --tls-sni-cert-key; the certificate's own when empty

	mu sync.Mutex
	// guarded by mu
	loaded  *tls.Certificate
	stamp   string
	checked time.Time
}

func (k *keyPair) get() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.loaded != nil && (k.cert == "" || time.Since(k.checked) < checkFiles) {
		return k.loaded, nil
	}
	k.checked = time.Now()
	stamp := fileStamp(k.cert) + fileStamp(k.key)
	if k.loaded != nil && stamp == k.stamp {
		return k.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		if k.loaded != nil {
			return k.loaded, nil // half-written files: go on with the old pair
		}
		return nil, fmt.Errorf("serving certificate %s, %s: %w", k.cert, k.key, err)
	}
	k.loaded, k.stamp = &pair, stamp
	return k.loaded, nil
}

func fileStamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// certificates chooses a certificate for each handshake.
type certificates struct {
	byName  []*keyPair // --tls-sni-cert-key
	regular *keyPair
}

func newCertificates(f *Flags, name string) (*certificates, error) {
	c := &certificates{}
	for _, spec := range f.TLSSNI {
		files, domains, _ := strings.Cut(spec, ":")
		cert, key, ok := strings.Cut(files, ",")
		if !ok {
			return nil, fmt.Errorf("--tls-sni-cert-key: expected comma separated certificate and key file paths, got %q", spec)
		}
		k := &keyPair{cert: cert, key: key}
		if domains != "" {
			k.domains = strings.Split(domains, ",")
		}
		if _, err := k.get(); err != nil {
			return nil, err
		}
		c.byName = append(c.byName, k)
	}
	var err error
	c.regular, err = regularPair(f, name)
	return c, err
}

// regularPair is from the flags, from --cert-dir, or made: in --cert-dir if
// there is one, else in memory.
func regularPair(f *Flags, name string) (*keyPair, error) {
	if f.TLSCert != "" {
		k := &keyPair{cert: f.TLSCert, key: f.TLSKey}
		_, err := k.get()
		return k, err
	}
	if f.CertDir == "" {
		pair, err := selfSigned(f.BindAddress)
		return &keyPair{loaded: pair}, err
	}
	k := &keyPair{cert: filepath.Join(f.CertDir, name+".crt"), key: filepath.Join(f.CertDir, name+".key")}
	if _, err := k.get(); err == nil {
		return k, nil
	}
	pair, err := selfSigned(f.BindAddress)
	if err != nil {
		return nil, err
	}
	if err := savePair(k, pair); err != nil {
		return nil, err
	}
	_, err = k.get()
	return k, err
}

func (c *certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	for _, k := range c.byName {
		pair, err := k.get()
		if err != nil {
			continue
		}
		if k.serves(hello.ServerName, pair) {
			return pair, nil
		}
	}
	return c.regular.get()
}

func (k *keyPair) serves(name string, pair *tls.Certificate) bool {
	if len(k.domains) == 0 {
		return name != "" && pair.Leaf.VerifyHostname(name) == nil
	}
	for _, d := range k.domains {
		suffix, wild := strings.CutPrefix(d, "*.")
		_, rest, _ := strings.Cut(name, ".")
		if d == name || wild && rest == suffix {
			return true
		}
	}
	return false
}

// selfSigned is a certificate for those who don't check, as Kubernetes makes.
func selfSigned(bind net.IP) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: fmt.Sprintf("%s@%d", host, now.Unix())},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if bind != nil && !bind.IsUnspecified() {
		t.IPAddresses = append(t.IPAddresses, bind)
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
