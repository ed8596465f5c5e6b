// Package cli is xebecadm's command line: kubeadm's verbs and flags.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/kubeadm"
	"xebec.dev/deploy/internal/layout"
)

// app is what all verbs share.
type app struct {
	out  io.Writer
	root string
	// verbosity is -v.
	verbosity int
}

// Main runs the program and gives its exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := New(stdout)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := cmd.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	return 0
}

// New is the tree of commands.
func New(out io.Writer) *cobra.Command {
	a := &app{out: out}
	root := &cobra.Command{
		Use: "xebecadm", Short: "xebecadm: easily bootstrap a secure Kubernetes cluster of Xebec's components",
		Long:          "xebecadm makes nodes and clusters as kubeadm does: the same verbs, flags, configuration and files.",
		SilenceErrors: true, SilenceUsage: true,
	}
	root.PersistentFlags().StringVar(&a.root, "root-dir", "/", "Directory below which the node has its files (etc/kubernetes, var/lib/kubelet): for several nodes on one machine.")
	root.PersistentFlags().StringVar(&a.root, "rootfs", "/", "The same as --root-dir.")
	root.PersistentFlags().IntVarP(&a.verbosity, "v", "v", 0, "Number for the log level verbosity: from 1 on, phases are told with their times.")
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		if a.verbosity > 0 {
			cmd.SetContext(bootstrap.WithTrace(cmd.Context(), tellPhase(cmd.ErrOrStderr())))
		}
	}
	root.AddCommand(a.initCommand(), a.joinCommand(), a.resetCommand(), a.tokenCommand(), a.certsCommand(),
		a.upgradeCommand(), a.configCommand(), a.kubeconfigCommand(), a.versionCommand())
	return root
}

// tellPhase writes what phases do, for those who look for one that is slow.
func tellPhase(to io.Writer) func(path string, took time.Duration, err error) {
	return func(path string, took time.Duration, err error) {
		now := time.Now().Format("15:04:05.000")
		switch {
		case took < 0:
			fmt.Fprintf(to, "%s [phase] %s begins\n", now, path)
		case err != nil:
			fmt.Fprintf(to, "%s [phase] %s failed after %s\n", now, path, took.Round(time.Millisecond))
		default:
			fmt.Fprintf(to, "%s [phase] %s done in %s\n", now, path, took.Round(time.Millisecond))
		}
	}
}

func (a *app) node() (*bootstrap.Node, error) {
	return bootstrap.ThisNode(layout.Root(a.root), a.out)
}

// grouping is a subcommand that only groups others. A word that is none of
// them is an error: a script must not take help for a success.
func grouping(use, short string, of ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("invalid subcommand %q", args[0])
		}
		return cmd.Help()
	}}
	c.AddCommand(of...)
	return c
}

// load reads --config, or gives an empty file.
func load(path string) (*kubeadm.File, error) {
	if path == "" {
		return &kubeadm.File{}, nil
	}
	return kubeadm.LoadFile(path)
}

// conflict refuses flags that a configuration file would silently win over.
func conflict(cmd *cobra.Command, config string, flags ...string) error {
	if config == "" {
		return nil
	}
	for _, f := range flags {
		if cmd.Flags().Changed(f) {
			return fmt.Errorf("can not mix '--config' with arguments [%s]", f)
		}
	}
	return nil
}
