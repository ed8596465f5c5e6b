// Package egress leads the server's own connections through proxies: to nodes,
// pods and services, and to what stands beside the control plane.
package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/apiserver/internal/configfile"
)

// Dial connects; nil is without a proxy.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Where connections go to.
const (
	Cluster      = "cluster"
	ControlPlane = "controlplane"
	Etcd         = "etcd"
)

// Selector has the way to each. A nil Selector is without proxies.
type Selector struct{ ways map[string]Dial }

// To gives the way to Cluster or ControlPlane.
func (s *Selector) To(where string) Dial {
	if s == nil {
		return nil
	}
	return s.ways[where]
}

// configuration is the kind EgressSelectorConfiguration.
type configuration struct {
	metav1.TypeMeta `json:",inline"`
	Selections      []selection `json:"egressSelections"`
}

type selection struct {
	Name       string     `json:"name"`
	Connection connection `json:"connection"`
}

type connection struct {
	Protocol  string     `json:"proxyProtocol"`
	Transport *transport `json:"transport,omitempty"`
}

type transport struct {
	TCP *tcp `json:"tcp,omitempty"`
	UDS *uds `json:"uds,omitempty"`
}

type tcp struct {
	URL string     `json:"url,omitempty"`
	TLS *tlsConfig `json:"tlsConfig,omitempty"`
}

type uds struct {
	Name string `json:"udsName,omitempty"`
}

type tlsConfig struct {
	CA   string `json:"caBundle,omitempty"`
	Key  string `json:"clientKey,omitempty"`
	Cert string `json:"clientCert,omitempty"`
}

// Parse reads an EgressSelectorConfiguration.
func Parse(content []byte) (*Selector, error) {
	var c configuration
	if _, err := configfile.Decode(content, "apiserver.k8s.io", "EgressSelectorConfiguration", []string{"v1beta1", "v1alpha1"}, &c); err != nil {
		return nil, err
	}
	s := &Selector{ways: map[string]Dial{}}
	seen := map[string]bool{}
	for i := range c.Selections {
		e, p := &c.Selections[i], field.NewPath("egressSelections").Index(i)
		switch {
		case e.Name != Cluster && e.Name != ControlPlane && e.Name != Etcd:
			return nil, field.NotSupported(p.Child("name"), e.Name, []string{Cluster, ControlPlane, Etcd})
		case seen[e.Name]:
			return nil, field.Duplicate(p.Child("name"), e.Name)
		}
		seen[e.Name] = true
		dial, err := e.Connection.dialer(p.Child("connection"))
		if err != nil {
			return nil, err
		}
		if e.Name == Etcd && dial != nil {
			return nil, field.Invalid(p.Child("connection", "proxyProtocol"), e.Connection.Protocol, "etcd is reached directly only: give Direct, or leave the selection out")
		}
		s.ways[e.Name] = dial
	}
	return s, nil
}

func (c *connection) dialer(p *field.Path) (Dial, error) {
	switch c.Protocol {
	case "Direct":
		if c.Transport != nil {
			return nil, field.Invalid(p.Child("transport"), "direct", "Transport config should be absent for direct connect")
		}
		return nil, nil
	case "GRPC":
		return nil, field.Invalid(p.Child("proxyProtocol"), c.Protocol, "proxies are spoken to by HTTPConnect: have the proxy server listen so")
	case "HTTPConnect":
		return c.Transport.connect(p.Child("transport"))
	}
	return nil, field.NotSupported(p.Child("proxyProtocol"), c.Protocol, []string{"Direct", "HTTPConnect"})
}

func (t *transport) connect(p *field.Path) (Dial, error) {
	if t == nil || (t.TCP == nil) == (t.UDS == nil) {
		return nil, field.Required(p, "exactly one of TCP or UDS must be set")
	}
	if t.UDS != nil {
		if t.UDS.Name == "" {
			return nil, field.Required(p.Child("uds", "udsName"), "UDSName should be present for UDS connections")
		}
		return through(func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{Timeout: connectTime}).DialContext(ctx, "unix", t.UDS.Name)
		}), nil
	}
	at := p.Child("tcp")
	u, err := url.Parse(t.TCP.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, field.Invalid(at.Child("url"), t.TCP.URL, "must be http://HOST:PORT or https://HOST:PORT")
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	if u.Scheme == "http" {
		if t.TCP.TLS != nil {
			return nil, field.Invalid(at.Child("tlsConfig"), "nil", "TLSConfig config should not be present when using HTTP")
		}
		return through(func(ctx context.Context) (net.Conn, error) {
			return (&net.Dialer{Timeout: connectTime}).DialContext(ctx, "tcp", host)
		}), nil
	}
	if t.TCP.TLS == nil {
		return nil, field.Required(at.Child("tlsConfig"), "TLSConfig must be present when using HTTPS")
	}
	config, err := t.TCP.TLS.client(at.Child("tlsConfig"))
	if err != nil {
		return nil, err
	}
	return through(func(ctx context.Context) (net.Conn, error) {
		return (&tls.Dialer{NetDialer: &net.Dialer{Timeout: connectTime}, Config: config}).DialContext(ctx, "tcp", host)
	}), nil
}

func (c *tlsConfig) client(p *field.Path) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, field.Invalid(p.Child("caBundle"), c.CA, err.Error())
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, field.Invalid(p.Child("caBundle"), c.CA, "no certificate found")
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, field.Required(p, "clientCert and clientKey go together")
	}
	if c.Cert != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
			return &pair, err
		}
		if _, err := load(); err != nil {
			return nil, field.Invalid(p.Child("clientCert"), c.Cert, err.Error())
		}
		// Read for each connection: certificates are renewed in place.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return config, nil
}

// connectTime bounds the connection to the proxy, and its answer.
const connectTime = 10 * time.Second

// through asks a proxy for a tunnel.
func through(proxy func(ctx context.Context) (net.Conn, error)) Dial {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, connectTime)
		defer cancel()
		conn, err := proxy(ctx)
		if err != nil {
			return nil, fmt.Errorf("connect to the egress proxy: %w", err)
		}
		tunnel, err := ask(ctx, conn, address)
		if err != nil {
			conn.Close()
			return nil, fmt.Errorf("tunnel to %s through the egress proxy: %w", address, err)
		}
		return tunnel, nil
	}
}

var errChatty = errors.New("the proxy sent more than its answer")

func ask(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	// A proxy that says nothing must not hold the caller for longer than its
	// context; a deadline in the past ends what it waits for.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if err := req.Write(conn); err != nil {
		stop()
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 4<<10)
	resp, err := http.ReadResponse(r, req)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	// The body is not closed: it is what the tunnel carries, until its end.
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the proxy answered %s", resp.Status)
	case r.Buffered() > 0:
		return nil, errChatty // servers of TLS and HTTP do not speak first
	}
	return conn, nil
}
