// Command kube-proxy has the node's kernel send what goes to Services to
// their endpoints.
package main

import (
	"os"

	"xebec.dev/client/daemon"
	"xebec.dev/kube-proxy/internal/app"
)

func main() { os.Exit(daemon.Main(app.Program())) }
