package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"xebec.dev/client/brief"
)

// Protocols of the TLS handshake: the first is handed to gRPC's own transport
// by a Xebec API server, the second is gRPC for everybody.
const (
	protocolNative = "xebec-grpc"
	protocolHTTP2  = "h2"
)

// checkFiles is how often files are looked at for change.
const checkFiles = 10 * time.Second

// identity is who the server is expected to be and who the client is, as of
// the newest state of the files. It implements gRPC's transport credentials.
type identity struct {
	given Config
	host  string

	mu sync.Mutex
	// guarded by mu
	c       Config // given, with what its kubeconfig says now
	pair    *tls.Certificate
	pool    *x509.CertPool
	token   string
	stamp   string // of the files when they were read
	checked time.Time
	conns   map[net.Conn]string // open connections and the certificate's stamp each was made with
}

// newIdentity takes a configuration as it was given and as it was completed.
func newIdentity(given, c Config, host string) (*identity, error) {
	i := &identity{given: given, c: c, host: host, conns: map[net.Conn]string{}}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i, i.refresh(true)
}

// refresh reads the files again if they changed. It needs the lock. Half
// written files leave everything as it was.
func (i *identity) refresh(must bool) error {
	now := time.Now()
	if !must && now.Sub(i.checked) < checkFiles {
		return nil
	}
	i.checked = now
	c, kubeconfig := i.c, stampOf(i.given.Kubeconfig)
	if !must && kubeconfig+c.stampOfFiles() == i.stamp {
		return nil
	}
	if must {
		kubeconfig = "" // it was read a moment ago, and may have changed since
	} else if i.given.Kubeconfig != "" {
		// One that is broken, or is of another server now, hinders nobody who is
		// named by files; it is looked at again.
		if newest, err := i.given.complete(); err == nil && newest.Server == c.Server {
			c = newest
		} else {
			kubeconfig = ""
		}
	}
	stamp := kubeconfig + c.stampOfFiles()
	pair, err := c.loadPair()
	if err != nil {
		return err
	}
	pool, err := c.loadPool()
	if err != nil {
		return err
	}
	token, err := c.loadToken()
	if err != nil {
		return err
	}
	i.c, i.pair, i.pool, i.token, i.stamp = c, pair, pool, token, stamp
	return nil
}

func (c *Config) stampOfFiles() string {
	return stampOf(c.CAFile, c.CertFile, c.KeyFile, c.TokenFile)
}

func (c *Config) loadPair() (*tls.Certificate, error) {
	cert, err := content(c.CertFile, c.CertData)
	if err != nil || len(cert) == 0 {
		return nil, err
	}
	key, err := content(c.KeyFile, c.KeyData)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("client certificate %s: %w", c.CertFile, err)
	}
	return &pair, nil
}

// loadPool gives nil, the system's authorities, when none are configured.
func (c *Config) loadPool() (*x509.CertPool, error) {
	ca, err := content(c.CAFile, c.CAData)
	if err != nil || len(ca) == 0 {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("no certificates in %s", c.CAFile)
	}
	return pool, nil
}

func (c *Config) loadToken() (string, error) {
	t, err := content(c.TokenFile, []byte(c.Token))
	return strings.TrimSpace(string(t)), err
}

func content(file string, data []byte) ([]byte, error) {
	if file == "" {
		return data, nil
	}
	return os.ReadFile(file)
}

// stampOf changes when a file does: kubelets rotate by moving links, secret
// volumes by moving directories.
func stampOf(files ...string) string {
	var b strings.Builder
	for _, f := range files {
		if f == "" {
			continue
		}
		if info, err := os.Stat(f); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", f, info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String()
}

func (i *identity) config() (*tls.Config, string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	_ = i.refresh(false) // the connection will say what is wrong with the old ones
	name := i.c.ServerName
	if name == "" {
		name = i.host
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: i.pool, ServerName: name,
		InsecureSkipVerify: i.c.Insecure, // only if the configuration says so
		NextProtos:         []string{protocolNative, protocolHTTP2},
	}
	if i.pair != nil {
		c.Certificates = []tls.Certificate{*i.pair}
	}
	return c, i.certificateStamp()
}

func (i *identity) certificateStamp() string {
	if i.pair == nil || i.pair.Leaf == nil {
		return ""
	}
	return string(i.pair.Leaf.Signature)
}

var errNoProtocol = errors.New("the server speaks neither of the protocols " + protocolNative + " and " + protocolHTTP2)

// ClientHandshake implements credentials.TransportCredentials.
func (i *identity) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	cfg, stamp := i.config()
	conn := tls.Client(brief.Conn(raw), cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error is the news
		return nil, nil, err
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol == "" {
		_ = conn.Close() // as above
		return nil, nil, errNoProtocol
	}
	c := &trackedConn{Conn: conn, i: i}
	i.mu.Lock()
	i.conns[c] = stamp
	i.mu.Unlock()
	return c, credentials.TLSInfo{State: state, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

type trackedConn struct {
	net.Conn
	i *identity
}

func (c *trackedConn) Close() error {
	c.i.mu.Lock()
	delete(c.i.conns, c)
	c.i.mu.Unlock()
	return c.Conn.Close()
}

// retire closes connections made with a certificate that has been replaced,
// so that the server sees the new one before the old one expires.
func (i *identity) retire() {
	i.mu.Lock()
	_ = i.refresh(false) // half-written files: next time
	now := i.certificateStamp()
	var old []net.Conn
	for c, stamp := range i.conns {
		if stamp != now {
			old = append(old, c)
		}
	}
	i.mu.Unlock()
	for _, c := range old {
		_ = c.Close() // gRPC dials again
	}
}

// ServerHandshake implements credentials.TransportCredentials.
func (i *identity) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are a client's credentials")
}

// Info implements credentials.TransportCredentials.
func (i *identity) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls", ServerName: i.host}
}

// Clone implements credentials.TransportCredentials.
func (i *identity) Clone() credentials.TransportCredentials { return i }

// OverrideServerName implements credentials.TransportCredentials.
func (i *identity) OverrideServerName(string) error {
	return errors.New("the server's name is part of the configuration")
}

// bearer sends the token with every call.
type bearer struct{ i *identity }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	b.i.mu.Lock()
	defer b.i.mu.Unlock()
	_ = b.i.refresh(false) // a token that can't be read again may still be good
	if b.i.token == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + b.i.token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (b bearer) RequireTransportSecurity() bool { return true }

// sourced asks for a token with every call.
type sourced func(ctx context.Context) (string, error)

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (s sourced) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := s(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (s sourced) RequireTransportSecurity() bool { return true }
