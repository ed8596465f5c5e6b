package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/kubeadm"
)

func (a *app) certsCommand() *cobra.Command {
	var config, certDir, kubeconfig string
	// open takes the configuration from --config, else from the cluster, else,
	// when that does not answer, what it is by default.
	open := func(ctx context.Context) (*bootstrap.Certs, error) {
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
			if c, err = a.clusterConfig(ctx, node, kubeconfig); err != nil {
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
	for _, name := range append([]string{"all"}, bootstrap.Renewable()...) {
		renew.AddCommand(&cobra.Command{Use: name, Short: "Renew " + name, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := open(cmd.Context())
			if err != nil {
				return err
			}
			return c.Renew(name, time.Now())
		}})
	}
	check := &cobra.Command{Use: "check-expiration", Short: "Check certificates expiration for a Kubernetes cluster", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := open(cmd.Context())
		if err != nil {
			return err
		}
		text, err := c.Expirations(time.Now())
		if err == nil {
			fmt.Fprint(a.out, text)
		}
		return err
	}}
	key := &cobra.Command{Use: "certificate-key", Short: "Generate certificate keys", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		k, err := bootstrap.NewCertificateKey()
		if err == nil {
			fmt.Fprintln(a.out, k)
		}
		return err
	}}
	c := grouping("certs", "Commands related to handling Kubernetes certificates", renew, check, key)
	c.PersistentFlags().StringVar(&config, "config", "", "Path to a configuration file.")
	c.PersistentFlags().StringVar(&certDir, "cert-dir", "", "The path where to save the certificates.")
	c.PersistentFlags().StringVar(&kubeconfig, "kubeconfig", "", "The kubeconfig file to use when talking to the cluster.")
	return c
}
