package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/layout"
)

// Reset takes back what init and join did to the machine.
type Reset struct {
	*Node
	CRISocket       string
	CertificatesDir string
	CleanupTmp      bool
	SkipPhases      []string
	// UnmountFlags are those of umount2, tried first.
	UnmountFlags int
	// Ignore are the checks that may fail.
	Ignore []string
	// EtcdTimeout is how long etcd is waited for; 0 is five seconds: a node that
	// is taken away may be the last.
	EtcdTimeout time.Duration
	// Kubeconfig tells where the cluster keeps its certificates, when the
	// directory was not given; empty is the node's own administrator.
	Kubeconfig string
}

// ResetPhases are the steps of reset in kubeadm's order.
func ResetPhases() []Phase[*Reset] {
	return []Phase[*Reset]{
		{"preflight", "Run reset pre-flight checks", (*Reset).preflight, nil},
		{"remove-etcd-member", "Remove a local etcd member", (*Reset).leaveEtcd, nil},
		{"cleanup-node", "Run cleanup node", (*Reset).cleanup, nil},
	}
}

// Run runs the phases that are not skipped.
func (r *Reset) Run(ctx context.Context) error {
	if slices.Contains(r.SkipPhases, "preflight") {
		r.findCertificates(ctx)
	}
	return runPhases(ctx, r, ResetPhases(), r.SkipPhases)
}

// RunPhase runs one phase alone.
func (r *Reset) RunPhase(ctx context.Context, path string) error {
	if path != "preflight" {
		r.findCertificates(ctx)
	}
	return runPhase(ctx, r, ResetPhases(), path)
}

func (r *Reset) preflight(ctx context.Context) error {
	r.say("preflight", "Running pre-flight checks")
	r.findCertificates(ctx)
	return r.Preflight(ctx, r.Ignore, []Check{{Name: "IsPrivilegedUser", Run: func(context.Context) error {
		if os.Getuid() != 0 && !r.DryRun {
			return errors.New("user is not running as root")
		}
		return nil
	}}})
}

// findCertificates asks the cluster, if it answers, where certificates are.
func (r *Reset) findCertificates(ctx context.Context) {
	if r.CertificatesDir != "" {
		return
	}
	r.CertificatesDir = layout.PKI
	file := r.Kubeconfig
	if file == "" {
		file = r.path(layout.AdminConf)
	}
	if _, err := os.Stat(file); err != nil {
		return // a worker
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := ReadClusterConfig(ctx, file)
	if err != nil {
		r.say("reset", "WARNING: the configuration could not be read from the cluster: certificates are looked for in %q: %v", layout.PKI, err)
		return
	}
	c.Default()
	r.CertificatesDir = c.CertificatesDir
}

// leaveEtcd takes this node's member out of a cluster that goes on. One that
// cannot be reached is told and passed over: the node goes in any case.
func (r *Reset) leaveEtcd(ctx context.Context) error {
	manifest := r.path(layout.Manifests + "/etcd.yaml")
	raw, err := os.ReadFile(manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, rest, found := strings.Cut(string(raw), "--initial-advertise-peer-urls=https://")
	if !found || r.DryRun {
		return nil
	}
	peer, _, _ := strings.Cut(rest, "\n")
	address := strings.Trim(strings.TrimSuffix(strings.TrimSpace(peer), ":2380"), "[]")
	e, err := newEtcd(r.path(r.CertificatesDir))
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.EtcdTimeout, 5*time.Second))
		defer cancel()
		err = e.remove(ctx, []string{"https://127.0.0.1:2379"}, address)
	}
	if err != nil {
		r.say("reset", "WARNING: this node's member of etcd was not removed: %v. If other members go on, remove it there (etcdctl member remove)", err)
	}
	return nil
}

func (r *Reset) cleanup(ctx context.Context) error {
	if r.DryRun {
		r.say("reset", "Would stop the kubelet, remove pods, unmount below %q and delete files", r.path(layout.Kubelet))
		return nil
	}
	r.say("reset", "Stopping the kubelet service")
	if r.Service != nil {
		if err := r.Service.Stop(ctx, "kubelet"); err != nil {
			r.say("reset", "WARNING: the kubelet was not stopped: %v", err)
		}
	}
	if err := RemovePods(ctx, r.CRISocket); err != nil {
		r.say("reset", "WARNING: pods were not all removed: %v", err)
	}
	r.say("reset", "Unmounting mounted directories in %q", r.path(layout.Kubelet))
	if err := host.UnmountBelow(r.path(layout.Kubelet), r.UnmountFlags); err != nil {
		return err
	}
	return r.files()
}

// files deletes contents, and leaves the directories themselves, as kubeadm does.
func (r *Reset) files() error {
	dirs := slices.DeleteFunc(host.NodeFiles(), func(d string) bool { return d == layout.Kubernetes+"/tmp" && !r.CleanupTmp })
	if r.CertificatesDir != layout.PKI {
		dirs = append(dirs, r.CertificatesDir)
	}
	r.say("reset", "Deleting contents of directories: %v", dirs)
	var errs []error
	for _, d := range dirs {
		entries, err := os.ReadDir(r.path(d))
		if err != nil {
			continue
		}
		for _, e := range entries {
			errs = append(errs, host.RemoveTree(filepath.Join(r.path(d), e.Name())))
		}
	}
	confs := []string{layout.AdminConf, layout.SuperAdminConf, layout.KubeletConf, layout.BootstrapKubeletConf, layout.ControllerManagerConf, layout.SchedulerConf}
	r.say("reset", "Deleting files: %v", confs)
	for _, f := range confs {
		if err := os.Remove(r.path(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	fmt.Fprintln(r.Out, "\nThe reset process does not clean CNI configuration and the rules of kube-proxy: kube-proxy --cleanup removes the latter.")
	return errors.Join(errs...)
}

// RemovePods stops and removes every pod of a container runtime.
func RemovePods(ctx context.Context, socket string) error {
	conn, err := DialRuntime(socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cri := runtimeapi.NewRuntimeServiceClient(conn)
	pods, err := cri.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	results := make(chan error, len(pods.GetItems()))
	for _, p := range pods.GetItems() {
		go func() {
			// Removing ends what runs at once; stopping first frees the network.
			_, err := cri.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: p.GetId()})
			if _, rerr := cri.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.GetId()}); rerr != nil {
				err = errors.Join(err, rerr)
			} else {
				err = nil
			}
			if err != nil {
				err = fmt.Errorf("pod %s/%s: %w", p.GetMetadata().GetNamespace(), p.GetMetadata().GetName(), err)
			}
			results <- err
		}()
	}
	var errs []error
	for range pods.GetItems() {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}
