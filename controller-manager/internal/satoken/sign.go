// Package satoken fills secrets of type kubernetes.io/service-account-token,
// and deletes them with their service account.
package satoken

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"

	corev1 "k8s.io/api/core/v1"
)

// issuer of tokens in secrets, which have no audience and don't expire.
const issuer = "kubernetes/serviceaccount"

// signer signs tokens.
type signer struct {
	key      crypto.Signer
	alg, kid string
}

// readSigner reads the first private key of a PEM file.
func readSigner(path string) (*signer, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if key := privateKey(block.Bytes); key != nil {
			return newSigner(key)
		}
	}
	return nil, fmt.Errorf("%s has no PEM-encoded private RSA or ECDSA key", path)
}

func privateKey(der []byte) crypto.Signer {
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k
	}
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if s, ok := k.(crypto.Signer); ok {
			return s
		}
	}
	return nil
}

func newSigner(key crypto.Signer) (*signer, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	s := &signer{key: key, kid: base64.RawURLEncoding.EncodeToString(sum[:])}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		s.alg = "RS256"
	case *ecdsa.PrivateKey:
		s.alg = map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[k.Curve.Params().BitSize]
	}
	if s.alg == "" {
		return nil, errors.New("service account keys are RSA, or ECDSA of the curves P-256, P-384 and P-521")
	}
	return s, nil
}

// token is a JWT for a service account, bound to the secret it is kept in.
func (s *signer) token(account *corev1.ServiceAccount, secret string) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": s.alg, "kid": s.kid})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]string{
		"iss": issuer, "sub": "system:serviceaccount:" + account.Namespace + ":" + account.Name,
		"kubernetes.io/serviceaccount/namespace":            account.Namespace,
		"kubernetes.io/serviceaccount/secret.name":          secret,
		"kubernetes.io/serviceaccount/service-account.name": account.Name,
		"kubernetes.io/serviceaccount/service-account.uid":  string(account.UID),
	})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding.EncodeToString
	text := enc(header) + "." + enc(claims)
	sig, err := s.sign([]byte(text))
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return text + "." + enc(sig), nil
}

func (s *signer) sign(text []byte) ([]byte, error) {
	if k, ok := s.key.(*rsa.PrivateKey); ok {
		sum := sha256.Sum256(text)
		return rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	}
	var sum []byte
	switch s.alg {
	case "ES256":
		h := sha256.Sum256(text)
		sum = h[:]
	case "ES384":
		h := sha512.Sum384(text)
		sum = h[:]
	default:
		h := sha512.Sum512(text)
		sum = h[:]
	}
	k := s.key.(*ecdsa.PrivateKey)
	a, b, err := ecdsa.Sign(rand.Reader, k, sum)
	if err != nil {
		return nil, err
	}
	n := (k.Curve.Params().BitSize + 7) / 8
	return append(padded(a, n), padded(b, n)...), nil
}

func padded(v *big.Int, n int) []byte { return v.FillBytes(make([]byte, n)) }
