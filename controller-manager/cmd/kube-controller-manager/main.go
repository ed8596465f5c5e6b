// Command kube-controller-manager runs the controllers of a cluster.
package main

import (
	"os"

	"xebec.dev/client/daemon"
	"xebec.dev/controller-manager/internal/manager"
)

func main() { os.Exit(daemon.Main(manager.Program())) }
