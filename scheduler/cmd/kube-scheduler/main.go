// Command kube-scheduler decides which node each pod runs on.
package main

import (
	"os"

	"xebec.dev/client/daemon"
	"xebec.dev/scheduler/internal/app"
)

func main() { os.Exit(daemon.Main(app.Program())) }
