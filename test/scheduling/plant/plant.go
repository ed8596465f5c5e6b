// Package plant runs etcd, kube-apiserver and kube-scheduler as processes, for
// benchmarks and tests of scheduling: nodes are objects without kubelets.
package plant

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/test/clientca"
)

// Plant is the three processes and how to reach them.
type Plant struct {
	Dir, Kubeconfig, URL         string
	Etcd, APIServer, Scheduler   *Process
	bin                          string
	apiPort, schedPort, etcdPort int
}

// Options of a plant.
type Options struct {
	// Bin is the directory of the built programs.
	Bin string
	// Dir for data; it must exist.
	Dir string
	// Scheduler and APIServer are further arguments.
	Scheduler []string
	// NoScheduler leaves the scheduler to be started later.
	NoScheduler bool
	APIServer   []string
}

// admissionOff are plugins that need controllers and kubelets to be of use.
const admissionOff = "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition"

// Start starts everything and waits until it is ready.
func Start(o Options) (*Plant, error) {
	p := &Plant{Dir: o.Dir, bin: o.Bin, apiPort: freePort(), schedPort: freePort(), etcdPort: freePort()}
	p.URL, p.Kubeconfig = fmt.Sprintf("https://127.0.0.1:%d", p.apiPort), filepath.Join(o.Dir, "apiserver", "admin.kubeconfig")
	etcd := fmt.Sprintf("http://127.0.0.1:%d", p.etcdPort)
	var err error
	p.Etcd, err = spawn(filepath.Join(o.Bin, "etcd"), "--data-dir="+filepath.Join(o.Dir, "etcd"), "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		fmt.Sprintf("--listen-peer-urls=http://127.0.0.1:%d", freePort()), "--log-level=error", "--quota-backend-bytes=8589934592")
	if err == nil {
		err = p.Etcd.ready(etcd + "/health")
	}
	if err == nil {
		args := append([]string{"--data-dir=" + filepath.Join(o.Dir, "apiserver"), "--etcd-servers=" + etcd, "--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", p.apiPort), admissionOff}, o.APIServer...)
		p.APIServer, err = spawn(filepath.Join(o.Bin, "kube-apiserver"), args...)
	}
	if err == nil {
		err = p.APIServer.ready(p.URL + "/readyz")
	}
	if err == nil {
		err = p.identity()
	}
	if err == nil && !o.NoScheduler {
		err = p.StartScheduler(o.Scheduler...)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// identity makes the scheduler's kubeconfig: it has the rights and the share of
// the server that it has in a cluster, not the administrator's.
func (p *Plant) identity() error {
	ca, err := clientca.Open(filepath.Join(p.Dir, "apiserver"))
	if err != nil {
		return err
	}
	return ca.Kubeconfig(p.schedulerKubeconfig(), p.URL, "system:kube-scheduler")
}

func (p *Plant) schedulerKubeconfig() string { return filepath.Join(p.Dir, "scheduler.kubeconfig") }

// StartScheduler starts the scheduler, again after it was stopped.
func (p *Plant) StartScheduler(args ...string) (err error) {
	p.Scheduler, err = p.scheduler(p.schedPort, args)
	return err
}

// AnotherScheduler starts one more; the caller ends it.
func (p *Plant) AnotherScheduler(args ...string) (*Process, error) {
	return p.scheduler(freePort(), args)
}

func (p *Plant) scheduler(port int, args []string) (*Process, error) {
	all := append([]string{"--kubeconfig=" + p.schedulerKubeconfig(), "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--leader-elect=false",
		"--authorization-always-allow-paths=/healthz,/readyz,/livez,/metrics,/configz,/debug/*,/metrics/resources,/statusz", "--contention-profiling=false"}, args...)
	s, err := spawn(filepath.Join(p.bin, "kube-scheduler"), all...)
	if err != nil {
		return nil, err
	}
	return s, s.ready(fmt.Sprintf("https://127.0.0.1:%d/readyz", port))
}

// SchedulerURL is the scheduler's HTTPS endpoint.
func (p *Plant) SchedulerURL() string { return fmt.Sprintf("https://127.0.0.1:%d", p.schedPort) }

// Stop ends all processes.
func (p *Plant) Stop() {
	for _, q := range []*Process{p.Scheduler, p.APIServer, p.Etcd} {
		q.Kill()
	}
}

// Client is the administrator's gRPC client.
func (p *Plant) Client() (*client.Client, error) {
	return client.Dial(client.Config{Kubeconfig: p.Kubeconfig}, builtin.Scheme(), client.Options{})
}

// HTTP is the administrator's HTTP client; each has a connection of its own.
func (p *Plant) HTTP() (*http.Client, error) {
	dir := filepath.Join(p.Dir, "apiserver", "pki")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "admin.crt"), filepath.Join(dir, "admin.key"))
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}, // a server that this process started
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64,
	}}, nil
}

// Insecure asks endpoints that need no credentials.
var Insecure = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// Process is a server.
type Process struct {
	cmd  *exec.Cmd
	log  lockedBuffer
	exit chan error
	once sync.Once
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

func spawn(binary string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(binary, args...), exit: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (make build makes it): %w", binary, err)
	}
	go func() { p.exit <- p.cmd.Wait() }()
	return p, nil
}

// Log is what the process has written.
func (p *Process) Log() string { return p.log.String() }

// Kill ends the process at once.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	p.once.Do(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.exit
	})
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Wait waits for the end, for at most d.
func (p *Process) Wait(d time.Duration) error {
	select {
	case err := <-p.exit:
		p.exit <- err
		return err
	case <-time.After(d):
		return errors.New("the process has not ended")
	}
}

func (p *Process) ready(url string) error {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		resp, err := Insecure.Get(url)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case e := <-p.exit:
			p.exit <- e
			return fmt.Errorf("%s ended: %v\n%s", p.cmd.Path, e, &p.log)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after two minutes: %w\n%s", p.cmd.Path, err, &p.log)
		}
	}
}

// CPU is the processor time used so far, to 10 ms.
func (p *Process) CPU() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold anything
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 on every Linux
}

// RSS is the resident memory in bytes.
func (p *Process) RSS() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
