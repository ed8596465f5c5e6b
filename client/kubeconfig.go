package client

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// Config says where the API server is and who the client is. Files are read
// again when they change, a kubeconfig among them; given as data they stay.
type Config struct {
	// Kubeconfig is the path of a kubeconfig, whose values fill what is empty
	// below; its newer credentials and authorities are taken, but no other
	// server. Context is one of its contexts, the current one when empty.
	Kubeconfig string
	Context    string

	// Server is https://HOST:PORT.
	Server string
	// ServerName replaces the host in the server's certificate.
	ServerName string
	CAFile     string
	CAData     []byte
	// Insecure accepts any certificate of the server.
	Insecure bool

	CertFile, KeyFile string
	CertData, KeyData []byte
	// Token, or the file it is in, is sent with every call.
	Token     string
	TokenFile string
	// Nobody leaves out the credentials of the kubeconfig and of the fields
	// above: calls are made by what Client.As gives.
	Nobody bool
}

type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Contexts       []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
			User    string `json:"user"`
		} `json:"context"`
	} `json:"contexts"`
	Clusters []struct {
		Name    string  `json:"name"`
		Cluster cluster `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		Name string `json:"name"`
		User user   `json:"user"`
	} `json:"users"`
}

type cluster struct {
	Server   string `json:"server"`
	Name     string `json:"tls-server-name"`
	Insecure bool   `json:"insecure-skip-tls-verify"`
	CAFile   string `json:"certificate-authority"`
	CAData   []byte `json:"certificate-authority-data"`
}

type user struct {
	CertFile  string `json:"client-certificate"`
	CertData  []byte `json:"client-certificate-data"`
	KeyFile   string `json:"client-key"`
	KeyData   []byte `json:"client-key-data"`
	Token     string `json:"token"`
	TokenFile string `json:"tokenFile"`
	Username  string `json:"username"`
	Exec      any    `json:"exec"`
	Provider  any    `json:"auth-provider"`
}

// Where a pod finds its service account.
const (
	podTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	podCAFile    = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
)

// complete gives the configuration with everything filled in: from the
// kubeconfig, or, when nothing names a server, from what a pod is given.
func (c Config) complete() (Config, error) {
	c, err := c.located()
	if c.Nobody {
		c.CertFile, c.KeyFile, c.CertData, c.KeyData = "", "", nil, nil
		c.Token, c.TokenFile = "", ""
	}
	return c, err
}

func (c Config) located() (Config, error) {
	if c.Kubeconfig != "" {
		return c.fromKubeconfig()
	}
	if c.Server != "" {
		return c, nil
	}
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return c, errors.New("no API server is named: neither a kubeconfig nor a server is given, and this is no pod")
	}
	c.Server = "https://" + net.JoinHostPort(host, port)
	if c.CAFile == "" && len(c.CAData) == 0 {
		c.CAFile = podCAFile
	}
	if c.Token == "" && c.TokenFile == "" {
		c.TokenFile = podTokenFile
	}
	return c, nil
}

func (c Config) fromKubeconfig() (Config, error) {
	raw, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		return c, fmt.Errorf("read kubeconfig: %w", err)
	}
	var k kubeconfig
	if err := yaml.Unmarshal(raw, &k); err != nil {
		return c, fmt.Errorf("kubeconfig %s: %w", c.Kubeconfig, err)
	}
	first(&c.Context, k.CurrentContext)
	cl, u, err := k.pick(c.Context)
	if err != nil {
		return c, fmt.Errorf("kubeconfig %s: %w", c.Kubeconfig, err)
	}
	dir := filepath.Dir(c.Kubeconfig)
	first(&c.Server, cl.Server)
	first(&c.ServerName, cl.Name)
	c.Insecure = c.Insecure || cl.Insecure
	if c.CAFile == "" && len(c.CAData) == 0 {
		c.CAData = cl.CAData
		if len(cl.CAData) == 0 {
			c.CAFile = within(dir, cl.CAFile)
		}
	}
	c.takeUser(dir, u)
	return c, nil
}

// takeUser fills in the credentials; data wins over files, as in kubectl.
func (c *Config) takeUser(dir string, u *user) {
	if c.CertFile == "" && len(c.CertData) == 0 {
		c.CertData, c.KeyData = u.CertData, u.KeyData
		if len(u.CertData) == 0 {
			c.CertFile = within(dir, u.CertFile)
		}
		if len(u.KeyData) == 0 {
			c.KeyFile = within(dir, u.KeyFile)
		}
	}
	if c.Token == "" && c.TokenFile == "" {
		c.TokenFile = within(dir, u.TokenFile)
		if u.TokenFile == "" {
			c.Token = u.Token
		}
	}
}

func (k *kubeconfig) pick(name string) (*cluster, *user, error) {
	for i := range k.Contexts {
		if k.Contexts[i].Name != name {
			continue
		}
		ctx := &k.Contexts[i].Context
		cl := k.cluster(ctx.Cluster)
		if cl == nil {
			return nil, nil, fmt.Errorf("there is no cluster %q", ctx.Cluster)
		}
		u, err := k.user(ctx.User)
		return cl, u, err
	}
	return nil, nil, fmt.Errorf("there is no context %q", name)
}

func (k *kubeconfig) cluster(name string) *cluster {
	for i := range k.Clusters {
		if k.Clusters[i].Name == name {
			return &k.Clusters[i].Cluster
		}
	}
	return nil
}

func (k *kubeconfig) user(name string) (*user, error) {
	if name == "" {
		return &user{}, nil
	}
	for i := range k.Users {
		u := &k.Users[i].User
		switch {
		case k.Users[i].Name != name:
			continue
		case u.Exec != nil || u.Provider != nil || u.Username != "":
			return nil, fmt.Errorf("user %q has other credentials than a certificate or a token: components take these two only", name)
		}
		return u, nil
	}
	return nil, fmt.Errorf("there is no user %q", name)
}

func first(to *string, value string) {
	if *to == "" {
		*to = value
	}
}

func within(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
