package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
	"xebec.dev/deploy/internal/token"
)

func (a *app) tokenCommand() *cobra.Command {
	var kubeconfig string
	var dryRun bool
	open := func() (*bootstrap.Tokens, error) {
		path := kubeconfig
		if path == "" {
			path = os.Getenv("KUBECONFIG")
		}
		if path == "" {
			path = layout.Root(a.root).Path(layout.AdminConf)
		}
		return bootstrap.OpenTokens(path)
	}
	c := grouping("token", "Manage bootstrap tokens", a.tokenCreate(open, &dryRun), a.tokenList(open), a.tokenDelete(open, &dryRun), a.tokenGenerate())
	c.PersistentFlags().StringVar(&kubeconfig, "kubeconfig", "", "The kubeconfig file to use when talking to the cluster. Default: $KUBECONFIG, else admin.conf.")
	c.PersistentFlags().BoolVar(&dryRun, "dry-run", false, "Whether to enable dry-run mode or not.")
	return c
}

type opener func() (*bootstrap.Tokens, error)

func (a *app) tokenCreate(open opener, dryRun *bool) *cobra.Command {
	var b kubeadm.BootstrapToken
	var ttl time.Duration
	var join bool
	var key, config string
	cmd := &cobra.Command{
		Use: "create [token]", Short: "Create bootstrap tokens on the server", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := conflict(cmd, config, "ttl", "usages", "groups", "description"); err != nil {
				return err
			}
			file, err := load(config)
			if err != nil {
				return err
			}
			given := file.Init != nil && len(file.Init.BootstrapTokens) > 0
			if given {
				b = file.Init.BootstrapTokens[0]
			}
			if len(args) > 0 {
				b.Token = args[0]
			} else if !given {
				if b.Token, err = token.Generate(); err != nil {
					return err
				}
			}
			if !given {
				b.TTL = &metav1.Duration{Duration: ttl}
			}
			b.Default()
			if _, err := token.Secret(b, time.Now()); err != nil {
				return err
			}
			t, err := open()
			if err != nil {
				return err
			}
			defer t.Close()
			if !*dryRun {
				if err := t.Create(cmd.Context(), b, time.Now()); err != nil {
					return err
				}
			}
			if !join {
				fmt.Fprintln(a.out, b.Token)
				return nil
			}
			endpoint, hash, err := t.ClusterInfo(cmd.Context())
			if err != nil {
				return err
			}
			line := bootstrap.JoinCommand(endpoint, b.Token, hash, "")
			if key != "" {
				line += " --control-plane --certificate-key " + key
			}
			fmt.Fprintln(a.out, line)
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&config, "config", "", "Path to a configuration file: the first of its InitConfiguration's bootstrapTokens is created.")
	fs.DurationVar(&ttl, "ttl", 24*time.Hour, "The duration before the token is automatically deleted. If set to '0', the token will never expire.")
	fs.StringSliceVar(&b.Usages, "usages", []string{"signing", "authentication"}, "Describes the ways in which this token can be used.")
	fs.StringSliceVar(&b.Groups, "groups", []string{kubeadm.NodeTokenGroup}, "Extra groups that this token will authenticate as when used for authentication.")
	fs.StringVar(&b.Description, "description", "", "A human friendly description of how this token is used.")
	fs.BoolVar(&join, "print-join-command", false, "Instead of printing only the token, print the full 'xebecadm join' flag needed to join the cluster using the token.")
	fs.StringVar(&key, "certificate-key", "", "When used together with '--print-join-command', print the flags needed to join as a control plane.")
	return cmd
}

func (a *app) tokenList(open opener) *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "list", Short: "List bootstrap tokens on the server", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if output != "text" && output != "json" && output != "yaml" {
			return fmt.Errorf("invalid output format %q: expected text, json or yaml", output)
		}
		t, err := open()
		if err != nil {
			return err
		}
		defer t.Close()
		all, err := t.List(cmd.Context(), func(err error) { fmt.Fprintln(cmd.ErrOrStderr(), "warning:", err) })
		if err != nil {
			return err
		}
		if output == "text" {
			fmt.Fprint(a.out, token.Table(all, time.Now()))
			return nil
		}
		for i, t := range all {
			raw, err := token.Document(t, output == "yaml")
			if err != nil {
				return err
			}
			if i > 0 && output == "yaml" {
				fmt.Fprintln(a.out, "---")
			}
			fmt.Fprint(a.out, string(raw))
		}
		return nil
	}}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "Output format. One of: text|json|yaml.")
	return cmd
}

func (a *app) tokenDelete(open opener, dryRun *bool) *cobra.Command {
	return &cobra.Command{Use: "delete [token-value]...", Short: "Delete bootstrap tokens on the server", Args: cobra.MinimumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		t, err := open()
		if err != nil {
			return err
		}
		defer t.Close()
		var errs []error
		for _, tok := range args {
			if !*dryRun {
				if err := t.Delete(cmd.Context(), tok); err != nil {
					errs = append(errs, fmt.Errorf("delete token %s: %w", tok, err))
					continue
				}
			}
			id, _, _ := strings.Cut(tok, ".")
			fmt.Fprintf(a.out, "bootstrap token %q deleted\n", id)
		}
		return errors.Join(errs...)
	}}
}

func (a *app) tokenGenerate() *cobra.Command {
	return &cobra.Command{Use: "generate", Short: "Generate and print a bootstrap token, but do not create it on the server", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		t, err := token.Generate()
		if err == nil {
			fmt.Fprintln(a.out, t)
		}
		return err
	}}
}
