package client

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"xebec.dev/api/scheme"
)

// Limits and times of the connection.
const (
	// maxSend is what an API server takes, in bytes.
	maxSend = 3 << 20
	// maxReceive bounds a message from the server: a batch of events that
	// share a revision is one message, however large.
	maxReceive = 1 << 30
	// window of flow control in bytes, a stream's and the connection's: the
	// initial objects of many replicas come at once.
	window = 4 << 20

	pingAfter   = 20 * time.Second
	pingTimeout = 10 * time.Second
)

// Options of Dial; the zero value works.
type Options struct {
	// UserAgent is the program's name and version by default.
	UserAgent string
	// Extra options of gRPC, for tests.
	Extra []grpc.DialOption
}

// Dial makes a client of the API server that c names. It does not wait for a
// connection: that comes with the first call, and again whenever it is lost.
func Dial(given Config, s *scheme.Scheme, o Options) (*Client, error) {
	c, err := given.complete()
	if err != nil {
		return nil, err
	}
	address, host, err := addressOf(c.Server)
	if err != nil {
		return nil, err
	}
	given.Context = c.Context // whatever becomes the current one
	id, err := newIdentity(given, c, host)
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", c.Server, err)
	}
	if o.UserAgent == "" {
		o.UserAgent = userAgent()
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(id),
		grpc.WithUserAgent(o.UserAgent),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(4 * window),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive), grpc.MaxCallSendMsgSize(maxSend)),
		grpc.WithDisableServiceConfig(),
	}
	if c.Token != "" || c.TokenFile != "" || c.Kubeconfig != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer{id}))
	}
	// passthrough: the connection is to the address as the kubeconfig has it.
	conn, err := grpc.NewClient("passthrough:///"+address, append(opts, o.Extra...)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", c.Server, err)
	}
	client := New(conn, s)
	stop := func() {}
	if c.CertFile != "" || c.Kubeconfig != "" {
		stop = watchFiles(id)
	}
	client.close = func() error {
		stop()
		return conn.Close()
	}
	return client, nil
}

// watchFiles retires connections as certificates are replaced, until the
// returned function is called.
func watchFiles(id *identity) func() {
	done := make(chan struct{})
	go func() {
		t := time.NewTicker(checkFiles)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				id.retire()
			case <-done:
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(done) })
}

// addressOf takes a server's URL apart.
func addressOf(server string) (address, host string, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", "", fmt.Errorf("server %q: %w", server, err)
	}
	if u.Scheme != "https" || u.Host == "" || u.Path != "" && u.Path != "/" {
		return "", "", fmt.Errorf("server %q is not of the form https://HOST[:PORT]", server)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port), u.Hostname(), nil
}

func userAgent() string {
	return fmt.Sprintf("%s/%s (%s/%s)", filepath.Base(os.Args[0]), "v1.37", runtime.GOOS, runtime.GOARCH)
}
