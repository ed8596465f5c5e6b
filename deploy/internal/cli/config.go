package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/pki"
)

// Version and Commit are set when the program is linked.
var Version, Commit = kubeadm.DefaultVersion, "unknown"

func (a *app) configCommand() *cobra.Command {
	print := grouping("print", "Print configuration",
		a.printDefaults("init-defaults", "Print default init configuration, that can be used for 'xebecadm init'", initDefaults),
		a.printDefaults("join-defaults", "Print default join configuration, that can be used for 'xebecadm join'", joinDefaults),
		a.printDefaults("reset-defaults", "Print default reset configuration, that can be used for 'xebecadm reset'", resetDefaults),
		a.printDefaults("upgrade-defaults", "Print default upgrade configuration, that can be used for 'xebecadm upgrade'", upgradeDefaults))
	var file string
	validate := &cobra.Command{Use: "validate", Short: "Read a file containing the configuration and report any validation errors", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		if file == "" {
			return errors.New("the --config flag is mandatory")
		}
		f, err := kubeadm.LoadFile(file)
		if err == nil {
			err = validateFile(f)
		}
		if err == nil {
			fmt.Fprintln(a.out, "ok")
		}
		return err
	}}
	validate.Flags().StringVar(&file, "config", "", "Path to a configuration file.")
	return grouping("config", "Manage configuration for a cluster persisted in a ConfigMap in the cluster", print, validate, a.imagesCommand(), a.containerdCommand(), a.networkCommand(), a.hostedCommand())
}

// containerdCommand prints what an installed containerd is configured with.
func (a *app) containerdCommand() *cobra.Command {
	images := kubeadm.ClusterConfiguration{}
	images.Default()
	c := host.Containerd{Root: "/", Usual: true, CNIBin: []string{layout.CNIBin}}
	cmd := &cobra.Command{Use: "containerd", Short: "Print the configuration of containerd on this node, for " + host.UsualRuntimeConf, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		c.Systemd, c.RestrictOOM = host.Systemd(), host.RestrictOOM()
		raw, err := c.Config()
		if err == nil {
			_, err = a.out.Write(raw)
		}
		return err
	}}
	cmd.Flags().IntVar(&c.Major, "major", 2, "Major version of containerd.")
	cmd.Flags().StringVar(&c.Bin, "bin", "/usr/local/bin", "Directory with runc.")
	cmd.Flags().StringVar(&c.Pause, "sandbox-image", images.Image("pause"), "Image of pods' sandboxes.")
	return cmd
}

// hostedCommand prints the Secret of a control plane that the chart runs as
// Deployments.
func (a *app) hostedCommand() *cobra.Command {
	var config string
	h := &bootstrap.Hosted{}
	cmd := &cobra.Command{Use: "hosted", Short: "Print the Secret of a control plane that the Helm chart runs as Deployments in a host cluster", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if h.Dir == "" {
			return errors.New("--dir: expected a directory for the certificates and kubeconfigs of the hosted cluster")
		}
		f, err := load(config)
		if err != nil {
			return err
		}
		if f.Cluster == nil {
			f.Cluster = &kubeadm.ClusterConfiguration{EncryptionAlgorithm: "ECDSA-P256"}
		}
		s, err := h.Make(cmd.Context(), f.Cluster, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		raw, err := yaml.Marshal(s)
		if err == nil {
			_, err = a.out.Write(raw)
		}
		return err
	}}
	fs := cmd.Flags()
	fs.StringVar(&config, "config", "", "Path to a configuration file with a ClusterConfiguration.")
	fs.StringVar(&h.Release, "release", "xebec", "Name of the Helm release.")
	fs.StringVarP(&h.Namespace, "namespace", "n", "default", "Namespace of the Helm release.")
	fs.StringVar(&h.Secret, "secret", "xebec-pki", "Name of the Secret.")
	fs.Int32Var(&h.Port, "port", kubeadm.DefaultBindPort, "Port of the API server's Service.")
	fs.StringVar(&h.Dir, "dir", "", "Directory that keeps the certificates and kubeconfigs.")
	return cmd
}

// networkCommand prints the template of the pod network, which containerd
// fills in with the node's range of addresses.
func (a *app) networkCommand() *cobra.Command {
	var reference bool
	cmd := &cobra.Command{Use: "network", Short: "Print the template of the pod network, for " + host.UsualNetworkTemplate, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		text := host.Network("/")
		if reference {
			text = host.ReferenceNetwork("/")
		}
		_, err := a.out.Write(text)
		return err
	}}
	cmd.Flags().BoolVar(&reference, "reference", false, "The network of the CNI project's reference plugins.")
	return cmd
}

func validateFile(f *kubeadm.File) error {
	var errs []error
	if f.Cluster != nil {
		f.Cluster.Default()
		errs = append(errs, f.Cluster.Validate())
	}
	if f.Init != nil {
		f.Init.Default("node", "192.0.2.1")
		errs = append(errs, f.Init.Validate())
	}
	if f.Join != nil {
		f.Join.Default("node", "192.0.2.1")
		errs = append(errs, f.Join.Validate())
	}
	return errors.Join(errs...)
}

// Samples in printed defaults, as kubeadm has them.
const (
	sampleToken   = "abcdef.0123456789abcdef"
	sampleAddress = "1.2.3.4"
)

func initDefaults() []any {
	i, c := &kubeadm.InitConfiguration{BootstrapTokens: []kubeadm.BootstrapToken{{Token: sampleToken}}}, &kubeadm.ClusterConfiguration{}
	i.Default("node", sampleAddress)
	c.Default()
	return []any{i, c}
}

func joinDefaults() []any {
	j := &kubeadm.JoinConfiguration{}
	j.Discovery.BootstrapToken = &kubeadm.TokenDiscovery{Token: sampleToken, APIServerEndpoint: "kube-apiserver:6443", UnsafeSkipCAVerification: true}
	j.Default("node", sampleAddress)
	return []any{j}
}

func resetDefaults() []any {
	r := &kubeadm.ResetConfiguration{CertificatesDir: "/etc/kubernetes/pki", CRISocket: "unix:///run/containerd/containerd.sock"}
	r.APIVersion, r.Kind = kubeadm.APIVersion, "ResetConfiguration"
	return []any{r}
}

func upgradeDefaults() []any {
	yes := true
	options := kubeadm.UpgradeOptions{CertificateRenewal: &yes, EtcdUpgrade: &yes, ImagePullPolicy: "IfNotPresent", ImagePullSerial: &yes}
	u := &kubeadm.UpgradeConfiguration{Apply: kubeadm.UpgradeApply{UpgradeOptions: options}, Node: options, Timeouts: &kubeadm.Timeouts{}}
	u.APIVersion, u.Kind = kubeadm.APIVersion, "UpgradeConfiguration"
	u.Timeouts.Default()
	return []any{u}
}

func (a *app) printDefaults(use, short string, docs func() []any) *cobra.Command {
	var kinds []string
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		for _, k := range kinds {
			if k != "KubeletConfiguration" && k != "KubeProxyConfiguration" {
				return fmt.Errorf("component config %q: expected KubeletConfiguration or KubeProxyConfiguration", k)
			}
		}
		all := docs()
		for _, k := range kinds {
			all = append(all, componentDefaults(k))
		}
		raw, err := kubeadm.Print(all...)
		if err == nil {
			_, err = a.out.Write(raw)
		}
		return err
	}}
	cmd.Flags().StringSliceVar(&kinds, "component-configs", nil, "A comma-separated list for component config API objects to print the default values for.")
	return cmd
}

func componentDefaults(kind string) map[string]any {
	c := &kubeadm.ClusterConfiguration{}
	c.Default()
	if kind == "KubeletConfiguration" {
		k, err := bootstrap.DefaultKubelet(c)
		if err != nil {
			panic(err) // the defaults are valid
		}
		return k
	}
	return map[string]any{"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": kind, "mode": "nftables", "bindAddress": "0.0.0.0", "clusterCIDR": "",
		"clientConnection": map[string]any{"kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf"}}
}

func (a *app) imagesCommand() *cobra.Command {
	var config, repository, version, socket string
	cluster := func() (*kubeadm.ClusterConfiguration, error) {
		f, err := load(config)
		if err != nil {
			return nil, err
		}
		c := f.Cluster
		if c == nil {
			c = &kubeadm.ClusterConfiguration{ImageRepository: repository, KubernetesVersion: version}
		}
		c.Default()
		return c, c.Validate()
	}
	list := &cobra.Command{Use: "list", Short: "Print a list of images that will be used", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		c, err := cluster()
		if err != nil {
			return err
		}
		for _, i := range c.Images() {
			fmt.Fprintln(a.out, i)
		}
		return nil
	}}
	pull := &cobra.Command{Use: "pull", Short: "Pull images used by the cluster", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := cluster()
		if err != nil {
			return err
		}
		conn, err := bootstrap.DialRuntime(socket)
		if err != nil {
			return err
		}
		defer conn.Close()
		for _, i := range c.Images() {
			if _, err := runtimeapi.NewImageServiceClient(conn).PullImage(cmd.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: i}}); err != nil {
				return fmt.Errorf("failed to pull image %q: %w", i, err)
			}
			fmt.Fprintf(a.out, "[config/images] Pulled %s\n", i)
		}
		return nil
	}}
	pull.Flags().StringVar(&socket, "cri-socket", "unix:///run/containerd/containerd.sock", "Path to the CRI socket to connect.")
	c := grouping("images", "Interact with container images used by the cluster", list, pull)
	c.PersistentFlags().StringVar(&config, "config", "", "Path to a configuration file.")
	c.PersistentFlags().StringVar(&repository, "image-repository", "", "Choose a container registry to pull control plane images from.")
	c.PersistentFlags().StringVar(&version, "kubernetes-version", "", "Choose a specific Kubernetes version for the control plane.")
	return c
}

func (a *app) versionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "version", Short: "Print the version of xebecadm", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		v := map[string]any{"clientVersion": map[string]any{"major": "1", "minor": "37", "gitVersion": Version, "gitCommit": Commit,
			"goVersion": runtime.Version(), "compiler": runtime.Compiler, "platform": runtime.GOOS + "/" + runtime.GOARCH}}
		switch output {
		case "short":
			fmt.Fprintln(a.out, Version)
		case "json":
			raw, err := json.MarshalIndent(v, "", "  ")
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, string(raw))
		case "yaml":
			raw, err := yaml.Marshal(v)
			if err != nil {
				return err
			}
			fmt.Fprint(a.out, string(raw))
		case "":
			fmt.Fprintf(a.out, "xebecadm version: %s, commit %s, %s %s/%s\n", Version, Commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		default:
			return fmt.Errorf("invalid output format: %s", output)
		}
		return nil
	}}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Output format; available options are 'yaml', 'json' and 'short'.")
	return cmd
}

func (a *app) kubeconfigCommand() *cobra.Command {
	var config, name, tok string
	var org []string
	var life time.Duration
	user := &cobra.Command{Use: "user", Short: "Output a kubeconfig file for an additional user", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if name == "" {
			return errors.New("required flag(s) \"client-name\" not set")
		}
		node, err := a.node()
		if err != nil {
			return err
		}
		f, err := load(config)
		if err != nil {
			return err
		}
		c := f.Cluster
		if c == nil {
			if c, err = a.clusterConfig(cmd.Context(), node, ""); err != nil {
				return err
			}
		}
		c.Default()
		ca, err := pki.Read(node.Root.Path(c.CertificatesDir), "ca")
		if err != nil {
			return err
		}
		server, err := bootstrap.Server(node, c)
		if err != nil {
			return err
		}
		u := kubeconfig.User{Token: tok}
		if tok == "" {
			if u, err = bootstrap.ClientCertificate(name, org, ca, c.EncryptionAlgorithm, life); err != nil {
				return err
			}
		}
		raw, err := kubeconfig.New(server, ca.CertPEM(), c.ClusterName, name, u).Marshal()
		if err == nil {
			_, err = a.out.Write(raw)
		}
		return err
	}}
	fs := user.Flags()
	fs.StringVar(&config, "config", "", "Path to a configuration file.")
	fs.StringVar(&name, "client-name", "", "The name of user. It will be used as the CN if client certificates are created.")
	fs.StringVar(&tok, "token", "", "The token that should be used as the authentication mechanism for this kubeconfig, instead of client certificates.")
	fs.StringSliceVar(&org, "org", nil, "The organizations of the client certificate. It will be used as the O if client certificates are created.")
	fs.DurationVar(&life, "validity-period", 365*24*time.Hour, "The validity period of the client certificate.")
	return grouping("kubeconfig", "Kubeconfig file utilities", user)
}
