// Package encrypt encrypts values at rest in the forms that Kubernetes writes,
// so that either can read what the other wrote:
//
//	k8s:enc:aescbc:v1:KEYNAME:    16 bytes of IV, AES-CBC with PKCS #7
//	k8s:enc:aesgcm:v1:KEYNAME:    12 bytes of nonce, AES-GCM over the key's path
//	k8s:enc:secretbox:v1:KEYNAME: 24 bytes of nonce, XSalsa20-Poly1305
//	k8s:enc:kms:v2:NAME:          what package kms says
//
// A value without such a prefix is not encrypted (identity).
package encrypt

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/nacl/secretbox"
)

// seal is one method with one key.
type seal interface {
	// encrypt and decrypt work on what follows the prefix.
	encrypt(data []byte, path string) ([]byte, error)
	// Stale means that the method has another key now.
	decrypt(data []byte, path string) (out []byte, stale bool, err error)
}

// sealed is a seal under its prefix; the prefix of identity is empty.
type sealed struct {
	prefix string
	seal
}

// Providers encrypt with the first of them and decrypt with any. They
// implement value.Transformer.
type Providers struct{ all []sealed }

const anyPrefix = "k8s:enc:"

// ToStorage encrypts.
func (p *Providers) ToStorage(data []byte, path string) ([]byte, error) {
	first := p.all[0]
	b, err := first.encrypt(data, path)
	if err != nil {
		return nil, err
	}
	return append([]byte(first.prefix), b...), nil
}

// FromStorage decrypts. A value is stale when it was not written with the
// first provider and its first key.
func (p *Providers) FromStorage(data []byte, path string) ([]byte, bool, error) {
	plain := !bytes.HasPrefix(data, []byte(anyPrefix))
	for i, s := range p.all {
		if plain != (s.prefix == "") || !bytes.HasPrefix(data, []byte(s.prefix)) {
			continue
		}
		out, stale, err := s.decrypt(data[len(s.prefix):], path)
		if err != nil {
			return nil, false, err
		}
		return out, stale || i > 0, nil
	}
	return nil, false, errors.New("no matching prefix found: no configured provider and key can read it")
}

// identity leaves values as they are.
type identity struct{}

func (identity) encrypt(data []byte, _ string) ([]byte, error)       { return data, nil }
func (identity) decrypt(data []byte, _ string) ([]byte, bool, error) { return data, false, nil }

func random(n, capacity int) ([]byte, error) {
	b := make([]byte, n, n+capacity)
	_, err := rand.Read(b)
	return b, err
}

var (
	errShort   = errors.New("the encrypted value is too short")
	errPadding = errors.New("the padding of the encrypted value is wrong")
	errOpen    = errors.New("the encrypted value is not authentic")
)

// cbc is AES-CBC. It does not authenticate; aesgcm and secretbox do.
type cbc struct{ block cipher.Block }

func newCBC(key []byte) (seal, error) {
	b, err := aes.NewCipher(key)
	return cbc{b}, err
}

func (c cbc) encrypt(data []byte, _ string) ([]byte, error) {
	padding := aes.BlockSize - len(data)%aes.BlockSize
	out, err := random(aes.BlockSize, len(data)+padding)
	if err != nil {
		return nil, err
	}
	iv := out[:aes.BlockSize]
	out = append(out, data...)
	out = append(out, bytes.Repeat([]byte{byte(padding)}, padding)...)
	text := out[aes.BlockSize:]
	cipher.NewCBCEncrypter(c.block, iv).CryptBlocks(text, text)
	return out, nil
}

func (c cbc) decrypt(data []byte, _ string) ([]byte, bool, error) {
	if len(data) < 2*aes.BlockSize || len(data)%aes.BlockSize != 0 {
		return nil, false, errShort
	}
	out := make([]byte, len(data)-aes.BlockSize)
	cipher.NewCBCDecrypter(c.block, data[:aes.BlockSize]).CryptBlocks(out, data[aes.BlockSize:])
	padding := int(out[len(out)-1])
	if padding == 0 || padding > aes.BlockSize {
		return nil, false, errPadding
	}
	for _, b := range out[len(out)-padding:] {
		if int(b) != padding {
			return nil, false, errPadding
		}
	}
	return out[:len(out)-padding], false, nil
}

// gcm is AES-GCM with random nonces; the key must be changed before 2^32
// writes.
type gcm struct{ aead cipher.AEAD }

func newGCM(key []byte) (seal, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	a, err := cipher.NewGCM(b)
	return gcm{a}, err
}

func (g gcm) encrypt(data []byte, path string) ([]byte, error) {
	nonce, err := random(g.aead.NonceSize(), len(data)+g.aead.Overhead())
	if err != nil {
		return nil, err
	}
	return g.aead.Seal(nonce, nonce, data, []byte(path)), nil
}

func (g gcm) decrypt(data []byte, path string) ([]byte, bool, error) {
	n := g.aead.NonceSize()
	if len(data) < n {
		return nil, false, errShort
	}
	out, err := g.aead.Open(nil, data[:n], data[n:], []byte(path))
	if err != nil {
		return nil, false, errOpen
	}
	return out, false, nil
}

// box is NaCl's secretbox.
type box struct{ key [32]byte }

func newBox(key []byte) (seal, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("expected key size 32 for secretbox provider, got %d", len(key))
	}
	return box{[32]byte(key)}, nil
}

const boxNonce = 24

func (b box) encrypt(data []byte, _ string) ([]byte, error) {
	nonce, err := random(boxNonce, len(data)+secretbox.Overhead)
	if err != nil {
		return nil, err
	}
	return secretbox.Seal(nonce, data, (*[boxNonce]byte)(nonce), &b.key), nil
}

func (b box) decrypt(data []byte, _ string) ([]byte, bool, error) {
	if len(data) < boxNonce {
		return nil, false, errShort
	}
	out, ok := secretbox.Open(nil, data[boxNonce:], (*[boxNonce]byte)(data), &b.key)
	if !ok {
		return nil, false, errOpen
	}
	return out, false, nil
}
