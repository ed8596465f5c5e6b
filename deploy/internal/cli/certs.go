package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
)

func (a *app) certsCommand() *cobra.Command {
	var config, certDir, kubeconfig string
	// open takes the configuration from --config, else from the cluster, else,
	// when that does not answer, what it is by default.
	open := func(ctx context.Context, tell, strict bool) (*bootstrap.Certs, error) {
		node, err := a.node()
		if err != nil {
			return nil, err
		}
		file, err := load(config)
		if err != nil {
			return nil, err
		}
		c := file.Cluster
		if c == nil && config == "" {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			if c, err = a.clusterConfig(ctx, node, kubeconfig); err != nil && strict {
				return nil, fmt.Errorf("read the cluster's configuration, which says how keys are made (--config gives it otherwise): %w", err)
			} else if err != nil && tell {
				fmt.Fprintf(a.out, "[renew] The configuration could not be read from the cluster, defaults are used: %v\n", err)
			}
		}
		if c == nil {
			c = &kubeadm.ClusterConfiguration{}
		}
		if certDir != "" {
			c.CertificatesDir = certDir
		}
		c.Default()
		return &bootstrap.Certs{Node: node, Cluster: c}, c.Validate()
	}
	renew := grouping("renew", "Renew certificates for a Kubernetes cluster")
	var whenDue bool
	for _, name := range append([]string{"all"}, bootstrap.Renewable()...) {
		one := &cobra.Command{Use: name, Short: "Renew " + name, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd.Context(), true, whenDue)
			if err != nil {
				return err
			}
			c.WhenDue = whenDue
			return c.Renew(name, time.Now())
		}}
		if name == "all" {
			one.Flags().BoolVar(&whenDue, "when-due", false, "Renew only certificates with less than a third of their life left.")
		}
		renew.AddCommand(one)
	}
	var output format
	check := &cobra.Command{Use: "check-expiration", Short: "Check certificates expiration for a Kubernetes cluster", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if err := output.check(); err != nil {
			return err
		}
		c, err := open(cmd.Context(), output == "text", false)
		if err != nil {
			return err
		}
		e, err := c.Expirations(time.Now())
		if err != nil {
			return err
		}
		return a.print(output, e)
	}}
	output.add(check.Flags())
	key := &cobra.Command{Use: "certificate-key", Short: "Generate certificate keys", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		k, err := bootstrap.NewCertificateKey()
		if err == nil {
			fmt.Fprintln(a.out, k)
		}
		return err
	}}
	c := grouping("certs", "Commands related to handling Kubernetes certificates", renew, check, key, a.requestCommand())
	c.PersistentFlags().StringVar(&config, "config", "", "Path to a configuration file.")
	c.PersistentFlags().StringVar(&certDir, "cert-dir", "", "The path where to save the certificates.")
	c.PersistentFlags().StringVar(&kubeconfig, "kubeconfig", "", "The kubeconfig file to use when talking to the cluster.")
	return c
}

// requestCommand makes keys and requests for an authority that is elsewhere.
func (a *app) requestCommand() *cobra.Command {
	f := &initFlags{}
	var dir string
	cmd := &cobra.Command{Use: "generate-csr", Short: "Generate keys and certificate signing requests",
		Long: "Generates keys and certificate signing requests (CSRs) for all the certificates that a control plane needs: NAME.key and NAME.csr\n" +
			"in the certificates directory. Kubeconfigs are written with their key in client-key-data, and a request beside each, NAME.conf.csr.\n" +
			"The authority's answers belong to NAME.crt, and to client-certificate-data.",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			i, err := f.build(cmd, a)
			if err != nil {
				return err
			}
			return i.Requests(dir)
		}}
	cmd.Flags().StringVar(&dir, "kubeconfig-dir", layout.Kubernetes, "The path where to save the kubeconfig file.")
	cmd.PreRun = func(cmd *cobra.Command, _ []string) {
		// Those of certs, which this verb has too.
		f.config, _ = cmd.Flags().GetString("config")
		f.certDir, _ = cmd.Flags().GetString("cert-dir")
	}
	return cmd
}
