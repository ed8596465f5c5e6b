// Package kubeconfig reads the kubeconfig files by which webhooks are
// configured: one server, and how to speak to it.
package kubeconfig

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"xebec.dev/apiserver/internal/egress"
)

// Remote is a server and a client that is authenticated to it.
type Remote struct {
	// URL is where requests go.
	URL    string
	Client *http.Client
}

type file struct {
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
	Server     string `json:"server"`
	ServerName string `json:"tls-server-name"`
	Insecure   bool   `json:"insecure-skip-tls-verify"`
	CAFile     string `json:"certificate-authority"`
	CAData     string `json:"certificate-authority-data"`
	ProxyURL   string `json:"proxy-url"`
}

type user struct {
	CertFile  string `json:"client-certificate"`
	CertData  string `json:"client-certificate-data"`
	KeyFile   string `json:"client-key"`
	KeyData   string `json:"client-key-data"`
	Token     string `json:"token"`
	TokenFile string `json:"tokenFile"`
	Username  string `json:"username"`
	Password  string `json:"password"`
	Exec      any    `json:"exec"`
	Provider  any    `json:"auth-provider"`
}

// Load reads a file. Paths in it are relative to where it is. Connections are
// made by dial, directly when it is nil.
func Load(path string, dial egress.Dial) (*Remote, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := parse(raw, filepath.Dir(path), dial)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return r, nil
}

func parse(raw []byte, dir string, dial egress.Dial) (*Remote, error) {
	var f file
	if err := yaml.Unmarshal(raw, &f); err != nil {
		return nil, err
	}
	c, u, err := f.current()
	if err != nil {
		return nil, err
	}
	server, err := url.Parse(c.Server)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if server.Scheme != "https" && server.Scheme != "http" || server.Host == "" {
		return nil, fmt.Errorf("server %q is not an http or https URL", c.Server)
	}
	t, err := transport(c, u, dir)
	if err != nil {
		return nil, err
	}
	if dial != nil {
		t.DialContext = dial
	}
	return &Remote{URL: c.Server, Client: &http.Client{
		Transport: &authenticated{next: t, user: *u, dir: dir},
		// A redirect would take the request, with its credentials, elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// current is the cluster and user of the current context, or the only ones.
func (f *file) current() (*cluster, *user, error) {
	name, clusterName, userName := f.CurrentContext, "", ""
	for _, c := range f.Contexts {
		if c.Name == name {
			clusterName, userName = c.Context.Cluster, c.Context.User
		}
	}
	if name != "" && clusterName == "" {
		return nil, nil, fmt.Errorf("context %q does not exist or has no cluster", name)
	}
	var found *cluster
	for i := range f.Clusters {
		if c := &f.Clusters[i]; c.Name == clusterName || clusterName == "" && len(f.Clusters) == 1 {
			found = &c.Cluster
		}
	}
	if found == nil {
		return nil, nil, errors.New("no cluster is configured")
	}
	for i := range f.Users {
		if f.Users[i].Name == userName {
			return found, &f.Users[i].User, nil
		}
	}
	return found, &user{}, nil
}

func transport(c *cluster, u *user, dir string) (*http.Transport, error) {
	if c.Insecure {
		return nil, errors.New("insecure-skip-tls-verify is not accepted: give the certificate-authority")
	}
	if u.Exec != nil || u.Provider != nil {
		return nil, errors.New("users with exec or auth-provider are not supported here")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	ca, err := content(c.CAFile, c.CAData, dir)
	if err != nil {
		return nil, fmt.Errorf("certificate-authority: %w", err)
	}
	if ca != nil {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("certificate-authority: no certificate found")
		}
	}
	load := func() (*tls.Certificate, error) {
		cert, err := content(u.CertFile, u.CertData, dir)
		if err != nil || cert == nil {
			return &tls.Certificate{}, err
		}
		key, err := content(u.KeyFile, u.KeyData, dir)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		return &pair, err
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("client-certificate: %w", err)
	}
	// Read for each connection: client certificates are renewed in place.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	t := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second,
	}
	if c.ProxyURL != "" {
		proxy, err := url.Parse(c.ProxyURL)
		if err != nil {
			return nil, fmt.Errorf("proxy-url: %w", err)
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	return t, nil
}

func content(path, data, dir string) ([]byte, error) {
	switch {
	case data != "":
		return base64.StdEncoding.DecodeString(data)
	case path == "":
		return nil, nil
	}
	return os.ReadFile(within(dir, path))
}

func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// authenticated adds the user's credentials to requests.
type authenticated struct {
	next http.RoundTripper
	user user
	dir  string
}

func (a *authenticated) RoundTrip(r *http.Request) (*http.Response, error) {
	token := a.user.Token
	if a.user.TokenFile != "" {
		raw, err := os.ReadFile(within(a.dir, a.user.TokenFile))
		if err != nil {
			return nil, err
		}
		token = strings.TrimSpace(string(raw))
	}
	if token == "" && a.user.Username == "" {
		return a.next.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	} else {
		r.SetBasicAuth(a.user.Username, a.user.Password)
	}
	return a.next.RoundTrip(r)
}

// InCluster is the API server as a pod sees it, with the pod's service account.
func InCluster() (*Remote, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, errors.New("unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined")
	}
	const dir = "/var/run/secrets/kubernetes.io/serviceaccount"
	c := &cluster{Server: "https://" + net.JoinHostPort(host, port), CAFile: "ca.crt"}
	u := &user{TokenFile: "token"}
	t, err := transport(c, u, dir)
	if err != nil {
		return nil, err
	}
	return &Remote{URL: c.Server, Client: &http.Client{
		Transport:     &authenticated{next: t, user: *u, dir: dir},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}
