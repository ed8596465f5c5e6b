package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/pki"
)

// Requests makes keys, and requests that an authority elsewhere is to sign,
// for all certificates and kubeconfigs of a control plane node. What is there
// is not written over: somebody may be signing for it.
func (i *Init) Requests(kubeconfigDir string) error {
	specs, err := pki.Specs(i.Cluster, i.Config.NodeRegistration.Name, i.Config.LocalAPIEndpoint)
	if err != nil {
		return err
	}
	dir := i.path(i.Cluster.CertificatesDir)
	for _, s := range specs {
		if s.CA == "" {
			continue // authorities are those of somebody else
		}
		if err := i.request(s, filepath.Join(dir, s.Name+".key"), filepath.Join(dir, s.Name+".csr")); err != nil {
			return err
		}
	}
	for _, k := range i.kubeconfigSpecs() {
		server := "https://" + i.Cluster.Endpoint(i.Config.LocalAPIEndpoint)
		if k.local {
			server = i.localServer()
		}
		if err := i.requestKubeconfig(filepath.Join(i.path(kubeconfigDir), filepath.Base(k.path)), k.user, server, k.spec); err != nil {
			return err
		}
	}
	return nil
}

// request writes the key and the request of a certificate.
func (i *Init) request(s pki.Spec, key, csr string) error {
	if err := errors.Join(absent(key), absent(csr)); err != nil {
		return err
	}
	r, err := pki.NewRequest(s, i.Cluster.EncryptionAlgorithm)
	if err != nil {
		return err
	}
	i.say("certs", "Generating %q key and certificate signing request", s.Name)
	return errors.Join(pki.WriteFile(key, r.KeyPEM, 0o600), pki.WriteFile(csr, r.CSRPEM, 0o600))
}

// requestKubeconfig writes a kubeconfig that lacks its certificate, and the
// request for that beside it.
func (i *Init) requestKubeconfig(path, user, server string, s pki.Spec) error {
	if err := errors.Join(absent(path), absent(path+".csr")); err != nil {
		return err
	}
	r, err := pki.NewRequest(s, i.Cluster.EncryptionAlgorithm)
	if err != nil {
		return err
	}
	// The authority's certificate may not be here yet.
	var ca []byte
	if p, err := pki.Read(i.path(i.Cluster.CertificatesDir), "ca"); err == nil {
		ca = p.CertPEM()
	}
	i.say("kubeconfig", "Writing %q kubeconfig file and its certificate signing request", filepath.Base(path))
	k := kubeconfig.New(server, ca, i.Cluster.ClusterName, user, kubeconfig.User{KeyData: r.KeyPEM})
	return errors.Join(k.Write(path), pki.WriteFile(path+".csr", r.CSRPEM, 0o600))
}

// absent is an error for a file that is there.
func absent(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%s already exists: keys and requests are not written over", path)
	}
	return err
}
