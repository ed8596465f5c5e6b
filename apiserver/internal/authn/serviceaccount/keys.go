package serviceaccount

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	jose "github.com/go-jose/go-jose/v4"
)

// PublicKey verifies tokens.
type PublicKey struct {
	// ID is the kid of tokens signed with the key: a hash of the key itself.
	ID        string
	Key       crypto.PublicKey
	Algorithm jose.SignatureAlgorithm
	// Hidden keys verify, but are not published.
	Hidden bool
}

// Keys are those to try for a token that names one; "" is all there are.
type Keys func(id string) []PublicKey

// Static are keys that do not change.
func Static(keys ...PublicKey) Keys { return func(string) []PublicKey { return keys } }

// NewPublicKey finds the algorithm and id of an RSA or ECDSA key.
func NewPublicKey(key crypto.PublicKey) (PublicKey, error) {
	algorithm, err := algorithmOf(key)
	if err != nil {
		return PublicKey{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, fmt.Errorf("failed to serialize public key to DER format: %w", err)
	}
	sum := sha256.Sum256(der)
	return PublicKey{ID: base64.RawURLEncoding.EncodeToString(sum[:]), Key: key, Algorithm: algorithm}, nil
}

// algorithmOf is the one algorithm that a key is used with: what the token's
// header says does not choose.
func algorithmOf(key crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return jose.RS256, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		case elliptic.P521():
			return jose.ES512, nil
		}
		return "", fmt.Errorf("unknown ecdsa key curve, must be 256, 384, or 521")
	}
	return "", fmt.Errorf("unknown key type %T, must be *rsa.PublicKey or *ecdsa.PublicKey", key)
}

// algorithms are all that a token may be signed with.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512}

// ParsePublicKeys reads every key of a PEM file: public keys, certificates,
// or private keys, of which the public half is taken.
func ParsePublicKeys(content []byte) ([]PublicKey, error) {
	var keys []PublicKey
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		key, err := publicHalf(block)
		if err != nil {
			continue // other blocks, such as EC PARAMETERS, are passed over
		}
		k, err := NewPublicKey(key)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("data does not contain any valid RSA or ECDSA public keys")
	}
	return keys, nil
}

func publicHalf(block *pem.Block) (crypto.PublicKey, error) {
	if k, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS1PublicKey(block.Bytes); err == nil {
		return k, nil
	}
	if c, err := x509.ParseCertificate(block.Bytes); err == nil {
		return c.PublicKey, nil
	}
	signer, err := privateKey(block)
	if err != nil {
		return nil, err
	}
	return signer.Public(), nil
}

// ParsePrivateKey reads the first private key of a PEM file.
func ParsePrivateKey(content []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if k, err := privateKey(block); err == nil {
			if _, err := algorithmOf(k.Public()); err != nil {
				return nil, err
			}
			return k, nil
		}
	}
	return nil, errors.New("data does not contain a valid RSA or ECDSA private key")
}

func privateKey(block *pem.Block) (crypto.Signer, error) {
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	if k, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T cannot sign", k)
	}
	return signer, nil
}
