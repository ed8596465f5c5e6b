// Command xebecadm makes nodes and clusters, with kubeadm's verbs, flags,
// configuration and files.
package main

import (
	"os"

	"xebec.dev/deploy/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
