// Package clientca signs certificates of clients with the authority that a
// kube-apiserver --data-dir has made, so that tests and benchmarks come as who
// they stand for, a node or a component, with its rights and its share of the
// server.
package clientca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Authority is the server's.
type Authority struct {
	certPath string
	cert     *x509.Certificate
	key      crypto.Signer
}

// Open reads the authority of a server's data directory.
func Open(dataDir string) (*Authority, error) {
	a := &Authority{certPath: filepath.Join(dataDir, "pki", "ca.crt")}
	cert, err := readPEM(a.certPath)
	if err != nil {
		return nil, err
	}
	keyPath := filepath.Join(dataDir, "pki", "ca.key")
	key, err := readPEM(keyPath)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(cert); err != nil {
		return nil, fmt.Errorf("%s: %w", a.certPath, err)
	}
	private, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyPath, err)
	}
	var ok bool
	if a.key, ok = private.(crypto.Signer); !ok {
		return nil, fmt.Errorf("%s holds a key that can't sign", keyPath)
	}
	return a, nil
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM file", path)
	}
	return block.Bytes, nil
}

// Sign makes a user's certificate and key, for an hour.
func (a *Authority) Sign(user string, groups ...string) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: user, Organization: groups},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, private.Public(), a.key)
	text, keyErr := x509.MarshalPKCS8PrivateKey(private)
	if err := errors.Join(err, keyErr); err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}), nil
}

// Kubeconfig writes a file by which a user comes to the server at a URL.
func (a *Authority) Kubeconfig(path, url, user string, groups ...string) error {
	certificate, key, err := a.Sign(user, groups...)
	if err != nil {
		return err
	}
	c := api.NewConfig()
	c.Clusters["server"] = &api.Cluster{Server: url, CertificateAuthority: a.certPath}
	c.AuthInfos[user] = &api.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key}
	c.Contexts["server"] = &api.Context{Cluster: "server", AuthInfo: user}
	c.CurrentContext = "server"
	return clientcmd.WriteToFile(*c, path)
}
