package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// UserAgent of requests to containers.
const UserAgent = "kube-probe/1.37"

// maxBody read of an answer, in bytes.
const maxBody = 10 << 10

// Execer runs a command in a container. code is the command's own; the error
// of one that took too long is context.DeadlineExceeded.
type Execer interface {
	Exec(ctx context.Context, id string, command []string, timeout time.Duration) (output string, code int32, err error)
}

// probe asks once. An error is the probe's own; output of a success is a warning.
func (m *Manager) probe(ctx context.Context, p *prober, timeout time.Duration) (Result, string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch h := p.spec.ProbeHandler; {
	case h.Exec != nil:
		return m.exec(context.WithoutCancel(ctx), p, timeout)
	case h.HTTPGet != nil:
		return get(ctx, p)
	case h.TCPSocket != nil:
		return connect(ctx, p)
	case h.GRPC != nil:
		return check(ctx, p, timeout)
	}
	return Unsure, "", fmt.Errorf("missing probe handler for %s/%s:%s", p.pod.Namespace, p.pod.Name, p.target.Container.Name)
}

func (m *Manager) exec(ctx context.Context, p *prober, timeout time.Duration) (Result, string, error) {
	command := p.spec.Exec.Command
	output, code, err := m.o.Exec.Exec(ctx, p.target.ID, command, timeout)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return Failure, fmt.Sprintf("command timed out: %q timed out after %s", strings.Join(command, " "), timeout), nil
	case err != nil:
		return Unsure, "", err
	case code != 0:
		return Failure, output, nil
	}
	return Success, "", nil
}

// Port finds a container's port by number or name.
func Port(p intstr.IntOrString, c *corev1.Container) (int, error) {
	n := p.IntValue()
	if p.Type == intstr.String {
		n = 0
		for _, have := range c.Ports {
			if have.Name == p.StrVal {
				n = int(have.ContainerPort)
			}
		}
		if n == 0 {
			var err error
			if n, err = strconv.Atoi(p.StrVal); err != nil {
				return 0, fmt.Errorf("couldn't find port: %s in container %s", p.StrVal, c.Name)
			}
		}
	}
	if n < 1 || n > 65535 {
		return 0, fmt.Errorf("invalid port number: %d", n)
	}
	return n, nil
}

// URL is where an HTTP action goes.
func URL(a *corev1.HTTPGetAction, c *corev1.Container, ip string) (*url.URL, error) {
	port, err := Port(a.Port, c)
	if err != nil {
		return nil, err
	}
	host := a.Host
	if host == "" {
		host = ip
	}
	u, err := url.Parse(a.Path)
	if err != nil { // what is no URL is a path
		u = &url.URL{Path: a.Path}
	}
	u.Scheme = strings.ToLower(string(a.Scheme))
	if u.Scheme == "" {
		u.Scheme = "http"
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	u.Host = net.JoinHostPort(host, strconv.Itoa(port))
	return u, nil
}

// Request is an HTTP action as a request.
func Request(ctx context.Context, a *corev1.HTTPGetAction, u *url.URL, agent string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{}
	for _, h := range a.HTTPHeaders {
		r.Header.Add(h.Name, h.Value)
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", agent)
	}
	switch accept, given := r.Header["Accept"]; {
	case !given:
		r.Header.Set("Accept", "*/*")
	case len(accept) == 1 && accept[0] == "":
		r.Header.Del("Accept") // asked for none
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	return r, nil
}

// Transport makes a connection for each request, as a probe should, and
// doesn't ask who the pod is.
var Transport = &http.Transport{
	TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the pod's certificate is its own affair
	DisableKeepAlives: true, DisableCompression: true, Proxy: nil,
	DialContext: dialer.DialContext,
}

// dialer resets connections at their end, so that probes leave none behind in
// TIME_WAIT.
var dialer = &net.Dialer{Control: lingerNone}

// maxRedirects followed, on the same host only.
const maxRedirects = 10

func get(ctx context.Context, p *prober) (Result, string, error) {
	u, err := URL(p.spec.HTTPGet, p.target.Container, p.target.IP)
	if err != nil {
		return Unsure, "", err
	}
	r, err := Request(ctx, p.spec.HTTPGet, u, UserAgent)
	if err != nil {
		return Unsure, "", err
	}
	client := &http.Client{Transport: Transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		switch {
		case next.URL.Hostname() != via[0].URL.Hostname():
			return http.ErrUseLastResponse
		case len(via) >= maxRedirects:
			return fmt.Errorf("stopped after %d redirects", maxRedirects)
		}
		return nil
	}}
	res, err := client.Do(r)
	if err != nil {
		return Failure, err.Error(), nil
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return Failure, err.Error(), nil
	}
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return Success, fmt.Sprintf("Probe terminated redirects, Response body: %s", body), nil
	case res.StatusCode >= 200 && res.StatusCode < 400:
		return Success, "", nil
	}
	return Failure, fmt.Sprintf("HTTP probe failed with statuscode: %d", res.StatusCode), nil
}

func connect(ctx context.Context, p *prober) (Result, string, error) {
	port, err := Port(p.spec.TCPSocket.Port, p.target.Container)
	if err != nil {
		return Unsure, "", err
	}
	host := p.spec.TCPSocket.Host
	if host == "" {
		host = p.target.IP
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return Failure, err.Error(), nil
	}
	_ = conn.Close() // it opened: that was the question
	return Success, "", nil
}

func check(ctx context.Context, p *prober, timeout time.Duration) (Result, string, error) {
	service := ""
	if s := p.spec.GRPC.Service; s != nil {
		service = *s
	}
	address := net.JoinHostPort(p.target.IP, strconv.Itoa(int(p.spec.GRPC.Port)))
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent(UserAgent),
		grpc.WithDisableServiceConfig(), grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", a) }))
	if err != nil {
		return Failure, fmt.Sprintf("error: failed to connect service %q: %v", address, err), nil
	}
	defer conn.Close()
	res, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	switch status.Code(err) {
	case codes.OK:
	case codes.Unimplemented:
		return Failure, fmt.Sprintf("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", status.Convert(err).Message()), nil
	case codes.DeadlineExceeded:
		return Failure, fmt.Sprintf("timeout: health rpc did not complete within %v", timeout), nil
	case codes.Unavailable:
		return Failure, fmt.Sprintf("timeout: failed to connect service %q within %v: %v", address, timeout, err), nil
	default:
		return Failure, fmt.Sprintf("error: health rpc probe failed: %v", err), nil
	}
	if res.Status != healthpb.HealthCheckResponse_SERVING {
		return Failure, fmt.Sprintf("service unhealthy (responded with %q)", res.Status), nil
	}
	return Success, "", nil
}
