package cli

import (
	"bufio"
	"cmp"
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
	return grouping("upgrade", "Upgrade your cluster smoothly to a newer version with this command",
		a.upgradeRun(true), a.diffCommand(), a.upgradeRun(false), a.planCommand())
}

// unstableFlags let an upgrade go to what is no release.
type unstableFlags struct{ experimental, rc bool }

func (f *unstableFlags) add(fs *pflag.FlagSet) {
	fs.BoolVar(&f.experimental, "allow-experimental-upgrades", false, "Show unstable versions of Kubernetes as an upgrade alternative and allow upgrading to an alpha/beta/release candidate versions of Kubernetes.")
	fs.BoolVar(&f.rc, "allow-release-candidate-upgrades", false, "Show release candidate versions of Kubernetes as an upgrade alternative and allow upgrading to a release candidate versions of Kubernetes.")
}

// over lays flags that were given over a configuration.
func (f *unstableFlags) over(fs *pflag.FlagSet, c *kubeadm.Unstable) {
	if fs.Changed("allow-experimental-upgrades") {
		c.AllowExperimentalUpgrades = &f.experimental
	}
	if fs.Changed("allow-release-candidate-upgrades") {
		c.AllowRCUpgrades = &f.rc
	}
}

// upgradeConfig is the UpgradeConfiguration of --config, completed.
func upgradeConfig(path string) (*kubeadm.UpgradeConfiguration, error) {
	file, err := load(path)
	if err != nil {
		return nil, err
	}
	c := file.Upgrade
	if c == nil && path != "" {
		return nil, fmt.Errorf("configuration %s has no UpgradeConfiguration", path)
	}
	if c == nil {
		c = &kubeadm.UpgradeConfiguration{}
	}
	c.Default()
	return c, c.Validate()
}

func (a *app) planCommand() *cobra.Command {
	var config, kubeconfig string
	var unstable unstableFlags
	var ignore []string
	var etcd, show bool
	var output format
	cmd := &cobra.Command{Use: "plan [version]", Short: "Check which versions are available to upgrade to and validate whether your current cluster is upgradeable", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := output.check(); err != nil {
				return err
			}
			c, err := upgradeConfig(config)
			if err != nil {
				return err
			}
			p := &c.Plan
			unstable.over(cmd.Flags(), &p.Unstable)
			if cmd.Flags().Changed("etcd-upgrade") {
				p.EtcdUpgrade = &etcd
			}
			p.IgnorePreflightErrors = append(p.IgnorePreflightErrors, ignore...)
			target := cmp.Or(p.KubernetesVersion, Version)
			if len(args) > 0 {
				target = args[0]
			}
			state, err := bootstrap.Observe(cmd.Context(), cmp.Or(kubeconfig, layout.Root(a.root).Path(layout.AdminConf)))
			if err != nil {
				return err
			}
			if output == "text" && (show || kubeadm.Yes(p.PrintConfig)) {
				if err := a.printConfig(state.Cluster); err != nil {
					return err
				}
			}
			node, err := a.node()
			if err != nil {
				return err
			}
			if output != "text" {
				node.Out = cmd.ErrOrStderr() // what is passed over must not be among the document
			}
			if err := node.Preflight(cmd.Context(), p.IgnorePreflightErrors, bootstrap.PlanChecks(state)); err != nil {
				return err
			}
			state.NotReady = nil
			plan, err := bootstrap.UpgradePlan(state.Without(!kubeadm.Yes(p.EtcdUpgrade), "etcd"), target, p.Unstable)
			if err != nil {
				return err
			}
			return a.print(output, plan)
		}}
	fs := cmd.Flags()
	unstable.add(fs)
	output.add(fs)
	fs.StringVar(&config, "config", "", "Path to a configuration file with an UpgradeConfiguration.")
	fs.StringVar(&kubeconfig, "kubeconfig", "", "The kubeconfig file to use when talking to the cluster.")
	fs.StringSliceVar(&ignore, "ignore-preflight-errors", nil, "A list of checks whose errors will be shown as warnings. Value 'all' ignores errors from all checks.")
	fs.BoolVar(&etcd, "etcd-upgrade", true, "Perform the upgrade of etcd.")
	fs.BoolVar(&show, "print-config", false, "Specifies whether the configuration file that will be used in the upgrade should be printed or not.")
	return cmd
}

func (a *app) printConfig(c *kubeadm.ClusterConfiguration) error {
	raw, err := kubeadm.Print(c)
	if err == nil {
		fmt.Fprintf(a.out, "[upgrade/config] Configuration used:\n%s\n", raw)
	}
	return err
}

func (a *app) diffCommand() *cobra.Command {
	var config, kubeconfig, patches string
	var lines int
	cmd := &cobra.Command{Use: "diff [version]", Short: "Show what differences would be applied to existing static pod manifests. See also: xebecadm upgrade apply --dry-run", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := upgradeConfig(config)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("context-lines") {
				c.Diff.DiffContextLines = lines
			}
			if c.Diff.DiffContextLines < 0 {
				return fmt.Errorf("--context-lines=%d: expected no less than 0", c.Diff.DiffContextLines)
			}
			target := cmp.Or(c.Diff.KubernetesVersion, Version)
			if len(args) > 0 {
				target = args[0]
			}
			node, err := a.node()
			if err != nil {
				return err
			}
			node.Out = cmd.ErrOrStderr() // the difference alone is what is printed
			u, err := bootstrap.OpenUpgrade(cmd.Context(), node, kubeconfig)
			if err != nil {
				return err
			}
			defer u.Close()
			u.Config.Patches = c.Apply.Patches
			if patches != "" {
				u.Config.Patches = &kubeadm.Patches{Directory: patches}
			}
			u.Options.EtcdUpgrade = c.Apply.EtcdUpgrade
			text, err := u.Diff(cmd.Context(), target, c.Diff.DiffContextLines)
			if err == nil {
				_, err = io.WriteString(a.out, text)
			}
			return err
		}}
	fs := cmd.Flags()
	fs.StringVar(&config, "config", "", "Path to a configuration file with an UpgradeConfiguration.")
	fs.StringVar(&kubeconfig, "kubeconfig", "", "The kubeconfig file to use when talking to the cluster.")
	fs.StringVar(&patches, "patches", "", "Path to a directory with the patches that upgrade apply is to be given.")
	fs.IntVarP(&lines, "context-lines", "c", 3, "How many lines of context in the diff")
	return cmd
}

// upgradeFlags are those of apply and node.
type upgradeFlags struct {
	config, kubeconfig, patches string
	ignore, skip                []string
	dryRun, yes, force          bool
	renew, etcd, show           bool
	unstable                    unstableFlags
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
		f.unstable.add(fs)
		fs.BoolVar(&f.show, "print-config", false, "Specifies whether the configuration file that will be used in the upgrade should be printed or not.")
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
		given, err := upgradeConfig(f.config)
		if err != nil {
			return err
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
		u.Options, u.Apply, u.Force, u.Program = options, apply, f.force || kubeadm.Yes(given.Apply.ForceUpgrade), Version
		u.PrintConfig, u.Unstable = apply && (f.show || kubeadm.Yes(given.Apply.PrintConfig)), given.Apply.Unstable
		f.unstable.over(cmd.Flags(), &u.Unstable)
		u.Config.Timeouts = given.Timeouts
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
