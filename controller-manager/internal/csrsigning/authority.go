package csrsigning

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// files of an authority. They are read for each certificate, so that new ones
// are in force at once.
type files struct{ cert, key string }

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (f files) read() (*authority, error) {
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("the signing authority in %s and %s: %w", f.cert, f.key, err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || pair.Leaf == nil {
		return nil, fmt.Errorf("the key in %s can't sign", f.key)
	}
	return &authority{cert: pair.Leaf, key: key}, nil
}

var errExpired = errors.New("the signer has expired")

// sign makes a certificate of a template.
func (a *authority) sign(t *x509.Certificate, now time.Time) ([]byte, error) {
	if !now.Before(a.cert.NotAfter) {
		return nil, fmt.Errorf("%w: NotAfter=%s", errExpired, a.cert.NotAfter)
	}
	var err error
	if t.SerialNumber, err = rand.Int(rand.Reader, serialLimit()); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, t.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("failed to sign certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
