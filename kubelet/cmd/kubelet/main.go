// Command kubelet runs the pods of a node.
package main

import (
	"context"
	"os"

	"xebec.dev/client/daemon"
	"xebec.dev/kubelet/internal/config"
	"xebec.dev/kubelet/internal/kubelet"
)

func main() {
	flags := &config.Flags{}
	os.Exit(daemon.Main(daemon.Program{
		Name: "kubelet", About: "The kubelet runs the pods of its node: those bound to it in the API, and those of manifests on its disk.",
		AddFlags: flags.Add, Ignored: config.Ignored,
		Run: func(ctx context.Context, p *daemon.Process) error {
			cfg, err := config.Load(p.Flags.Config, flags)
			if err != nil {
				return err
			}
			if err := p.SetLog(cfg.Logging.Format, int(cfg.Logging.Verbosity)); err != nil {
				return err
			}
			k, err := kubelet.New(ctx, p, flags, cfg)
			if err != nil {
				return err
			}
			return k.Run(ctx)
		},
	}))
}
