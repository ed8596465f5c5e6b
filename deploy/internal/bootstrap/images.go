package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/deploy/internal/kubeadm"
)

// pulls is how a configuration wants images to come.
type pulls struct {
	socket string
	policy corev1.PullPolicy
	serial bool
}

func pullsOf(reg *kubeadm.NodeRegistration) pulls {
	return pulls{socket: reg.CRISocket, policy: reg.ImagePullPolicy, serial: reg.ImagePullSerial == nil || *reg.ImagePullSerial}
}

// pull sees to it that images are there, before anything is changed: all that
// cannot come are told at once.
func (p pulls) pull(ctx context.Context, images []string) error {
	if p.policy == corev1.PullNever {
		return nil
	}
	conn, err := DialRuntime(p.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	results := make(chan error, len(images))
	one := func(image string) {
		results <- pullImage(ctx, conn, image, p.policy == corev1.PullAlways)
	}
	for _, i := range images {
		if p.serial {
			one(i)
		} else {
			go one(i)
		}
	}
	var errs []error
	for range images {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

func pullImage(ctx context.Context, conn *grpc.ClientConn, image string, always bool) error {
	api := runtimeapi.NewImageServiceClient(conn)
	spec := &runtimeapi.ImageSpec{Image: image}
	if !always {
		there, err := api.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: spec})
		if err == nil && there.GetImage() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("failed to pull image %s: %w", image, err)
		}
	}
	if _, err := api.PullImage(ctx, &runtimeapi.PullImageRequest{Image: spec}); err != nil {
		return fmt.Errorf("failed to pull image %s: %w", image, err)
	}
	return nil
}

// needed are the images of a control plane node; those of addons only where
// addons are installed.
func (i *Init) needed() []string {
	c := *i.Cluster
	skipped := func(part string) bool {
		return slices.Contains(i.Config.SkipPhases, "addon") || slices.Contains(i.Config.SkipPhases, "addon/"+part)
	}
	c.Proxy.Disabled = c.Proxy.Disabled || skipped("kube-proxy")
	c.DNS.Disabled = c.DNS.Disabled || skipped("coredns")
	return c.Images()
}

func (i *Init) imageCheck(images func() []string) Check {
	return Check{Name: "ImagePull", Run: func(ctx context.Context) error {
		if i.DryRun {
			i.say("preflight", "Would pull the required images (like 'xebecadm config images pull')")
			return nil
		}
		i.say("preflight", "Pulling images required for setting up a Kubernetes cluster")
		i.say("preflight", "This might take a minute or two, depending on the speed of your internet connection")
		i.say("preflight", "You can also perform this action beforehand using 'xebecadm config images pull'")
		return pullsOf(&i.Config.NodeRegistration).pull(ctx, images())
	}}
}
