// Command helm is Helm, unmodified, built from its own module: another judge
// of this project's API.
package main

import (
	"log/slog"
	"os"

	"helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	kube.ManagedFieldsManager = "helm"
	root, err := cmd.NewRootCmd(os.Stdout, os.Args[1:], cmd.SetupLogging)
	if err != nil {
		slog.Error("helm", slog.Any("error", err))
		os.Exit(1)
	}
	if root.Execute() != nil { // it has said why
		os.Exit(1)
	}
}
