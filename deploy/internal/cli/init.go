package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
)

// nodeFlags are those of init and join alike.
type nodeFlags struct {
	config, name, criSocket, patches string
	ignore, skip                     []string
	dryRun                           bool
	cgroupRoot, resolvConf           string
	kubeletArgs                      []string
	untainted                        bool
}

func (n *nodeFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&n.config, "config", "", "Path to a configuration file.")
	fs.StringVar(&n.name, "node-name", "", "Specify the node name.")
	fs.StringVar(&n.criSocket, "cri-socket", "", "Path to the CRI socket to connect. If empty, containerd's.")
	fs.StringVar(&n.patches, "patches", "", "Path to a directory that contains files named \"target[suffix][+patchtype].extension\".")
	fs.StringSliceVar(&n.ignore, "ignore-preflight-errors", nil, "A list of checks whose errors will be shown as warnings. Value 'all' ignores errors from all checks.")
	fs.StringSliceVar(&n.skip, "skip-phases", nil, "List of phases to be skipped.")
	fs.BoolVar(&n.dryRun, "dry-run", false, "Don't apply any changes; just output what would be done.")
	fs.StringVar(&n.cgroupRoot, "kubelet-cgroup-root", "", "Cgroup below which the kubelet puts pods: for several nodes on one machine.")
	fs.StringVar(&n.resolvConf, "kubelet-resolv-conf", "", "The resolver configuration that pods inherit, in place of the machine's.")
	fs.BoolVar(&n.untainted, "no-taints", false, "Leave the node without the control plane's taint, so that it takes any pod.")
	fs.StringArrayVar(&n.kubeletArgs, "kubelet-extra-arg", nil, "NAME=VALUE, a flag of the kubelet; may be given more than once.")
}

func (n *nodeFlags) apply(reg *kubeadm.NodeRegistration, node *bootstrap.Node) error {
	if n.name != "" {
		reg.Name = n.name
	}
	if n.criSocket != "" {
		reg.CRISocket = n.criSocket
	}
	if reg.CRISocket == "" && node.Root.Own() {
		reg.CRISocket = "unix://" + node.Root.Path(host.Socket)
	}
	if n.untainted {
		reg.Taints = []corev1.Taint{} // not nil: none were asked for
	}
	reg.IgnorePreflightErrors = append(reg.IgnorePreflightErrors, n.ignore...)
	for _, a := range n.kubeletArgs {
		name, value, ok := strings.Cut(a, "=")
		if !ok {
			return fmt.Errorf("--kubelet-extra-arg %q: expected NAME=VALUE", a)
		}
		reg.KubeletExtraArgs = append(reg.KubeletExtraArgs, kubeadm.Arg{Name: name, Value: value})
	}
	node.Kubelet.CgroupRoot = n.cgroupRoot
	if n.resolvConf != "" {
		node.Kubelet.ResolvConf = n.resolvConf
	}
	return nil
}

// initFlags are those of init and its phases.
type initFlags struct {
	nodeFlags
	advertise, endpoint, version, imageRepository, certDir string
	podCIDR, serviceCIDR, dnsDomain                        string
	sans                                                   []string
	port                                                   int32
	token, certificateKey                                  string
	tokenTTL                                               time.Duration
	skipPrint, skipKey, upload                             bool
	gates                                                  string
	algorithm                                              string
	componentArgs                                          []string
	kubeletConfig                                          string
}

func (f *initFlags) add(fs *pflag.FlagSet) {
	f.nodeFlags.add(fs)
	fs.StringVar(&f.advertise, "apiserver-advertise-address", "", "The IP address the API Server will advertise it's listening on. If not set the default network interface will be used.")
	fs.Int32Var(&f.port, "apiserver-bind-port", kubeadm.DefaultBindPort, "Port for the API Server to bind to.")
	fs.StringSliceVar(&f.sans, "apiserver-cert-extra-sans", nil, "Optional extra Subject Alternative Names (SANs) to use for the API Server serving certificate.")
	fs.StringVar(&f.certDir, "cert-dir", "", "The path where to save and store the certificates.")
	fs.StringVar(&f.endpoint, "control-plane-endpoint", "", "Specify a stable IP address or DNS name for the control plane.")
	fs.StringVar(&f.imageRepository, "image-repository", "", "Choose a container registry to pull control plane images from.")
	fs.StringVar(&f.version, "kubernetes-version", "", "Choose a specific Kubernetes version for the control plane.")
	fs.StringVar(&f.podCIDR, "pod-network-cidr", "", "Specify range of IP addresses for the pod network. If set, the control plane will automatically allocate CIDRs for every node.")
	fs.StringVar(&f.serviceCIDR, "service-cidr", "", "Use alternative range of IP address for service VIPs.")
	fs.StringVar(&f.dnsDomain, "service-dns-domain", "", "Use alternative domain for services, e.g. \"myorg.internal\".")
	fs.StringVar(&f.token, "token", "", "The token to use for establishing bidirectional trust between nodes and control-plane nodes.")
	fs.DurationVar(&f.tokenTTL, "token-ttl", 24*time.Hour, "The duration before the token is automatically deleted. If set to '0', the token will never expire.")
	fs.StringVar(&f.certificateKey, "certificate-key", "", "Key used to encrypt the control-plane certificates in the kubeadm-certs Secret.")
	fs.BoolVar(&f.upload, "upload-certs", false, "Upload control-plane certificates to the kubeadm-certs Secret.")
	fs.BoolVar(&f.skipKey, "skip-certificate-key-print", false, "Don't print the key used to encrypt the control-plane certificates.")
	fs.BoolVar(&f.skipPrint, "skip-token-print", false, "Skip printing of the default bootstrap token generated by 'xebecadm init'.")
	fs.StringVar(&f.gates, "feature-gates", "", "A set of key=value pairs that describe feature gates.")
	fs.StringVar(&f.kubeletConfig, "kubelet-config", "", "File with a KubeletConfiguration, laid over the one that all nodes get.")
	fs.StringArrayVar(&f.componentArgs, "component-extra-arg", nil, "COMPONENT:NAME=VALUE, a flag of etcd, kube-apiserver, kube-controller-manager or kube-scheduler; may be given more than once.")
	fs.StringVar(&f.algorithm, "encryption-algorithm", "", "Algorithm of keys: RSA-2048, RSA-3072, RSA-4096, ECDSA-P256 or ECDSA-P384.")
}

// build puts flags, file and defaults together.
func (f *initFlags) build(cmd *cobra.Command, a *app) (*bootstrap.Init, error) {
	if err := conflict(cmd, f.config, "apiserver-advertise-address", "apiserver-bind-port", "apiserver-cert-extra-sans", "control-plane-endpoint",
		"image-repository", "kubernetes-version", "pod-network-cidr", "service-cidr", "service-dns-domain", "token", "token-ttl", "encryption-algorithm", "feature-gates"); err != nil {
		return nil, err
	}
	file, err := load(f.config)
	if err != nil {
		return nil, err
	}
	if file.Join != nil {
		return nil, errors.New("the configuration is for join: it has a JoinConfiguration")
	}
	node, err := a.node()
	if err != nil {
		return nil, err
	}
	i := &bootstrap.Init{Node: node, Cluster: file.Cluster, Config: file.Init, KubeletConfig: file.Kubelet, ProxyConfig: file.Proxy, UploadCerts: f.upload, HideKey: f.skipKey}
	if f.kubeletConfig != "" {
		more, err := kubeadm.LoadFile(f.kubeletConfig)
		if err != nil {
			return nil, err
		}
		if more.Kubelet == nil || file.Kubelet != nil {
			return nil, fmt.Errorf("--kubelet-config %s: expected a KubeletConfiguration, and none in --config beside it", f.kubeletConfig)
		}
		i.KubeletConfig = more.Kubelet
	}
	if i.Cluster == nil {
		i.Cluster = &kubeadm.ClusterConfiguration{}
	}
	if i.Config == nil {
		i.Config = &kubeadm.InitConfiguration{}
	}
	if f.config == "" {
		if err := f.flags(i); err != nil {
			return nil, err
		}
	}
	for _, a := range f.componentArgs {
		if err := extraArg(i.Cluster, a); err != nil {
			return nil, err
		}
	}
	if err := f.nodeFlags.apply(&i.Config.NodeRegistration, node); err != nil {
		return nil, err
	}
	return i, f.finish(i)
}

// flags are those that a configuration file has instead.
func (f *initFlags) flags(i *bootstrap.Init) (err error) {
	c := i.Cluster
	c.KubernetesVersion, c.ControlPlaneEndpoint, c.ImageRepository = f.version, f.endpoint, f.imageRepository
	c.Networking = kubeadm.Networking{ServiceSubnet: f.serviceCIDR, PodSubnet: f.podCIDR, DNSDomain: f.dnsDomain}
	c.APIServer.CertSANs, c.EncryptionAlgorithm = f.sans, f.algorithm
	i.Config.LocalAPIEndpoint = kubeadm.APIEndpoint{AdvertiseAddress: f.advertise, BindPort: f.port}
	if f.token != "" {
		i.Config.BootstrapTokens = []kubeadm.BootstrapToken{{Token: f.token, TTL: &metav1.Duration{Duration: f.tokenTTL}}}
	}
	c.FeatureGates, err = kubeadm.ParseGates(f.gates)
	return err
}

// extraArg adds COMPONENT:NAME=VALUE.
func extraArg(c *kubeadm.ClusterConfiguration, given string) error {
	component, rest, ok := strings.Cut(given, ":")
	name, value, ok2 := strings.Cut(rest, "=")
	arg := kubeadm.Arg{Name: strings.TrimPrefix(name, "--"), Value: value}
	if !ok || !ok2 {
		return fmt.Errorf("--component-extra-arg %q: expected COMPONENT:NAME=VALUE", given)
	}
	switch component {
	case "kube-apiserver":
		c.APIServer.ExtraArgs = append(c.APIServer.ExtraArgs, arg)
	case "kube-controller-manager":
		c.ControllerManager.ExtraArgs = append(c.ControllerManager.ExtraArgs, arg)
	case "kube-scheduler":
		c.Scheduler.ExtraArgs = append(c.Scheduler.ExtraArgs, arg)
	case "etcd":
		if c.Etcd.Local == nil {
			c.Etcd.Local = &kubeadm.LocalEtcd{}
		}
		c.Etcd.Local.ExtraArgs = append(c.Etcd.Local.ExtraArgs, arg)
	default:
		return fmt.Errorf("--component-extra-arg %q: component %q is none of etcd, kube-apiserver, kube-controller-manager, kube-scheduler", given, component)
	}
	return nil
}

func (f *initFlags) finish(i *bootstrap.Init) error {
	if f.certDir != "" {
		i.Cluster.CertificatesDir = f.certDir
	}
	if f.certificateKey != "" {
		i.Config.CertificateKey = f.certificateKey
	}
	if f.patches != "" {
		i.Config.Patches = &kubeadm.Patches{Directory: f.patches}
	}
	i.Config.SkipPhases = append(i.Config.SkipPhases, f.skip...)
	i.Cluster.Default()
	address := i.Config.LocalAPIEndpoint.AdvertiseAddress
	if address == "" {
		var err error
		if address, err = bootstrap.DefaultAddress(); err != nil {
			return err
		}
	}
	i.Config.Default(i.Hostname, address)
	if err := errors.Join(i.Cluster.Validate(), i.Config.Validate()); err != nil {
		return err
	}
	if f.dryRun || i.Config.DryRun {
		return i.StartDryRun("init")
	}
	return nil
}

func (a *app) initCommand() *cobra.Command {
	f := &initFlags{}
	cmd := &cobra.Command{
		Use: "init", Short: "Run this command in order to set up the Kubernetes control plane", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := f.build(cmd, a)
			if err != nil {
				return err
			}
			defer i.Close()
			fmt.Fprintf(a.out, "[init] Using Kubernetes version: %s\n", i.Cluster.KubernetesVersion)
			if f.skipPrint {
				i.Config.SkipPhases = append(i.Config.SkipPhases, "show-join-command")
			}
			return i.Run(cmd.Context())
		},
	}
	f.add(cmd.Flags())
	cmd.AddCommand(phases("init", bootstrap.InitPhases(), a.initPhase))
	return cmd
}

// phases are the commands of a verb's steps.
func phases[T any](verb string, all []bootstrap.Phase[T], command func(path string) *cobra.Command) *cobra.Command {
	c := grouping("phase", fmt.Sprintf("Use this command to invoke single phase of the %q workflow", verb))
	addPhases(c, all, "", command)
	return c
}

// addPhases makes a command of each phase. One with parts has a command for
// each of them, and "all", which is the same as none of them.
func addPhases[T any](to *cobra.Command, phases []bootstrap.Phase[T], above string, command func(path string) *cobra.Command) {
	for _, p := range phases {
		cmd := command(above + p.Name)
		cmd.Use, cmd.Short, cmd.Args = p.Name, p.Short, cobra.NoArgs
		if len(p.Parts) > 0 {
			all := command(above + p.Name)
			all.Use, all.Short, all.Args = "all", "All parts of the phase "+p.Name, cobra.NoArgs
			cmd.AddCommand(all)
			addPhases(cmd, p.Parts, above+p.Name+"/", command)
		}
		to.AddCommand(cmd)
	}
}

func (a *app) initPhase(path string) *cobra.Command {
	f := &initFlags{}
	cmd := &cobra.Command{RunE: func(cmd *cobra.Command, _ []string) error {
		i, err := f.build(cmd, a)
		if err != nil {
			return err
		}
		defer i.Close()
		return i.RunPhase(cmd.Context(), path)
	}}
	f.add(cmd.Flags())
	return cmd
}

// clusterConfig is what the cluster keeps of its configuration.
func (a *app) clusterConfig(ctx context.Context, node *bootstrap.Node, kubeconfig string) (*kubeadm.ClusterConfiguration, error) {
	if kubeconfig == "" {
		kubeconfig = node.Root.Path(layout.AdminConf)
	}
	return bootstrap.ReadClusterConfig(ctx, kubeconfig)
}
