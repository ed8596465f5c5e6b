package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/client"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/kubelet"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/pki"
	"xebec.dev/deploy/internal/staticpod"
	"xebec.dev/deploy/internal/token"

	"k8s.io/apimachinery/pkg/types"
)

// Init makes the first node of a cluster.
type Init struct {
	*Node
	Cluster *kubeadm.ClusterConfiguration
	Config  *kubeadm.InitConfiguration
	// KubeletConfig and ProxyConfig are documents the user gave.
	KubeletConfig, ProxyConfig map[string]any
	UploadCerts                bool
	// HideKey keeps the key of uploaded certificates out of what is printed.
	HideKey bool
	// Corefile of CoreDNS, in place of the chart's.
	Corefile string
	// Members of etcd that are there already, when the node joins them.
	Members []string

	shared map[string]any
}

// InitPhases are the steps of init in kubeadm's order, with kubeadm's names.
func InitPhases() []Phase[*Init] {
	type phases = []Phase[*Init]
	return phases{
		{"preflight", "Run pre-flight checks", (*Init).preflight, nil},
		{"certs", "Certificate generation", (*Init).sayCerts, certParts()},
		{"kubeconfig", "Generate all kubeconfig files necessary to establish the control plane and the admin kubeconfig file", (*Init).sayKubeconfigs, kubeconfigParts()},
		{"etcd", "Generate static Pod manifest file for local etcd", nil, phases{
			{"local", "Generate the static Pod manifest file for a local, single-node local etcd instance", (*Init).etcd, nil}}},
		{"control-plane", "Generate all static Pod manifest files necessary to establish the control plane", nil, manifestParts("control-plane")},
		{"kubelet-start", "Write kubelet settings and (re)start the kubelet", (*Init).kubeletStart, nil},
		{"wait-control-plane", "Wait for the control plane to start", (*Init).wait, nil},
		{"upload-config", "Upload the kubeadm and kubelet configuration to a ConfigMap", nil, phases{
			{"kubeadm", "Upload the kubeadm ClusterConfiguration to a ConfigMap", (*Init).uploadCluster, nil},
			{"kubelet", "Upload the kubelet component config to a ConfigMap", (*Init).uploadKubelet, nil}}},
		{"upload-certs", "Upload certificates to kubeadm-certs", (*Init).uploadCerts, nil},
		{"mark-control-plane", "Mark a node as a control-plane", (*Init).mark, nil},
		{"bootstrap-token", "Generates bootstrap tokens used to join a node to a cluster", (*Init).tokens, nil},
		{"kubelet-finalize", "Updates settings relevant to the kubelet after TLS bootstrap", nil, phases{
			{"enable-client-cert-rotation", "Enable kubelet client certificate rotation", (*Init).finalize, nil}}},
		{"addon", "Install required addons for passing conformance tests", nil, phases{
			{"kube-proxy", "Install the kube-proxy addon to a Kubernetes cluster", (*Init).addonProxy, nil},
			{"coredns", "Install the CoreDNS addon to a Kubernetes cluster", (*Init).addonDNS, nil}}},
		{"show-join-command", "Show the join command for control-plane and worker node", (*Init).showJoin, nil},
	}
}

// certParts are a part for each certificate, and the keys of service accounts.
func certParts() []Phase[*Init] {
	var out []Phase[*Init]
	for _, name := range pki.Names() {
		out = append(out, Phase[*Init]{strings.ReplaceAll(name, "/", "-"), "Generate the certificate " + name, func(i *Init, _ context.Context) error { return i.cert(name) }, nil})
	}
	return append(out, Phase[*Init]{"sa", "Generate a private key for signing service account tokens along with its public key",
		func(i *Init, _ context.Context) error { return i.maker().EnsureServiceAccountKeys() }, nil})
}

func kubeconfigParts() []Phase[*Init] {
	var out []Phase[*Init]
	for _, path := range []string{layout.AdminConf, layout.SuperAdminConf, layout.KubeletConf, layout.ControllerManagerConf, layout.SchedulerConf} {
		name := strings.TrimSuffix(filepath.Base(path), ".conf")
		out = append(out, Phase[*Init]{name, "Generate the kubeconfig file " + path, func(i *Init, _ context.Context) error { return i.kubeconfigAt(path) }, nil})
	}
	return out
}

func manifestParts(phase string) []Phase[*Init] {
	var out []Phase[*Init]
	for _, name := range []string{"apiserver", "controller-manager", "scheduler"} {
		out = append(out, Phase[*Init]{name, "Generate the kube-" + name + " static Pod manifest", func(i *Init, _ context.Context) error { return i.manifests(phase, "kube-"+name) }, nil})
	}
	return out
}

// Run runs the phases that are not skipped.
func (i *Init) Run(ctx context.Context) error {
	return runPhases(i.tellLate(ctx), i, InitPhases(), i.Config.SkipPhases)
}

// RunPhase runs one phase alone, or as PHASE/PART a part of it.
func (i *Init) RunPhase(ctx context.Context, path string) error {
	return runPhase(ctx, i, InitPhases(), path)
}

func (i *Init) preflight(ctx context.Context) error {
	i.say("preflight", "Running pre-flight checks")
	return i.Node.Preflight(ctx, i.Config.NodeRegistration.IgnorePreflightErrors, slices.Concat(i.commonChecks(&i.Config.NodeRegistration), i.controlPlaneChecks(), []Check{i.imageCheck(i.needed)}))
}

func (i *Init) maker() *pki.Maker {
	return &pki.Maker{Dir: i.path(i.Cluster.CertificatesDir), Algorithm: i.Cluster.EncryptionAlgorithm,
		Life: i.Cluster.CertificateValidityPeriod.Duration, CALife: i.Cluster.CACertificateValidityPeriod.Duration, Now: time.Now(),
		Say: func(format string, args ...any) { i.say("certs", format, args...) }}
}

func (i *Init) sayCerts(context.Context) error {
	i.say("certs", "Using certificateDir folder %q", i.path(i.Cluster.CertificatesDir))
	return nil
}

// cert makes one certificate, if this cluster has it: one whose etcd is
// somebody else's has none for it.
func (i *Init) cert(name string) error {
	specs, err := pki.Specs(i.Cluster, i.Config.NodeRegistration.Name, i.Config.LocalAPIEndpoint)
	if err != nil {
		return err
	}
	return i.maker().Ensure(slices.DeleteFunc(specs, func(s pki.Spec) bool { return s.Name != name }))
}

// Kubeconfigs of a control plane node: file, user, and its certificate.
func (i *Init) kubeconfigSpecs() []struct {
	path, user string
	spec       pki.Spec
	local      bool
} {
	client := func(cn string, org ...string) pki.Spec {
		return pki.Spec{Name: cn, CA: "ca", CN: cn, Org: org, Uses: clientUse}
	}
	node := "system:node:" + i.Config.NodeRegistration.Name
	return []struct {
		path, user string
		spec       pki.Spec
		local      bool
	}{
		{layout.AdminConf, "kubernetes-admin", client("kubernetes-admin", pki.ClusterAdmins), false},
		{layout.SuperAdminConf, "kubernetes-super-admin", client("kubernetes-super-admin", pki.Masters), false},
		{layout.KubeletConf, node, client(node, "system:nodes"), true},
		{layout.ControllerManagerConf, "system:kube-controller-manager", client("system:kube-controller-manager"), true},
		{layout.SchedulerConf, "system:kube-scheduler", client("system:kube-scheduler"), true},
	}
}

func (i *Init) localServer() string {
	e := i.Config.LocalAPIEndpoint
	return "https://" + net.JoinHostPort(e.AdvertiseAddress, fmt.Sprint(e.BindPort))
}

func (i *Init) sayKubeconfigs(context.Context) error {
	i.say("kubeconfig", "Using kubeconfig folder %q", i.path(layout.Kubernetes))
	return nil
}

func (i *Init) kubeconfigAt(path string) error {
	ca, err := pki.Read(i.path(i.Cluster.CertificatesDir), "ca")
	if err != nil {
		return err
	}
	for _, k := range i.kubeconfigSpecs() {
		if k.path != path {
			continue
		}
		server := "https://" + i.Cluster.Endpoint(i.Config.LocalAPIEndpoint)
		if k.local {
			server = i.localServer()
		}
		return i.kubeconfig(k.path, k.user, server, k.spec, ca)
	}
	return fmt.Errorf("no kubeconfig is kept at %s", path)
}

// kubeconfig writes a file unless a good one is there.
func (i *Init) kubeconfig(path, user, server string, spec pki.Spec, ca *pki.Pair) error {
	old, err := kubeconfig.Read(i.path(path))
	switch {
	case err == nil:
		if string(old.Clusters[0].Cluster.CAData) != string(ca.CertPEM()) {
			return fmt.Errorf("kubeconfig %s has another authority than %s/ca.crt: remove it to have it made anew", i.path(path), i.Cluster.CertificatesDir)
		}
		if old.Clusters[0].Cluster.Server != server {
			return fmt.Errorf("kubeconfig %s names the server %s, not %s: remove it to have it made anew", i.path(path), old.Clusters[0].Cluster.Server, server)
		}
		i.say("kubeconfig", "Using existing kubeconfig file: %q", i.path(path))
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if ca.Key == nil {
		return fmt.Errorf("kubeconfig %s is missing, and so is the key of the authority that would sign for it", i.path(path))
	}
	u, err := kubeconfig.Client(spec, ca, i.Cluster.EncryptionAlgorithm, time.Now(), i.Cluster.CertificateValidityPeriod.Duration)
	if err != nil {
		return err
	}
	i.say("kubeconfig", "Writing %q kubeconfig file", filepath.Base(path))
	return kubeconfig.New(server, ca.CertPEM(), i.Cluster.ClusterName, user, u).Write(i.path(path))
}

func (i *Init) pods() map[string]*corev1.Pod {
	return staticpod.Pods(i.Cluster, &staticpod.Node{Name: i.Config.NodeRegistration.Name, Endpoint: i.Config.LocalAPIEndpoint,
		Root: i.Root, PullPolicy: i.Config.NodeRegistration.ImagePullPolicy, Members: i.Members, HostCAs: hostCAs(),
		StartLimit: i.Config.Timeouts.ControlPlaneComponentHealthCheck.Duration, ExternalCA: i.externalCA()})
}

// externalCA says that the cluster's authority is here without its key.
func (i *Init) externalCA() bool {
	p, err := pki.Read(i.path(i.Cluster.CertificatesDir), "ca")
	return err == nil && p.Key == nil
}

// hostCAs are the directories with authorities that this machine has.
func hostCAs() []string {
	var out []string
	for _, d := range []string{"/etc/ssl/certs", "/etc/ca-certificates", "/usr/local/share/ca-certificates", "/usr/share/ca-certificates", "/etc/pki/ca-trust"} {
		if st, err := os.Stat(d); err == nil && st.IsDir() {
			out = append(out, d)
		}
	}
	return out
}

func (i *Init) manifests(phase string, names ...string) error {
	if err := os.MkdirAll(i.path(layout.Manifests), 0o755); err != nil {
		return err
	}
	texts, err := i.render()
	if err != nil {
		return err
	}
	for _, name := range names {
		text, ok := texts[name]
		if !ok {
			continue
		}
		i.say(phase, "Creating static Pod manifest for %q", name)
		if err := i.writeFile(filepath.Join(layout.Manifests, name+".yaml"), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// render makes the texts of the manifests, patches included.
func (i *Init) render() (map[string][]byte, error) {
	patches, err := i.patches(i.Config.Patches)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for name, pod := range i.pods() {
		raw, err := staticpod.Marshal(pod)
		if err != nil {
			return nil, err
		}
		if out[name], err = patches.apply(name, raw); err != nil {
			return nil, err
		}
		// What a patch has made of it must still be a Pod: the kubelet would only log it.
		if err := yaml.UnmarshalStrict(out[name], &corev1.Pod{}); err != nil {
			return nil, fmt.Errorf("patches of %s: what they make is no Pod: %w", name, err)
		}
	}
	return out, nil
}

func (i *Init) etcd(context.Context) error {
	if l := i.Cluster.Etcd.Local; l != nil {
		if err := os.MkdirAll(i.path(l.DataDir), 0o700); err != nil {
			return err
		}
	}
	return i.manifests("etcd", "etcd")
}

func (i *Init) sharedKubelet() (map[string]any, error) {
	if i.shared != nil {
		return i.shared, nil
	}
	var err error
	i.shared, err = kubelet.Shared(i.Cluster, i.Kubelet.Systemd, i.KubeletConfig)
	return i.shared, err
}

func (i *Init) kubeletStart(ctx context.Context) error {
	shared, err := i.sharedKubelet()
	if err != nil {
		return err
	}
	// The taint comes with mark-control-plane; but a node that registers with it
	// never gets a pod too early.
	if err := i.writeKubelet(shared, &i.Config.NodeRegistration, i.Config.Patches); err != nil {
		return err
	}
	return i.startKubelet(ctx)
}

func (i *Init) wait(ctx context.Context) error {
	if i.DryRun {
		i.say("wait-control-plane", "Would wait for the control plane")
		return nil
	}
	i.say("wait-control-plane", "Waiting for the kubelet to boot up the control plane as static Pods from directory %q", i.path(layout.Manifests))
	shared, err := i.sharedKubelet()
	if err != nil {
		return err
	}
	t := i.Config.Timeouts
	// The kubelet shows that it works by what it starts; its own health is asked
	// beside that, to say which of both is late.
	kubeletCtx, stop := context.WithCancel(ctx)
	kubelet := make(chan error, 1)
	go func() { kubelet <- i.waitKubelet(kubeletCtx, t.KubeletHealthCheck.Duration, shared) }()
	err = i.waitControlPlane(ctx, t.ControlPlaneComponentHealthCheck.Duration, i.Cluster, i.Config.LocalAPIEndpoint)
	stop()
	if kerr := <-kubelet; err != nil {
		return errors.Join(err, kerr)
	}
	return i.adminRights(ctx)
}

// adminRights binds the administrators' group, as the one user who may.
func (i *Init) adminRights(ctx context.Context) error {
	super := *i.Node
	super.api = nil
	defer super.Close()
	if _, err := super.dial(layout.SuperAdminConf); err != nil {
		return err
	}
	return super.apply(ctx, adminObjects()...)
}

func (i *Init) uploadCluster(ctx context.Context) error {
	i.say("upload-config", "Storing the configuration used in ConfigMap %q in the %q Namespace", configMapKubeadm, "kube-system")
	objects, err := clusterObjects(i.Cluster)
	if err != nil {
		return err
	}
	return i.apply(ctx, objects...)
}

func (i *Init) uploadKubelet(ctx context.Context) error {
	i.say("kubelet", "Creating a ConfigMap %q in namespace %s with the configuration for the kubelets in the cluster", configMapKubelet, "kube-system")
	shared, err := i.sharedKubelet()
	if err != nil {
		return err
	}
	objects, err := kubeletObjects(shared)
	if err != nil {
		return err
	}
	return i.apply(ctx, objects...)
}

// mark labels and taints the node. The patch leaves other taints alone.
func (i *Init) mark(ctx context.Context) error {
	reg := &i.Config.NodeRegistration
	i.say("mark-control-plane", "Marking the node %s as control-plane by adding the labels: [%s %s]", reg.Name, kubeadm.ControlPlaneRole, excludeBalancers)
	if i.DryRun {
		return nil
	}
	c, err := i.dial(layout.AdminConf)
	if err != nil {
		return err
	}
	spec := map[string]any{}
	if len(reg.Taints) > 0 {
		i.say("mark-control-plane", "Marking the node %s as control-plane by adding the taints %v", reg.Name, taintNames(reg.Taints))
		spec["taints"] = reg.Taints
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": map[string]string{kubeadm.ControlPlaneRole: "", excludeBalancers: ""}}, "spec": spec})
	if err != nil {
		return err
	}
	return retry(ctx, i.Config.Timeouts.KubernetesAPICall.Duration, "node "+reg.Name, func(ctx context.Context) error {
		_, err := client.Patch[*corev1.Node](ctx, c, "", reg.Name, types.StrategicMergePatchType, patch, client.WriteOptions{FieldManager: manager})
		return err
	})
}

const excludeBalancers = "node.kubernetes.io/exclude-from-external-load-balancers"

func taintNames(taints []corev1.Taint) []string {
	out := make([]string, len(taints))
	for i, t := range taints {
		out[i] = t.ToString()
	}
	return out
}

func (i *Init) tokens(ctx context.Context) error {
	if len(i.Config.BootstrapTokens) == 0 {
		t, err := token.Generate()
		if err != nil {
			return err
		}
		b := kubeadm.BootstrapToken{Token: t, Description: "The default bootstrap token generated by 'xebecadm init'."}
		b.Default()
		i.Config.BootstrapTokens = []kubeadm.BootstrapToken{b}
	}
	i.say("bootstrap-token", "Configured RBAC rules to allow Node Bootstrap tokens to post CSRs and have them approved and renewed")
	for _, t := range i.Config.BootstrapTokens {
		s, err := token.Secret(t, time.Now())
		if err != nil {
			return err
		}
		i.say("bootstrap-token", "Using token: %s", t.Token)
		if err := i.apply(ctx, s); err != nil {
			return err
		}
	}
	if err := i.apply(ctx, bootstrapperObjects()...); err != nil {
		return err
	}
	ca, err := pki.Read(i.path(i.Cluster.CertificatesDir), "ca")
	if err != nil {
		return err
	}
	i.say("bootstrap-token", "Creating the %q ConfigMap in the %q namespace", configMapClusterInfo, "kube-public")
	info, err := kubeconfig.New("https://"+i.Cluster.Endpoint(i.Config.LocalAPIEndpoint), ca.CertPEM(), "", "", kubeconfig.User{}).Marshal()
	if err != nil {
		return err
	}
	return i.apply(ctx, clusterInfoObjects(info)...)
}

// finalize points the kubelet's kubeconfig at the certificate it renews by
// itself, once it has one.
func (i *Init) finalize(ctx context.Context) error {
	current := filepath.Join(layout.KubeletPKI, "kubelet-client-current.pem")
	if _, err := os.Stat(i.path(current)); err != nil {
		return nil // it uses the one within; it makes a file of its own when it renews that
	}
	k, err := kubeconfig.Read(i.path(layout.KubeletConf))
	if err != nil {
		return err
	}
	u := &k.Users[0].User
	if u.Cert == i.Root.Path(current) {
		return nil
	}
	*u = kubeconfig.User{Cert: i.Root.Path(current), Key: i.Root.Path(current)}
	i.say("kubelet-finalize", "Updating %q to point to a rotatable kubelet client certificate and key", i.path(layout.KubeletConf))
	if err := k.Write(i.path(layout.KubeletConf)); err != nil {
		return err
	}
	return i.startKubelet(ctx)
}

func (i *Init) showJoin(context.Context) error {
	ca, err := pki.Read(i.path(i.Cluster.CertificatesDir), "ca")
	if err != nil {
		return err
	}
	fmt.Fprintf(i.Out, "\nYour Kubernetes control-plane has initialized successfully!\n\nTo start using your cluster, run:\n\n  export KUBECONFIG=%s\n", i.Root.Path(layout.AdminConf))
	if len(i.Config.BootstrapTokens) == 0 {
		return nil
	}
	join := JoinCommand(i.Cluster.Endpoint(i.Config.LocalAPIEndpoint), i.Config.BootstrapTokens[0].Token, pki.Hash(ca.Cert), "\\\n\t")
	switch {
	case i.Cluster.ControlPlaneEndpoint == "":
	case i.UploadCerts && i.Config.CertificateKey != "" && !i.HideKey:
		fmt.Fprintf(i.Out, "\nYou can now join any number of control-plane nodes by running the following command on each as root:\n\n%s \\\n\t--control-plane --certificate-key %s\n"+
			"\nPlease note that the certificate-key gives access to cluster sensitive data, keep it secret!\nAs a safeguard, uploaded-certs will be deleted in two hours; if necessary, you can use\n"+
			"\"xebecadm init phase upload-certs --upload-certs\" to reload certs afterward.\n", join, i.Config.CertificateKey)
	default:
		fmt.Fprintf(i.Out, "\nYou can now join any number of control-plane nodes by copying certificate authorities\nand service account keys on each node and then running the following as root:\n\n%s \\\n\t--control-plane\n", join)
	}
	fmt.Fprintf(i.Out, "\nThen you can join any number of worker nodes by running the following on each as root:\n\n%s\n", join)
	return nil
}

// JoinCommand is what joins a node; br is what stands between its halves.
func JoinCommand(endpoint, token, hash, br string) string {
	return strings.TrimSpace(fmt.Sprintf("xebecadm join %s --token %s %s--discovery-token-ca-cert-hash %s", endpoint, token, br, hash))
}
