package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/deploy/internal/bootstrap"
	"xebec.dev/deploy/internal/kubeadm"
)

// imageList is what config images list prints.
type imageList struct {
	metav1.TypeMeta `json:",inline"`
	Images          []string `json:"images"`
}

func (l imageList) String() string { return strings.Join(l.Images, "\n") + "\n" }

func (a *app) imagesCommand(kubeconfig *string) *cobra.Command {
	var config, repository, version, socket, gates string
	var output format
	cluster := func(ctx context.Context) (*kubeadm.ClusterConfiguration, error) {
		f, err := load(config)
		if err != nil {
			return nil, err
		}
		c := f.Cluster
		if c == nil && config == "" && *kubeconfig != "" {
			if c, err = bootstrap.ReadClusterConfig(ctx, *kubeconfig); err != nil {
				return nil, err
			}
		}
		if c == nil {
			c = &kubeadm.ClusterConfiguration{ImageRepository: repository, KubernetesVersion: version}
			if c.FeatureGates, err = kubeadm.ParseGates(gates); err != nil {
				return nil, err
			}
		}
		c.Default()
		return c, c.Validate()
	}
	list := &cobra.Command{Use: "list", Short: "Print a list of images that will be used", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := cluster(cmd.Context())
		if err != nil {
			return err
		}
		return a.print(output, imageList{TypeMeta: metav1.TypeMeta{APIVersion: bootstrap.OutputVersion, Kind: "Images"}, Images: c.Images()})
	}}
	output.add(list.Flags())
	pull := &cobra.Command{Use: "pull", Short: "Pull images used by the cluster", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := cluster(cmd.Context())
		if err != nil {
			return err
		}
		conn, err := bootstrap.DialRuntime(socket)
		if err != nil {
			return err
		}
		defer conn.Close()
		for _, i := range c.Images() {
			if _, err := runtimeapi.NewImageServiceClient(conn).PullImage(cmd.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: i}}); err != nil {
				return fmt.Errorf("failed to pull image %q: %w", i, err)
			}
			fmt.Fprintf(a.out, "[config/images] Pulled %s\n", i)
		}
		return nil
	}}
	pull.Flags().StringVar(&socket, "cri-socket", "unix:///run/containerd/containerd.sock", "Path to the CRI socket to connect.")
	c := grouping("images", "Interact with container images used by the cluster", list, pull)
	c.PersistentFlags().StringVar(&config, "config", "", "Path to a configuration file.")
	c.PersistentFlags().StringVar(&repository, "image-repository", "", "Choose a container registry to pull control plane images from.")
	c.PersistentFlags().StringVar(&gates, "feature-gates", "", "A set of key=value pairs that describe feature gates.")
	c.PersistentFlags().StringVar(&version, "kubernetes-version", "", "Choose a specific Kubernetes version for the control plane.")
	return c
}
