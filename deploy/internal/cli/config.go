package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
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
			err = f.Complete("node", "192.0.2.1")
		}
		if err == nil {
			fmt.Fprintln(a.out, "ok")
		}
		return err
	}}
	validate.Flags().StringVar(&file, "config", "", "Path to a configuration file.")
	validate.Flags().Bool("allow-experimental-api", false, "Allow validation of experimental, unreleased APIs. There are none.")
	var kubeconfig string
	c := grouping("config", "Manage configuration for a cluster persisted in a ConfigMap in the cluster", print, a.migrateCommand(), validate, a.imagesCommand(&kubeconfig), a.containerdCommand(), a.networkCommand(), a.hostedCommand())
	c.PersistentFlags().StringVar(&kubeconfig, "kubeconfig", "", "The kubeconfig file to use when talking to the cluster: given, images are those of the cluster's own configuration, unless --config has one.")
	return c
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

// addressOrSample is this machine's address; one that has none may still look
// at configurations.
func addressOrSample() string {
	if a, err := bootstrap.DefaultAddress(); err == nil {
		return a
	}
	return sampleAddress
}

// writeNew writes a file that is not there yet.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
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
	r.Default()
	return []any{r}
}

func upgradeDefaults() []any {
	u := &kubeadm.UpgradeConfiguration{}
	u.Default()
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
