package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/host"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
)

type joinFlags struct {
	nodeFlags
	token, discoveryToken, tlsToken, file string
	hashes                                []string
	unsafe                                bool
	controlPlane                          bool
	certificateKey, advertise             string
	port                                  int32
}

func (a *app) joinCommand() *cobra.Command {
	f := &joinFlags{}
	cmd := &cobra.Command{
		Use: "join [api-server-endpoint]", Short: "Run this on any machine you wish to join an existing cluster", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, err := f.build(cmd, a, args)
			if err != nil {
				return err
			}
			defer j.Close()
			return j.Run(cmd.Context())
		},
	}
	f.add(cmd.Flags())
	cmd.AddCommand(phases("join", bootstrap.JoinPhases(), a.joinPhase))
	return cmd
}

func (a *app) joinPhase(path string) *cobra.Command {
	f := &joinFlags{}
	cmd := &cobra.Command{RunE: func(cmd *cobra.Command, args []string) error {
		j, err := f.build(cmd, a, args)
		if err != nil {
			return err
		}
		defer j.Close()
		return j.RunPhase(cmd.Context(), path)
	}}
	f.add(cmd.Flags())
	return cmd
}

func (f *joinFlags) add(fs *pflag.FlagSet) {
	f.nodeFlags.add(fs)
	fs.StringVar(&f.token, "token", "", "Use this token for both discovery-token and tls-bootstrap-token when those values are not provided.")
	fs.StringVar(&f.discoveryToken, "discovery-token", "", "For token-based discovery, the token used to validate cluster information fetched from the API server.")
	fs.StringVar(&f.tlsToken, "tls-bootstrap-token", "", "Specify the token used to temporarily authenticate with the Kubernetes Control Plane while joining the node.")
	fs.StringVar(&f.file, "discovery-file", "", "For file-based discovery, a file from which to load cluster information.")
	fs.StringSliceVar(&f.hashes, "discovery-token-ca-cert-hash", nil, "For token-based discovery, validate that the root CA public key matches this hash (format: \"<type>:<value>\").")
	fs.BoolVar(&f.unsafe, "discovery-token-unsafe-skip-ca-verification", false, "For token-based discovery, allow joining without --discovery-token-ca-cert-hash pinning.")
	fs.BoolVar(&f.controlPlane, "control-plane", false, "Create a new control plane instance on this node.")
	fs.StringVar(&f.certificateKey, "certificate-key", "", "Use this key to decrypt the certificate secrets uploaded by init.")
	fs.StringVar(&f.advertise, "apiserver-advertise-address", "", "If the node should host a new control plane instance, the IP address the API Server will advertise it's listening on.")
	fs.Int32Var(&f.port, "apiserver-bind-port", kubeadm.DefaultBindPort, "If the node should host a new control plane instance, the port for the API Server to bind to.")
}

func (f *joinFlags) build(cmd *cobra.Command, a *app, args []string) (*bootstrap.Join, error) {
	if err := conflict(cmd, f.config, "token", "discovery-token", "tls-bootstrap-token", "discovery-file", "discovery-token-ca-cert-hash",
		"discovery-token-unsafe-skip-ca-verification", "control-plane", "apiserver-advertise-address", "apiserver-bind-port"); err != nil {
		return nil, err
	}
	file, err := load(f.config)
	if err != nil {
		return nil, err
	}
	cfg := file.Join
	switch {
	case cfg != nil && len(args) > 0:
		return nil, errors.New("the endpoint is given twice: as an argument and by --config")
	case cfg == nil && f.config != "":
		return nil, fmt.Errorf("configuration %s has no JoinConfiguration", f.config)
	case cfg == nil:
		cfg = f.flags(args)
	}
	node, err := a.node()
	if err != nil {
		return nil, err
	}
	if err := f.nodeFlags.apply(&cfg.NodeRegistration, node); err != nil {
		return nil, err
	}
	if cfg.ControlPlane != nil && f.certificateKey != "" {
		cfg.ControlPlane.CertificateKey = f.certificateKey
	}
	if f.patches != "" {
		cfg.Patches = &kubeadm.Patches{Directory: f.patches}
	}
	cfg.SkipPhases = append(cfg.SkipPhases, f.skip...)
	address := ""
	if cfg.ControlPlane != nil && cfg.ControlPlane.LocalAPIEndpoint.AdvertiseAddress == "" {
		if address, err = bootstrap.DefaultAddress(); err != nil {
			return nil, err
		}
	}
	cfg.Default(node.Hostname, address)
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if f.dryRun || cfg.DryRun {
		if err := node.StartDryRun("join"); err != nil {
			return nil, err
		}
	}
	return &bootstrap.Join{Node: node, Config: cfg}, nil
}

func (f *joinFlags) flags(args []string) *kubeadm.JoinConfiguration {
	c := &kubeadm.JoinConfiguration{}
	c.Discovery.TLSBootstrapToken = f.tlsToken
	if f.tlsToken == "" {
		c.Discovery.TLSBootstrapToken = f.token
	}
	if f.file != "" {
		c.Discovery.File = &kubeadm.FileDiscovery{KubeConfigPath: f.file}
	} else if len(args) > 0 || f.token != "" || f.discoveryToken != "" {
		d := &kubeadm.TokenDiscovery{Token: f.discoveryToken, CACertHashes: f.hashes, UnsafeSkipCAVerification: f.unsafe}
		if d.Token == "" {
			d.Token = f.token
		}
		if len(args) > 0 {
			d.APIServerEndpoint = args[0]
		}
		c.Discovery.BootstrapToken = d
	}
	if f.controlPlane {
		c.ControlPlane = &kubeadm.JoinControlPlane{LocalAPIEndpoint: kubeadm.APIEndpoint{AdvertiseAddress: f.advertise, BindPort: f.port}}
	}
	return c
}

func (a *app) resetCommand() *cobra.Command {
	cmd := a.resetWith(func(ctx context.Context, r *bootstrap.Reset) error { return r.Run(ctx) })
	cmd.Use, cmd.Short, cmd.Args = "reset", "Performs a best effort revert of changes made to this host by 'xebecadm init' or 'xebecadm join'", cobra.NoArgs
	cmd.AddCommand(phases("reset", bootstrap.ResetPhases(), func(path string) *cobra.Command {
		return a.resetWith(func(ctx context.Context, r *bootstrap.Reset) error { return r.RunPhase(ctx, path) })
	}))
	return cmd
}

// resetWith does something of reset, once that was confirmed.
func (a *app) resetWith(do func(context.Context, *bootstrap.Reset) error) *cobra.Command {
	var (
		config, socket, certDir string
		kubeconfig              string
		force, dryRun, cleanTmp bool
		ignore, skip            []string
	)
	cmd := &cobra.Command{
		RunE: func(cmd *cobra.Command, _ []string) error {
			node, err := a.node()
			if err != nil {
				return err
			}
			file, err := load(config)
			if err != nil {
				return err
			}
			r := &bootstrap.Reset{Node: node, CRISocket: socket, CertificatesDir: certDir, CleanupTmp: cleanTmp, SkipPhases: skip, Ignore: ignore, Kubeconfig: kubeconfig}
			if c := file.Reset; c != nil {
				dryRun, force = dryRun || c.DryRun, force || c.Force
				r.CleanupTmp = r.CleanupTmp || c.CleanupTmpDir
				r.SkipPhases = append(r.SkipPhases, c.SkipPhases...)
				r.Ignore = append(r.Ignore, c.IgnorePreflightErrors...)
				if c.Timeouts != nil && c.Timeouts.EtcdAPICall != nil {
					r.EtcdTimeout = c.Timeouts.EtcdAPICall.Duration
				}
				first(&r.CRISocket, c.CRISocket)
				first(&r.CertificatesDir, c.CertificatesDir)
				if r.UnmountFlags, err = c.Flags(); err != nil {
					return err
				}
			}
			first(&r.CRISocket, node.Runtime())
			if node.Root.Own() {
				first(&r.CRISocket, "unix://"+node.Root.Path(host.Socket))
			}
			first(&r.CRISocket, "unix://"+layout.CRISocket)
			r.DryRun = dryRun
			if !force && !dryRun && !confirmed(cmd, "WARNING: Changes made to this host by 'xebecadm init' or 'xebecadm join' will be reverted.\nAre you sure you want to proceed? [y/N]: ") {
				return errors.New("aborted reset operation")
			}
			return do(cmd.Context(), r)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&config, "config", "", "Path to a configuration file.")
	fs.StringVar(&socket, "cri-socket", "", "Path to the CRI socket to connect.")
	fs.StringVar(&certDir, "cert-dir", "", "The path to the directory where the certificates are stored.")
	fs.StringVar(&kubeconfig, "kubeconfig", "", "The kubeconfig file to use when talking to the cluster. Default: admin.conf.")
	fs.BoolVarP(&force, "force", "f", false, "Reset the node without prompting for confirmation.")
	fs.BoolVar(&dryRun, "dry-run", false, "Don't apply any changes; just output what would be done.")
	fs.BoolVar(&cleanTmp, "cleanup-tmp-dir", false, "Cleanup the \"/etc/kubernetes/tmp\" directory.")
	fs.StringSliceVar(&ignore, "ignore-preflight-errors", nil, "A list of checks whose errors will be shown as warnings.")
	fs.StringSliceVar(&skip, "skip-phases", nil, "List of phases to be skipped.")
	return cmd
}

func first(to *string, v string) {
	if *to == "" {
		*to = v
	}
}

func confirmed(cmd *cobra.Command, question string) bool {
	fmt.Fprint(cmd.OutOrStdout(), question)
	var answer string
	_, _ = fmt.Fscanln(cmd.InOrStdin(), &answer) // no answer is no
	return answer == "y" || answer == "Y" || answer == "yes"
}
