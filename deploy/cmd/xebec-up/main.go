// Command xebec-up brings a cluster up on this machine and takes it down
// again: what `make up` and `make down` run. `xebec-up node` is the supervisor
// of a node's containerd and kubelet where no systemd is.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"xebec.dev/deploy/internal/updown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := updown.Run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "xebec-up:", err)
		os.Exit(1)
	}
}
