// Package apiservertest runs the built kube-apiserver for tests.
package apiservertest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a running kube-apiserver.
type Server struct {
	// URL is https://127.0.0.1:PORT.
	URL  string
	Port int
	// Dir is its --data-dir.
	Dir        string
	Kubeconfig string
	Args       []string

	cmd  *exec.Cmd
	log  *lockedBuffer
	exit chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Bin is the directory of the built programs: bin/ in this tree, or what
// XEBEC_BIN says.
func Bin() string {
	if dir := os.Getenv("XEBEC_BIN"); dir != "" {
		return dir
	}
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "bin")
}

// Binary is the path of a built program.
func Binary(name string) string { return filepath.Join(Bin(), name) }

// given are the ports that this program's FreePort has named.
var given sync.Map

// FreePort is a port of 127.0.0.1 that nobody listens on. It lies outside the
// ranges of outgoing connections, of node ports and of the daemons' own, so that
// it stays free, and is never named twice.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 12000 + rand.IntN(18000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		if _, twice := given.LoadOrStore(port, true); !twice {
			return port
		}
	}
	t.Fatal("no port of 127.0.0.1 between 12000 and 30000 is free")
	return 0
}

// Start runs kube-apiserver --data-dir on a free port and waits until it is
// ready; it is stopped when the test ends.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartIn(t, t.TempDir(), args...)
}

// StartIn is Start with a data directory of the caller's.
func StartIn(t testing.TB, dir string, args ...string) *Server {
	t.Helper()
	port := FreePort(t)
	s := &Server{Dir: dir, Port: port, URL: fmt.Sprintf("https://127.0.0.1:%d", port), Kubeconfig: filepath.Join(dir, "admin.kubeconfig")}
	s.Args = append([]string{"--data-dir=" + dir, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port)}, args...)
	s.Run(t)
	t.Cleanup(s.Kill)
	return s
}

// Run starts the process, again after Stop or Kill, and waits for readiness.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	s.log = &lockedBuffer{}
	s.cmd = exec.Command(Binary("kube-apiserver"), s.Args...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start kube-apiserver (make build makes it): %v", err)
	}
	s.exit = make(chan error, 1)
	go func(c *exec.Cmd, exit chan error) { exit <- c.Wait() }(s.cmd, s.exit)
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // a probe, no secrets
	for deadline := time.Now().Add(60 * time.Second); ; {
		resp, err := client.Get(s.URL + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-s.exit:
			t.Fatalf("kube-apiserver %s ended: %v\n%s", strings.Join(s.Args, " "), err, s.log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("kube-apiserver was not ready after a minute: %v\n%s", err, s.log)
		}
	}
}

// PID of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Log is what it has written so far.
func (s *Server) Log() string { return s.log.String() }

// Kill ends it at once (SIGKILL) and waits.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.exit
	s.cmd = nil
}

// Stop ends it as an operator would (SIGTERM) and waits up to 20 s.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.exit:
		if err != nil {
			t.Errorf("after SIGTERM: %v\n%s", err, s.log)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("not ended 20 s after SIGTERM\n%s", s.log)
		_ = s.cmd.Process.Kill()
		<-s.exit
	}
	s.cmd = nil
}

// TLS is the administrator's client configuration.
func (s *Server) TLS(t testing.TB) *tls.Config {
	t.Helper()
	dir := filepath.Join(s.Dir, "pki")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "admin.crt"), filepath.Join(dir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
}

// Client is the administrator's HTTP client.
func (s *Server) Client(t testing.TB) *http.Client {
	t.Helper()
	return &http.Client{Transport: &http.Transport{TLSClientConfig: s.TLS(t), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16}}
}

// TokenClient is an HTTP client with a bearer token and no certificate; a
// request's own Authorization header goes first.
func (s *Server) TokenClient(t testing.TB, token string) *http.Client {
	t.Helper()
	config := s.TLS(t)
	config.Certificates = nil
	return &http.Client{Transport: WithToken(token, &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 32})}
}

// WithToken adds a bearer token to requests without an Authorization header.
func WithToken(token string, next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if _, ok := r.Header["Authorization"]; !ok {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// RecordedTokens writes the token file of the server that was recorded.
func RecordedTokens(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.csv")
	text := RecordedAdmin + ",admin,admin,system:masters\nusertoken,alice,alice,devs\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// RecordedAdmin is the token of the user that the recordings call admin.
const RecordedAdmin = "admintoken"
