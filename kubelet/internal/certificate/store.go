// Package certificate gets the kubelet's certificates and keeps them good:
// the client's by TLS bootstrap and rotation, the server's from files, by
// request to the API, or self-signed.
package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Store keeps one identity as DIR/NAME-DATE.pem, certificate and key in one
// file, with the link DIR/NAME-current.pem to the newest. Kubernetes' layout.
type Store struct{ Dir, Name string }

// Current is the path of the link.
func (s Store) Current() string { return filepath.Join(s.Dir, s.Name+"-current.pem") }

// Load reads the newest identity; fs.ErrNotExist if there is none.
func (s Store) Load() (*tls.Certificate, error) {
	raw, err := os.ReadFile(s.Current())
	if err != nil {
		return nil, err
	}
	return Parse(raw, raw)
}

// Parse makes a certificate with its leaf.
func Parse(cert, key []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, err
		}
	}
	return &pair, nil
}

const (
	keyMode = 0o600
	dirMode = 0o700
)

// Save stores an identity and makes it the current one, in one step.
func (s Store) Save(cert, key []byte) (*tls.Certificate, error) {
	pair, err := Parse(cert, key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.Dir, dirMode); err != nil {
		return nil, err
	}
	path := filepath.Join(s.Dir, s.Name+"-"+time.Now().Format("2006-01-02-15-04-05")+".pem")
	if _, err := os.Lstat(path); err == nil {
		path = filepath.Join(s.Dir, fmt.Sprintf("%s-%d.pem", s.Name, time.Now().UnixNano()))
	}
	content := append(append([]byte{}, cert...), key...)
	if err := writeSynced(path, content); err != nil {
		return nil, err
	}
	link := s.Current() + ".new"
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := os.Symlink(path, link); err != nil {
		return nil, err
	}
	return pair, os.Rename(link, s.Current())
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, keyMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func newKey() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// Good reports whether a certificate holds now.
func Good(c *tls.Certificate, now time.Time) bool {
	return c != nil && c.Leaf != nil && now.Before(c.Leaf.NotAfter) && !now.Before(c.Leaf.NotBefore.Add(-time.Minute))
}

// Share of a certificate's life after which it is replaced: somewhere between
// these, so that nodes that began together don't come together.
const (
	rotateFrom = 0.7
	rotateTo   = 0.9
)

// RotateAt is when a certificate is due, by luck between 0 and 1.
func RotateAt(c *x509.Certificate, luck float64) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotBefore.Add(time.Duration(float64(life) * (rotateFrom + (rotateTo-rotateFrom)*luck)))
}
