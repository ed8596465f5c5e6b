package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/layout"
)

// Join makes the machine a node of a cluster that is there.
type Join struct {
	*Node
	Config *kubeadm.JoinConfiguration

	// Cluster and shared are what the cluster keeps of its configuration.
	Cluster *kubeadm.ClusterConfiguration
	shared  map[string]any
	info    *kubeconfig.Config
	token   *client.Client
	// plane does a control plane node's phases, in the words of init.
	plane *Init
}

// JoinPhases are the steps of join in kubeadm's order, with kubeadm's names.
func JoinPhases() []Phase[*Join] {
	type phases = []Phase[*Join]
	return phases{
		{"preflight", "Run join pre-flight checks", (*Join).preflight, nil},
		{"control-plane-prepare", "Prepare the machine for serving a control plane", nil, phases{
			{"download-certs", "Download certificates shared among control-plane nodes from the kubeadm-certs Secret", (*Join).download, nil},
			{"certs", "Generate the certificates for the new control plane components", inPlane("certs"), nil},
			{"kubeconfig", "Generate the kubeconfig for the new control plane components", inPlane("kubeconfig"), nil},
			{"control-plane", "Generate the manifests for the new control plane components", inPlane("control-plane"), nil}}},
		{"kubelet-start", "Write kubelet settings, certificates and (re)start the kubelet", (*Join).kubeletStart, nil},
		{"etcd-join", "Join etcd for control plane nodes", (*Join).etcd, nil},
		{"kubelet-wait-bootstrap", "Wait for the kubelet to bootstrap itself", (*Join).waitBootstrap, nil},
		{"control-plane-join", "Join a machine as a control plane instance", nil, phases{
			{"mark-control-plane", "Mark a node as a control-plane", (*Join).mark, nil}}},
		{"wait-control-plane", "Wait for the control plane to start", (*Join).waitPlane, nil},
	}
}

// Run runs the phases that are not skipped.
func (j *Join) Run(ctx context.Context) error {
	defer func() {
		if j.token != nil {
			j.token.Close()
		}
	}()
	if err := runPhases(j.tellLate(ctx), j, JoinPhases(), j.Config.SkipPhases); err != nil {
		return err
	}
	fmt.Fprintln(j.Out, "\nThis node has joined the cluster:\n* Certificate signing request was sent to apiserver and a response was received.\n* The Kubelet was informed of the new secure connection details.\n\nRun 'kubectl get nodes' on the control-plane to see this node join the cluster.")
	return nil
}

// RunPhase runs one phase alone, or as PHASE/PART a part of it.
func (j *Join) RunPhase(ctx context.Context, path string) error {
	return runPhase(j.tellLate(ctx), j, JoinPhases(), path)
}

func (j *Join) preflight(ctx context.Context) error {
	j.say("preflight", "Running pre-flight checks")
	checks := append(j.commonChecks(&j.Config.NodeRegistration), j.free(layout.BootstrapKubeletConf))
	if j.Config.ControlPlane == nil {
		checks = append(checks, j.free(layout.PKI+"/ca.crt"))
	}
	if err := j.Node.Preflight(ctx, j.Config.NodeRegistration.IgnorePreflightErrors, checks); err != nil {
		return err
	}
	if err := j.find(ctx); err != nil {
		return err
	}
	plane, err := j.asInit(ctx)
	if err != nil || plane == nil {
		return err
	}
	return j.Node.Preflight(ctx, j.Config.NodeRegistration.IgnorePreflightErrors, []Check{plane.imageCheck(func() []string {
		c := *j.Cluster
		c.Proxy.Disabled, c.DNS.Disabled = true, true // the kubelet pulls what the cluster places here
		return c.Images()
	})})
}

// find discovers the cluster and reads its configuration.
func (j *Join) find(ctx context.Context) error {
	if j.info != nil {
		return nil
	}
	info, err := discover(ctx, j.Config.Discovery, j.Config.Timeouts.Discovery.Duration)
	if err != nil {
		return err
	}
	cl := info.Clusters[0].Cluster
	j.token, err = client.Dial(client.Config{Server: cl.Server, CAData: cl.CAData, CAFile: cl.CA, Token: j.Config.Discovery.TLSBootstrapToken}, builtin.Scheme(), client.Options{UserAgent: manager})
	if err != nil {
		return err
	}
	j.say("preflight", "Reading configuration from the %q ConfigMap in namespace %q...", configMapKubeadm, "kube-system")
	if err := j.read(ctx, configMapKubeadm, "ClusterConfiguration", func(raw []byte) error {
		f, err := kubeadm.Decode(raw)
		if err == nil && f.Cluster == nil {
			err = errors.New("there is no ClusterConfiguration in it")
		}
		if err == nil {
			j.Cluster = f.Cluster
			j.Cluster.Default()
		}
		return err
	}); err != nil {
		return err
	}
	err = j.read(ctx, configMapKubelet, "kubelet", func(raw []byte) error { return yaml.Unmarshal(raw, &j.shared) })
	if err != nil {
		return err
	}
	j.info = info
	return nil
}

func (j *Join) read(ctx context.Context, name, key string, use func([]byte) error) error {
	m, err := client.Get[*corev1.ConfigMap](ctx, j.token, metav1.NamespaceSystem, name)
	if err != nil {
		return fmt.Errorf("read ConfigMap kube-system/%s: %w", name, err)
	}
	if err := use([]byte(m.Data[key])); err != nil {
		return fmt.Errorf("ConfigMap kube-system/%s, %s: %w", name, key, err)
	}
	return nil
}

// kubeletStart lets the kubelet ask for its certificate with the token.
func (j *Join) kubeletStart(ctx context.Context) error {
	if err := j.find(ctx); err != nil {
		return err
	}
	cl := j.info.Clusters[0].Cluster
	if err := j.writeFile(j.Config.CACertPath, cl.CAData, 0o644); err != nil {
		return err
	}
	if j.Config.ControlPlane == nil {
		b := kubeconfig.New(cl.Server, cl.CAData, j.Cluster.ClusterName, "tls-bootstrap-token-user", kubeconfig.User{Token: j.Config.Discovery.TLSBootstrapToken})
		if err := b.Write(j.path(layout.BootstrapKubeletConf)); err != nil {
			return err
		}
	}
	// The driver of cgroups is the machine's, not the cluster's.
	j.shared["cgroupDriver"] = map[bool]string{true: "systemd", false: "cgroupfs"}[j.Kubelet.Systemd]
	if err := os.MkdirAll(j.path(layout.Manifests), 0o755); err != nil {
		return err
	}
	if err := j.writeKubelet(j.shared, &j.Config.NodeRegistration, j.Config.Patches); err != nil {
		return err
	}
	return j.startKubelet(ctx)
}

// waitBootstrap waits until the kubelet has its certificate. A control plane
// node's has been made by its certificates.
func (j *Join) waitBootstrap(ctx context.Context) error {
	if j.DryRun || j.Service == nil {
		return nil
	}
	if err := j.find(ctx); err != nil {
		return err
	}
	if err := j.waitKubelet(ctx, j.Config.Timeouts.KubeletHealthCheck.Duration, j.shared); err != nil {
		return err
	}
	j.say("kubelet-start", "Waiting for the kubelet to perform the TLS Bootstrap")
	return retry(ctx, j.Config.Timeouts.TLSBootstrap.Duration, "the kubelet's certificate", func(context.Context) error {
		_, err := os.Stat(j.path(layout.KubeletConf))
		return err
	})
}

// asInit is the node in the words of init, whose phases make a control plane
// node's files; nil for a worker.
func (j *Join) asInit(ctx context.Context) (*Init, error) {
	cp := j.Config.ControlPlane
	if cp == nil || j.plane != nil {
		return j.plane, nil
	}
	if err := j.find(ctx); err != nil {
		return nil, err
	}
	if j.Cluster.ControlPlaneEndpoint == "" {
		return nil, errors.New("unable to add a new control plane instance to a cluster that doesn't have a stable controlPlaneEndpoint address: " +
			"please ensure that the cluster has one (xebecadm init --control-plane-endpoint), and that the certificates have it")
	}
	cfg := &kubeadm.InitConfiguration{NodeRegistration: j.Config.NodeRegistration, LocalAPIEndpoint: cp.LocalAPIEndpoint,
		Patches: j.Config.Patches, Timeouts: j.Config.Timeouts}
	j.plane = &Init{Node: j.Node, Cluster: j.Cluster, Config: cfg, shared: j.shared}
	return j.plane, nil
}

func (j *Join) download(ctx context.Context) error {
	plane, err := j.asInit(ctx)
	if err != nil || plane == nil {
		return err
	}
	if j.Config.ControlPlane.CertificateKey == "" {
		return nil // they were brought here
	}
	j.say("download-certs", "Downloading the certificates in Secret %q in the %q Namespace", secretCerts, "kube-system")
	return j.downloadCerts(ctx, j.token)
}

// inPlane runs a phase of init on a control plane node.
func inPlane(phase string) func(*Join, context.Context) error {
	return func(j *Join, ctx context.Context) error {
		plane, err := j.asInit(ctx)
		if err != nil || plane == nil {
			return err
		}
		return plane.RunPhase(ctx, phase)
	}
}

// etcd announces the member to the cluster of etcd and starts it. It learns
// first and votes when it has caught up: one that never comes up stops nobody.
func (j *Join) etcd(ctx context.Context) error {
	plane, err := j.asInit(ctx)
	if err != nil || plane == nil || j.Cluster.Etcd.Local == nil {
		return err
	}
	if j.DryRun {
		j.say("etcd", "Would announce a new member of etcd, start it and let it vote")
		return nil
	}
	e, err := newEtcd(j.path(j.Cluster.CertificatesDir))
	if err != nil {
		return err
	}
	endpoints, err := j.etcdEndpoints(ctx)
	if err != nil {
		return err
	}
	limit, address := j.Config.Timeouts.EtcdAPICall.Duration, plane.Config.LocalAPIEndpoint.AdvertiseAddress
	j.say("etcd", "Announced new etcd member joining to the existing etcd cluster")
	err = retry(ctx, limit, "etcd's answer", func(ctx context.Context) error {
		plane.Members, err = e.add(ctx, endpoints, j.Config.NodeRegistration.Name, address)
		return err
	})
	if err == nil {
		err = plane.RunPhase(ctx, "etcd")
	}
	if err != nil {
		return err
	}
	j.say("etcd", "Waiting for the new etcd member to join the cluster. This can take up to %s", limit)
	return retry(ctx, limit, "the new member of etcd", func(ctx context.Context) error { return e.promote(ctx, endpoints, address) })
}

func (j *Join) mark(ctx context.Context) error {
	plane, err := j.asInit(ctx)
	if err != nil || plane == nil {
		return err
	}
	return plane.mark(ctx)
}

func (j *Join) waitPlane(ctx context.Context) error {
	plane, err := j.asInit(ctx)
	if err != nil || plane == nil || j.DryRun {
		return err
	}
	return j.waitControlPlane(ctx, j.Config.Timeouts.ControlPlaneComponentHealthCheck.Duration, j.Cluster, plane.Config.LocalAPIEndpoint)
}

// etcdEndpoints are those that etcd's pods announce.
func (j *Join) etcdEndpoints(ctx context.Context) ([]string, error) {
	c, err := j.dial(layout.AdminConf)
	if err != nil {
		return nil, err
	}
	pods, _, err := client.List[*corev1.Pod](ctx, c, client.Selection{Namespace: metav1.NamespaceSystem, Labels: "component=etcd,tier=control-plane"})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range pods {
		if u := p.Annotations["kubeadm.kubernetes.io/etcd.advertise-client-urls"]; u != "" {
			out = append(out, u)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no pod of etcd in kube-system says where it serves (annotation kubeadm.kubernetes.io/etcd.advertise-client-urls)")
	}
	return out, nil
}
