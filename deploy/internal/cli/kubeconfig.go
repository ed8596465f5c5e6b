package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/kubeconfig"
	"xebec.dev/deploy/internal/pki"
)

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
