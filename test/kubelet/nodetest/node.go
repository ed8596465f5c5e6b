// Package nodetest is a node for tests: in a network namespace of its own a
// containerd, a kube-apiserver and a kubelet, with real pods. Nothing of it is
// left behind.
package nodetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"xebec.dev/test/apiservertest"
)

// Options of a node; the zero value works.
type Options struct {
	// Containerd is the program, that of bin/ or the machine's by default.
	Containerd string
	// Standalone has no API server.
	Standalone bool
	// Config adds to KubeletConfiguration, as YAML.
	Config string
	Args   []string
	// RootSize and ImageSize give the kubelet's directory, and the runtime's
	// with its images, a file system of their own: "100m", in memory.
	RootSize, ImageSize string
	// Controllers runs the controller manager, with these arguments.
	Controllers []string
	// Bootstrap gives the kubelet a bootstrap token in the place of an
	// identity.
	Bootstrap bool
	// APIArgs are more arguments of the API server.
	APIArgs []string
}

// Node is a running node.
type Node struct {
	Name   string
	Dir    string
	Socket string // of containerd
	Client kubernetes.Interface
	REST   *rest.Config

	o          Options
	netns      string
	cgroup     string
	containerd *exec.Cmd
	api        *exec.Cmd
	kubelet    *exec.Cmd
	manager    *exec.Cmd
	log        *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Log is what the kubelet has written.
func (n *Node) Log() string { return n.log.String() }

// LastWords are the end of what the kubelet has written, for a test that failed;
// with KUBELET_LOG=1 all of it.
func (n *Node) LastWords() string {
	const lines = 400
	if os.Getenv("KUBELET_LOG") != "" {
		return n.Log()
	}
	all := strings.Split(n.Log(), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Binary is the path of a built program.
func Binary(name string) string { return apiservertest.Binary(name) }

// Start starts a node. Stop must be called whatever it gives.
func Start(o Options) (*Node, error) {
	if err := Sweep(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "xnode")
	if err != nil {
		return nil, err
	}
	const passable = 0o711 // root of a pod with users of its own is nobody here
	if err := os.Chmod(dir, passable); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, ownerFile), []byte(owner(os.Getpid())), 0o600); err != nil {
		return nil, err
	}
	id := filepath.Base(dir)
	n := &Node{Name: "node-" + strings.TrimPrefix(id, "xnode"), Dir: dir, Socket: filepath.Join(dir, "containerd.sock"), o: o, netns: id, cgroup: "/" + id, log: &syncBuffer{}}
	for _, step := range []func() error{n.network, n.groups, n.fileSystems, n.runContainerd, n.importImages, n.runAPI, n.connect, n.runControllers, n.bootstrap, n.configure, n.StartKubelet} {
		if err := step(); err != nil {
			return n, err
		}
	}
	return n, nil
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// network is a namespace with an address of the node's; nothing outside
// reaches it.
func (n *Node) network() error {
	if err := run("ip", "netns", "add", n.netns); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"}, {"link", "add", "eth0", "type", "veth", "peer", "name", "eth0peer"},
		{"link", "set", "eth0peer", "up"}, {"link", "set", "eth0", "up"},
		{"addr", "add", "10.77.1.1/24", "dev", "eth0"}, {"route", "add", "default", "dev", "eth0"},
	} {
		if err := run("ip", append([]string{"-n", n.netns}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// hierarchies are the roots of cgroups.
func hierarchies() []string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return []string{"/sys/fs/cgroup"}
	}
	dirs, err := filepath.Glob("/sys/fs/cgroup/*")
	if err != nil {
		return nil
	}
	return dirs
}

func (n *Node) groups() error {
	for _, h := range hierarchies() {
		if err := os.MkdirAll(h+n.cgroup, 0o755); err != nil {
			return err
		}
	}
	return nil
}

const cni = `{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"bridge","bridge":"pods0","isGateway":true,"ipMasq":false,
"ipam":{"type":"host-local","dataDir":"%s/ipam","ranges":[[{"subnet":"10.78.0.0/22"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}`

const containerdConfig = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
[grpc]
  address = "%[1]s/containerd.sock"
[ttrpc]
  address = "%[1]s/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + Pause + `"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[2]s"
    conf_dir = "%[1]s/cni"
`

// plugins is where the reference network plugins are.
func plugins() string {
	for _, d := range []string{"/usr/lib/cni", "/opt/cni/bin", Binary("cni")} {
		if _, err := os.Stat(filepath.Join(d, "bridge")); err == nil {
			return d
		}
	}
	return "/usr/lib/cni"
}

func (n *Node) program() string {
	if n.o.Containerd != "" {
		return n.o.Containerd
	}
	if _, err := os.Stat(Binary("containerd")); err == nil {
		return Binary("containerd")
	}
	return "containerd"
}

// inside runs a program in the node's network.
func (n *Node) inside(log *syncBuffer, path, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command("nsenter", append([]string{"--net=/var/run/netns/" + n.netns, name}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd, cmd.Start()
}

func (n *Node) runContainerd() error {
	if err := os.MkdirAll(filepath.Join(n.Dir, "cni"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(n.Dir, "cni", "10-test.conflist"), fmt.Appendf(nil, cni, n.Dir), 0o644); err != nil {
		return err
	}
	path := filepath.Join(n.Dir, "containerd.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, containerdConfig, n.Dir, plugins()), 0o644); err != nil {
		return err
	}
	return n.StartContainerd()
}

// KillContainerd ends the runtime without warning: what it runs goes on.
func (n *Node) KillContainerd() { kill(n.containerd, syscall.SIGKILL) }

// StartContainerd starts the runtime, again after KillContainerd.
func (n *Node) StartContainerd() error {
	path := filepath.Join(n.Dir, "containerd.toml")
	program := n.program()
	log := &syncBuffer{}
	var err error
	// The shim and runc beside the program go with it.
	if n.containerd, err = n.inside(log, filepath.Dir(program), program, "--config", path, "--log-level", "warn"); err != nil {
		return fmt.Errorf("start containerd (make up builds it; or apt-get install containerd runc containernetworking-plugins): %w", err)
	}
	return eventually(Patience, func() error {
		if err := run(n.ctr(), "-a", n.Socket, "version"); err != nil {
			return fmt.Errorf("%w\n%s", err, log)
		}
		return nil
	})
}

// Ctr runs containerd's own client on the images and containers of pods.
func (n *Node) Ctr(args ...string) error {
	return run(n.ctr(), append([]string{"-a", n.Socket, "-n", "k8s.io"}, args...)...)
}

func (n *Node) ctr() string {
	beside := filepath.Join(filepath.Dir(n.program()), "ctr")
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	return "ctr"
}

func (n *Node) importImages() error {
	for name, program := range map[string]string{Agent: "agent", Pause: "pause"} {
		to := filepath.Join(n.Dir, program+".tar")
		if err := image(name, program, to); err != nil {
			return err
		}
		if err := run(n.ctr(), "-a", n.Socket, "-n", "k8s.io", "images", "import", to); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) kubeconfig() string { return filepath.Join(n.Dir, "api", "admin.kubeconfig") }

func (n *Node) runAPI() error {
	if n.o.Standalone {
		return nil
	}
	return n.StartAPI()
}

// StartAPI starts the API server, again after StopAPI.
func (n *Node) StartAPI() error {
	log := &syncBuffer{}
	var err error
	n.api, err = n.inside(log, "", Binary("kube-apiserver"), append([]string{"--data-dir=" + filepath.Join(n.Dir, "api"), "--secure-port=6443", "--bind-address=127.0.0.1", "--kubelet-preferred-address-types=InternalIP"}, n.o.APIArgs...)...)
	if err != nil {
		return fmt.Errorf("start kube-apiserver (make build makes it): %w", err)
	}
	return eventually(Patience, func() error {
		if out, err := n.Kubectl("get", "--raw", "/readyz"); err != nil {
			return fmt.Errorf("%w: %s\n%s", err, out, log)
		}
		return nil
	})
}

// StopAPI kills the API server.
func (n *Node) StopAPI() { kill(n.api, syscall.SIGKILL) }

// Kubectl runs kubectl as the administrator.
func (n *Node) Kubectl(args ...string) (string, error) {
	return n.Command(Binary("kubectl"), append([]string{"--kubeconfig", n.kubeconfig(), "--request-timeout=30s"}, args...)...)
}

// Command runs a program in the node's network.
func (n *Node) Command(name string, args ...string) (string, error) {
	out, err := exec.Command("nsenter", append([]string{"--net=/var/run/netns/" + n.netns, name}, args...)...).CombinedOutput()
	return string(out), err
}

// dial makes a connection as if from inside.
func (n *Node) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	err = n.within(func() (err error) {
		// One socket, made here: a dialer could use other threads.
		conn, err = dialOne(ctx, network, host, port)
		return err
	})
	return conn, err
}

// HTTP is a client inside the node's network.
func (n *Node) HTTP() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: n.dial, DisableKeepAlives: true}}
}

func (n *Node) connect() error {
	if n.o.Standalone {
		return nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", n.kubeconfig())
	if err != nil {
		return err
	}
	config.Dial, config.QPS = n.dial, -1
	n.REST = config
	if n.Client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	// As xebecadm binds it: who may ask the kubelet for logs.
	_, err = n.Client.RbacV1().ClusterRoleBindings().Create(context.Background(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "kubeadm:cluster-admins"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "kubeadm:cluster-admins"}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	// There is no controller manager to make the account.
	_, err = n.Client.CoreV1().ServiceAccounts("default").Create(context.Background(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	return err
}

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://%[1]s/containerd.sock
staticPodPath: %[1]s/manifests
podLogsDir: %[1]s/log
cgroupRoot: %[2]s
failSwapOn: false
clusterDomain: cluster.local
clusterDNS: [10.96.0.10]
authentication: {x509: {clientCAFile: %[1]s/api/pki/ca.crt}, webhook: {enabled: true}, anonymous: {enabled: false}}
authorization: {mode: Webhook, webhook: {}}
`

func (n *Node) configure() error {
	if err := os.MkdirAll(n.Manifests(), 0o755); err != nil {
		return err
	}
	config := fmt.Appendf(nil, kubeletConfig, n.Dir, n.cgroup)
	if !strings.Contains(n.o.Config, "evictionHard") {
		config = append(config, "evictionHard: {memory.available: 50Mi}\n"...)
	}
	if !strings.Contains(n.o.Config, "imageGC") {
		config = append(config, "imageGCHighThresholdPercent: 100\nimageGCLowThresholdPercent: 99\n"...)
	}
	return os.WriteFile(filepath.Join(n.Dir, "kubelet.yaml"), append(config, n.o.Config...), 0o644)
}

// Manifests is the directory of static pods.
func (n *Node) Manifests() string { return filepath.Join(n.Dir, "manifests") }

// Root is the kubelet's directory.
func (n *Node) Root() string { return filepath.Join(n.Dir, "kubelet") }

// StartKubelet starts the kubelet, again after KillKubelet.
func (n *Node) StartKubelet() error {
	args := []string{"--config=" + filepath.Join(n.Dir, "kubelet.yaml"), "--root-dir=" + n.Root(), "--cert-dir=" + filepath.Join(n.Dir, "pki"), "--hostname-override=" + n.Name, "-v=4"}
	switch {
	case n.o.Bootstrap:
		args = append(args, "--kubeconfig="+n.Identity(), "--bootstrap-kubeconfig="+filepath.Join(n.Dir, "bootstrap.conf"))
	case !n.o.Standalone:
		args = append(args, "--kubeconfig="+n.kubeconfig())
	}
	var err error
	if n.kubelet, err = n.inside(n.log, "", Binary("kubelet"), append(args, n.o.Args...)...); err != nil {
		return fmt.Errorf("start the kubelet (make build makes it): %w", err)
	}
	return nil
}

// KillKubelet ends the kubelet without warning.
func (n *Node) KillKubelet() { kill(n.kubelet, syscall.SIGKILL) }

// Processes are the node's daemons by their programs' names.
func (n *Node) Processes() map[string]int {
	out := map[string]int{}
	for name, cmd := range map[string]*exec.Cmd{"containerd": n.containerd, "kube-apiserver": n.api, "kubelet": n.kubelet} {
		if cmd != nil && cmd.Process != nil {
			out[name] = cmd.Process.Pid
		}
	}
	return out
}

// KubeletPID is the kubelet's process.
func (n *Node) KubeletPID() int { return n.kubelet.Process.Pid }

func kill(cmd *exec.Cmd, s syscall.Signal) {
	if cmd == nil || cmd.Process == nil {
		return
	}
	_ = cmd.Process.Signal(s) // gone is well
	_ = cmd.Wait()
}

// eventually tries until it works.
func eventually(limit time.Duration, f func() error) error {
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// Stop ends everything and says what could not be removed.
func (n *Node) Stop() error {
	if n == nil {
		return nil
	}
	kill(n.kubelet, syscall.SIGKILL)
	kill(n.manager, syscall.SIGKILL)
	kill(n.api, syscall.SIGKILL)
	var errs []error
	if n.containerd != nil {
		errs = append(errs, n.removePods())
		kill(n.containerd, syscall.SIGTERM)
	}
	return errors.Join(append(errs, n.remove())...)
}

// unlinkLogs removes the links to this node's logs: their directory is one for
// all kubelets of the machine.
func (n *Node) unlinkLogs() error {
	links, err := filepath.Glob("/var/log/containers/*.log")
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		to, err := os.Readlink(l)
		if err == nil && strings.HasPrefix(to, n.Dir+"/") {
			err = os.Remove(l)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// unmount detaches what is mounted below the node's directory, last first.
func (n *Node) unmount() error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], n.Dir+"/") {
			points = append(points, f[4])
		}
	}
	var errs []error
	for i := len(points) - 1; i >= 0; i-- {
		if err := unix.Unmount(points[i], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", points[i], err))
		}
	}
	return errors.Join(errs...)
}

// removeGroups removes the node's cgroups, deepest first.
func (n *Node) removeGroups() error {
	return eventually(Patience, func() error {
		var errs []error
		for _, h := range hierarchies() {
			var dirs []string
			_ = filepath.WalkDir(h+n.cgroup, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for i := len(dirs) - 1; i >= 0; i-- {
				if err := os.Remove(dirs[i]); err != nil && !errors.Is(err, os.ErrNotExist) {
					errs = append(errs, err)
				}
			}
		}
		return errors.Join(errs...)
	})
}

// Netns is the name of the node's network namespace.
func (n *Node) Netns() string { return n.netns }

// Cgroup is the node's own, below which its pods' are.
func (n *Node) Cgroup() string { return n.cgroup }
