// Package kubeconfig writes and reads the kubeconfigs of a node.
package kubeconfig

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/pki"
)

// Config is a kubeconfig; only what this program writes and reads.
type Config struct {
	APIVersion     string         `json:"apiVersion"`
	Kind           string         `json:"kind"`
	Clusters       []NamedCluster `json:"clusters"`
	Contexts       []NamedContext `json:"contexts"`
	CurrentContext string         `json:"current-context"`
	Preferences    struct{}       `json:"preferences"`
	Users          []NamedUser    `json:"users"`
}

// NamedCluster is an API server.
type NamedCluster struct {
	Name    string  `json:"name"`
	Cluster Cluster `json:"cluster"`
}

// Cluster is where an API server is, and who vouches for it.
type Cluster struct {
	CAData []byte `json:"certificate-authority-data,omitempty"`
	CA     string `json:"certificate-authority,omitempty"`
	Server string `json:"server"`
}

// NamedContext joins a cluster and a user.
type NamedContext struct {
	Name    string  `json:"name"`
	Context Context `json:"context"`
}

// Context joins a cluster and a user.
type Context struct {
	Cluster   string `json:"cluster"`
	Namespace string `json:"namespace,omitempty"`
	User      string `json:"user"`
}

// NamedUser has credentials.
type NamedUser struct {
	Name string `json:"name"`
	User User   `json:"user"`
}

// User is a certificate or a token.
type User struct {
	CertData  []byte `json:"client-certificate-data,omitempty"`
	Cert      string `json:"client-certificate,omitempty"`
	KeyData   []byte `json:"client-key-data,omitempty"`
	Key       string `json:"client-key,omitempty"`
	Token     string `json:"token,omitempty"`
	TokenFile string `json:"tokenFile,omitempty"`
}

// New makes a kubeconfig with one context.
func New(server string, ca []byte, cluster, userName string, u User) *Config {
	c := &Config{APIVersion: "v1", Kind: "Config"}
	c.Clusters = []NamedCluster{{Name: cluster, Cluster: Cluster{CAData: ca, Server: server}}}
	if userName == "" {
		c.Contexts, c.Users = []NamedContext{}, []NamedUser{}
		c.Clusters[0].Name = ""
		return c
	}
	c.CurrentContext = userName + "@" + cluster
	c.Contexts = []NamedContext{{Name: c.CurrentContext, Context: Context{Cluster: cluster, User: userName}}}
	c.Users = []NamedUser{{Name: userName, User: u}}
	return c
}

// Marshal is the file's content.
func (c *Config) Marshal() ([]byte, error) { return yaml.Marshal(c) }

// Write writes the file, its owner's alone. One that is there stays the same
// file: a static pod is given the file, not the name, and would go on reading
// what it was.
func (c *Config) Write(path string) error {
	raw, err := c.Marshal()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return pki.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		return err
	}
	// At every moment a whole file: one that gets shorter ends in empty lines
	// until it is cut. Who reads both halves of a write finds them apart and comes
	// again.
	info, err := f.Stat()
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err == nil {
		padded := append(raw[:len(raw):len(raw)], bytes.Repeat([]byte("\n"), max(0, int(info.Size())-len(raw)))...)
		_, err = f.WriteAt(padded, 0)
	}
	if err == nil {
		err = errors.Join(f.Truncate(int64(len(raw))), f.Sync())
	}
	return errors.Join(err, f.Close())
}

// Read reads a file.
func Read(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return c, nil
}

// Parse reads content; names of clusters may be missing (cluster-info).
func Parse(raw []byte) (*Config, error) {
	c := &Config{}
	if err := yaml.Unmarshal(raw, c); err != nil {
		return nil, err
	}
	if len(c.Clusters) == 0 {
		return nil, errors.New("it names no cluster")
	}
	return c, nil
}

// Certificate is the client certificate that is within the file.
func (c *Config) Certificate() (*x509.Certificate, error) {
	if len(c.Users) == 0 || len(c.Users[0].User.CertData) == 0 {
		return nil, errors.New("it has no client certificate within")
	}
	return pki.ParseCert(c.Users[0].User.CertData)
}

// Client is a user with a certificate.
func Client(s pki.Spec, ca *pki.Pair, algorithm string, now time.Time, life time.Duration) (User, error) {
	p, err := pki.Issue(s, ca, algorithm, now, life)
	if err != nil {
		return User{}, err
	}
	key, err := p.KeyPEM()
	return User{CertData: p.CertPEM(), KeyData: key}, err
}

// SetCertificate replaces the client certificate within.
func (c *Config) SetCertificate(p *pki.Pair) error {
	key, err := p.KeyPEM()
	if err != nil {
		return err
	}
	c.Users[0].User.CertData, c.Users[0].User.KeyData = p.CertPEM(), key
	return nil
}
