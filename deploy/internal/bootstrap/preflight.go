package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
)

// Check looks at one thing before anything is changed. Its name is what
// --ignore-preflight-errors takes.
type Check struct {
	Name string
	// Warning says that a failure is told and passed over.
	Warning bool
	Run     func(context.Context) error
}

// Preflight runs the checks and says all that fail at once.
func (n *Node) Preflight(ctx context.Context, ignore []string, checks []Check) error {
	ignored := func(name string) bool {
		return slices.ContainsFunc(ignore, func(s string) bool { return strings.EqualFold(s, "all") || strings.EqualFold(s, name) })
	}
	var fatal []string
	for _, c := range checks {
		err := c.Run(ctx)
		switch {
		case err == nil:
		case c.Warning || ignored(c.Name):
			fmt.Fprintf(n.Out, "\t[WARNING %s]: %v\n", c.Name, err)
		default:
			fatal = append(fatal, fmt.Sprintf("\t[ERROR %s]: %v", c.Name, err))
		}
	}
	if len(fatal) > 0 {
		return fmt.Errorf("some fatal errors occurred:\n%s\n[preflight] If you know what you are doing, you can make a check non-fatal with `--ignore-preflight-errors=...`", strings.Join(fatal, "\n"))
	}
	return nil
}

func (n *Node) commonChecks(reg *kubeadm.NodeRegistration) []Check {
	checks := []Check{
		{Name: "IsPrivilegedUser", Run: func(context.Context) error {
			if os.Getuid() != 0 && !n.DryRun {
				return errors.New("user is not running as root")
			}
			return nil
		}},
		{Name: "CRI", Run: func(ctx context.Context) error { return RuntimeReady(ctx, reg.CRISocket) }},
		{Name: "FileContent--proc-sys-net-ipv4-ip_forward", Run: func(context.Context) error {
			return content("/proc/sys/net/ipv4/ip_forward", "1")
		}},
		{Name: "Swap", Warning: true, Run: func(context.Context) error {
			raw, err := os.ReadFile("/proc/swaps")
			if err == nil && bytes.Count(bytes.TrimSpace(raw), []byte("\n")) > 0 {
				return errors.New("swap is supported for cgroup v2 only; the kubelet must be properly configured to use swap. Please check https://kubernetes.io/docs/concepts/architecture/nodes/#swap-memory, or disable swap on the node")
			}
			return nil
		}},
		n.free(layout.KubeletConf), n.port(10250), n.emptyDir(layout.Manifests),
	}
	for _, bin := range []string{"mount", "cp"} {
		checks = append(checks, Check{Name: "FileExisting-" + bin, Run: func(context.Context) error {
			if _, err := exec.LookPath(bin); err != nil {
				return fmt.Errorf("%s not found in system path", bin)
			}
			return nil
		}})
	}
	return checks
}

func (i *Init) controlPlaneChecks() []Check {
	checks := []Check{
		{Name: "NumCPU", Run: func(context.Context) error {
			if runtime.NumCPU() < 2 {
				return fmt.Errorf("the number of available CPUs %d is less than the required 2", runtime.NumCPU())
			}
			return nil
		}},
		{Name: "Mem", Run: func(context.Context) error { return memory(1700) }},
		i.port(int(i.Config.LocalAPIEndpoint.BindPort)), i.port(10259), i.port(10257),
	}
	if e := i.Cluster.Etcd.External; e != nil {
		checks = append(checks, Check{Name: "ExternalEtcdVersion", Run: func(ctx context.Context) error { return externalEtcd(ctx, e) }})
	}
	if l := i.Cluster.Etcd.Local; l != nil {
		checks = append(checks, i.port(2379), i.port(2380), i.emptyDir(l.DataDir))
	}
	return checks
}

// port must be free.
func (n *Node) port(port int) Check {
	return Check{Name: fmt.Sprintf("Port-%d", port), Run: func(context.Context) error {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			return fmt.Errorf("port %d is in use", port)
		}
		return l.Close()
	}}
}

// emptyDir must be missing or empty.
func (n *Node) emptyDir(path string) Check {
	return Check{Name: "DirAvailable-" + strings.ReplaceAll(path, "/", "-"), Run: func(context.Context) error {
		entries, err := os.ReadDir(n.path(path))
		if err == nil && len(entries) > 0 {
			return fmt.Errorf("%s is not empty", n.path(path))
		}
		return nil
	}}
}

// free must not be there.
func (n *Node) free(path string) Check {
	return Check{Name: "FileAvailable-" + strings.ReplaceAll(path, "/", "-"), Run: func(context.Context) error {
		if _, err := os.Stat(n.path(path)); err == nil {
			return fmt.Errorf("%s already exists", n.path(path))
		}
		return nil
	}}
}

func content(file, want string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(raw)) != want {
		return fmt.Errorf("%s contents are not set to %s", file, want)
	}
	return nil
}

// memory wants so many MB, as kubeadm counts.
func memory(want uint64) error {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	var kb uint64
	if _, err := fmt.Sscanf(string(raw), "MemTotal: %d kB", &kb); err != nil {
		return fmt.Errorf("read /proc/meminfo: %w", err)
	}
	if mb := kb * 1024 / 1_000_000; mb < want {
		return fmt.Errorf("the system RAM (%d MB) is less than the minimum %d MB", mb, want)
	}
	return nil
}

// DialRuntime connects to the container runtime.
func DialRuntime(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix:"+strings.TrimPrefix(socket, "unix://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// RuntimeReady asks the container runtime whether it is ready.
func RuntimeReady(ctx context.Context, socket string) error {
	conn, err := DialRuntime(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	st, err := runtimeapi.NewRuntimeServiceClient(conn).Status(ctx, &runtimeapi.StatusRequest{})
	if err != nil {
		return fmt.Errorf("container runtime is not running at %s: %w", socket, err)
	}
	for _, c := range st.GetStatus().GetConditions() {
		if c.GetType() == "RuntimeReady" && !c.GetStatus() {
			return fmt.Errorf("container runtime at %s is not ready: %s: %s", socket, c.GetReason(), c.GetMessage())
		}
	}
	return nil
}
