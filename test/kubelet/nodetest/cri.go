package nodetest

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// CRI connects to the node's runtime.
func (n *Node) CRI() (runtimeapi.RuntimeServiceClient, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+n.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return runtimeapi.NewRuntimeServiceClient(conn), conn, nil
}

// ImageCount is how many images the runtime has by a name.
func (n *Node) ImageCount(ctx context.Context, name string) (int, error) {
	_, conn, err := n.CRI()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	res, err := runtimeapi.NewImageServiceClient(conn).ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	if err != nil || res.Image == nil {
		return 0, err
	}
	return 1, nil
}

// Sandboxes are the ids of those that the runtime has of a pod.
func (n *Node) Sandboxes(ctx context.Context, uid string) ([]string, error) {
	cri, conn, err := n.CRI()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	list, err := cri.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"io.kubernetes.pod.uid": uid}}})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range list.Items {
		out = append(out, s.Id)
	}
	return out, nil
}

// KillSandbox kills the process that holds a pod's namespaces.
func (n *Node) KillSandbox(ctx context.Context, uid string) error {
	ids, err := n.Sandboxes(ctx, uid)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return fmt.Errorf("pod %s has no sandbox", uid)
	}
	return n.Ctr("task", "kill", "--signal", "SIGKILL", ids[0])
}

// removePods ends what the kubelet has left running.
func (n *Node) removePods() error {
	cri, conn, err := n.CRI()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	list, err := cri.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range list.Items {
		if _, err := cri.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			errs = append(errs, err)
		}
		if _, err := cri.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
