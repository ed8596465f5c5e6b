package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"xebec.dev/deploy/internal/bootstrap"
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
	return grouping("upgrade", "Upgrade your cluster smoothly to a newer version with this command", plan)
}
