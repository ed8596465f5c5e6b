package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
)

func (a *app) upgradeCommand() *cobra.Command {
	var kubeconfig string
	plan := &cobra.Command{Use: "plan [version]", Short: "Check which versions are available to upgrade to and validate whether your current cluster is upgradeable", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := Version
			if len(args) > 0 {
				target = args[0]
			}
			if kubeconfig == "" {
				kubeconfig = layout.Root(a.root).Path(layout.AdminConf)
			}
			state, err := bootstrap.Observe(cmd.Context(), kubeconfig)
			if err != nil {
				return err
			}
			text, err := bootstrap.UpgradePlan(state, target)
			if err == nil {
				fmt.Fprint(a.out, text)
			}
			return err
		}}
	plan.Flags().StringVar(&kubeconfig, "kubeconfig", "", "The kubeconfig file to use when talking to the cluster.")
	return grouping("upgrade", "Upgrade your cluster smoothly to a newer version with this command", plan, a.upgradeRun(true), a.upgradeRun(false))
}

// upgradeFlags are those of apply and node.
type upgradeFlags struct {
	config, kubeconfig, patches string
	ignore, skip                []string
	dryRun, yes, force          bool
	renew, etcd                 bool
}

func (f *upgradeFlags) add(fs *pflag.FlagSet, apply bool) {
	fs.StringVar(&f.config, "config", "", "Path to a configuration file with an UpgradeConfiguration.")
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "The kubeconfig file to use when talking to the cluster.")
	fs.StringVar(&f.patches, "patches", "", "Path to a directory that contains files named \"target[suffix][+patchtype].extension\".")
	fs.StringSliceVar(&f.ignore, "ignore-preflight-errors", nil, "A list of checks whose errors will be shown as warnings. Value 'all' ignores errors from all checks.")
	fs.StringSliceVar(&f.skip, "skip-phases", nil, "List of phases to be skipped.")
	fs.BoolVar(&f.dryRun, "dry-run", false, "Do not change any state, just output what actions would be performed.")
	fs.BoolVar(&f.renew, "certificate-renewal", true, "Perform the renewal of certificates used by components changed during upgrades.")
	fs.BoolVar(&f.etcd, "etcd-upgrade", true, "Perform the upgrade of etcd.")
	if apply {
		fs.BoolVarP(&f.yes, "yes", "y", false, "Perform the upgrade and do not prompt for confirmation (non-interactive mode).")
		fs.BoolVarP(&f.force, "force", "f", false, "Force upgrading although some requirements might not be met. This also implies non-interactive mode.")
	}
}

// options puts the configuration and flags together: flags that were given win.
func (f *upgradeFlags) options(fs *pflag.FlagSet, c *kubeadm.UpgradeOptions) {
	set := func(name string, do func()) {
		if fs.Changed(name) {
			do()
		}
	}
	set("dry-run", func() { c.DryRun = f.dryRun })
	set("certificate-renewal", func() { c.CertificateRenewal = &f.renew })
	set("etcd-upgrade", func() { c.EtcdUpgrade = &f.etcd })
	set("patches", func() { c.Patches = &kubeadm.Patches{Directory: f.patches} })
	c.IgnorePreflightErrors = append(c.IgnorePreflightErrors, f.ignore...)
	c.SkipPhases = append(c.SkipPhases, f.skip...)
}

// upgradeRun is upgrade apply, or upgrade node.
func (a *app) upgradeRun(apply bool) *cobra.Command {
	cmd := a.upgradeWith(apply, "")
	one := func(path string) *cobra.Command { return a.upgradeWith(apply, path) }
	if apply {
		cmd.Use, cmd.Short, cmd.Args = "apply [version]", "Upgrade your Kubernetes cluster to the specified version", cobra.MaximumNArgs(1)
		cmd.AddCommand(phases("apply", bootstrap.ApplyPhases(), one))
	} else {
		cmd.Use, cmd.Short, cmd.Args = "node", "Upgrade commands for a node in the cluster", cobra.NoArgs
		cmd.AddCommand(phases("node", bootstrap.NodePhases(), one))
	}
	return cmd
}

// upgradeWith runs all phases, or one of them. A phase has no argument: it
// goes to the version of the configuration, else to this program's.
func (a *app) upgradeWith(apply bool, phase string) *cobra.Command {
	f := &upgradeFlags{}
	cmd := &cobra.Command{}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file, err := load(f.config)
		if err != nil {
			return err
		}
		given := file.Upgrade
		if given == nil {
			given = &kubeadm.UpgradeConfiguration{}
		}
		options, target := given.Node, ""
		if apply {
			options, target = given.Apply.UpgradeOptions, given.Apply.KubernetesVersion
			if len(args) > 0 {
				target = args[0]
			}
			if target == "" && phase != "" {
				target = Version
			}
			if target == "" {
				return errors.New("missing one or more required arguments. Required arguments: [version]")
			}
		}
		f.options(cmd.Flags(), &options)
		node, err := a.node()
		if err != nil {
			return err
		}
		u, err := bootstrap.OpenUpgrade(cmd.Context(), node, f.kubeconfig)
		if err != nil {
			return err
		}
		defer u.Close()
		u.Options, u.Apply, u.Force, u.Program = options, apply, f.force || given.Apply.ForceUpgrade, Version
		if given.Timeouts != nil {
			u.Config.Timeouts = given.Timeouts
			u.Config.Timeouts.Default()
		}
		if !f.yes && !u.Force {
			u.Confirm = func() error { return confirm(cmd.InOrStdin(), a.out) }
		}
		return u.Run(cmd.Context(), target, phase)
	}
	f.add(cmd.Flags(), apply)
	return cmd
}

func confirm(in io.Reader, out io.Writer) error {
	fmt.Fprint(out, "[upgrade] Are you sure you want to proceed? [y/N]: ")
	answer, _ := bufio.NewReader(in).ReadString('\n') // the end of the input is a no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("won't proceed; the user didn't answer (Y|y) in order to continue")
}
