package kubelet

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	device "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// gadgets is a device plugin as people write them, with Kubernetes' own code.
type gadgets struct {
	device.UnimplementedDevicePluginServer
	lists chan []*device.Device
}

const gadget = "example.com/gadget"

func (*gadgets) GetDevicePluginOptions(context.Context, *device.Empty) (*device.DevicePluginOptions, error) {
	return &device.DevicePluginOptions{}, nil
}

func (g *gadgets) ListAndWatch(_ *device.Empty, s device.DevicePlugin_ListAndWatchServer) error {
	for {
		select {
		case l := <-g.lists:
			if err := s.Send(&device.ListAndWatchResponse{Devices: l}); err != nil {
				return err
			}
		case <-s.Context().Done():
			return nil
		}
	}
}

func (*gadgets) Allocate(_ context.Context, q *device.AllocateRequest) (*device.AllocateResponse, error) {
	out := &device.AllocateResponse{}
	for _, c := range q.ContainerRequests {
		out.ContainerResponses = append(out.ContainerResponses, &device.ContainerAllocateResponse{
			Envs:    map[string]string{"GADGETS": strings.Join(c.DevicesIds, ",")},
			Devices: []*device.DeviceSpec{{ContainerPath: "/dev/gadget", HostPath: "/dev/null", Permissions: "rw"}},
			Mounts:  []*device.Mount{{ContainerPath: "/gadgets", HostPath: "/etc", ReadOnly: true}},
		})
	}
	return out, nil
}

func dialUnix(t *testing.T, path string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// serveGadgets starts the plugin and has it register.
func serveGadgets(t *testing.T, socket string) *gadgets {
	t.Helper()
	dir := filepath.Join(node.Root(), "device-plugins")
	until(t, "the kubelet serves plugins", func() error { _, err := os.Stat(filepath.Join(dir, "kubelet.sock")); return err })
	l, err := net.Listen("unix", filepath.Join(dir, socket))
	if err != nil {
		t.Fatal(err)
	}
	g, s := &gadgets{lists: make(chan []*device.Device, 8)}, grpc.NewServer()
	device.RegisterDevicePluginServer(s, g)
	go func() { _ = s.Serve(l) }() // ends with Stop
	t.Cleanup(s.Stop)
	c := device.NewRegistrationClient(dialUnix(t, filepath.Join(dir, "kubelet.sock")))
	until(t, "registered", func() error {
		_, err := c.Register(t.Context(), &device.RegisterRequest{Version: device.Version, Endpoint: socket, ResourceName: gadget})
		return err
	})
	return g
}

func amounts(t *testing.T, capacity, allocatable int64) {
	t.Helper()
	until(t, "the node's devices", func() error {
		n, err := node.Client.CoreV1().Nodes().Get(t.Context(), node.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		c, a := n.Status.Capacity[gadget], n.Status.Allocatable[gadget]
		if c.Value() == capacity && a.Value() == allocatable {
			return nil
		}
		return fmt.Errorf("capacity %v, allocatable %v", &c, &a)
	})
}

func TestDevices(t *testing.T) {
	g := serveGadgets(t, "gadget.sock")
	g.lists <- []*device.Device{{ID: "g1", Health: device.Healthy}, {ID: "g2", Health: device.Unhealthy}}
	amounts(t, 2, 1)

	asks := func(name string, args ...string) *corev1.Pod {
		p := pod(name, args...)
		one := corev1.ResourceList{gadget: resource.MustParse("1")}
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: one, Limits: one}
		return p
	}
	create(t, asks("with-gadget", "wait"))
	have := wait(t, "with-gadget", "ready", ready)
	for _, args := range [][]string{{"exists", "/dev/gadget"}, {"exists", "/gadgets/passwd"}} {
		if out, err := node.Kubectl(append([]string{"exec", "with-gadget", "--", "/bin/agent"}, args...)...); err != nil {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	if out, err := node.Kubectl("exec", "with-gadget", "--", "/bin/agent", "env"); err != nil || !strings.Contains(out, "GADGETS=g1") {
		t.Errorf("%v %s", err, out)
	}
	create(t, asks("too-many", "wait"))
	refused := wait(t, "too-many", "refused", phase(corev1.PodFailed))
	const why = "Allocate failed due to requested number of devices unavailable for example.com/gadget. Requested: 1, Available: 0, which is unexpected"
	if refused.Status.Reason != "UnexpectedAdmissionError" || refused.Status.Message != "Pod was rejected: "+why {
		t.Errorf("%s: %s", refused.Status.Reason, refused.Status.Message)
	}
	told(t, "too-many", "Warning UnexpectedAdmissionError  "+why)

	lister := podresources.NewPodResourcesListerClient(dialUnix(t, filepath.Join(node.Root(), "pod-resources", "kubelet.sock")))
	r, err := lister.Get(t.Context(), &podresources.GetPodResourcesRequest{PodName: "with-gadget", PodNamespace: "default"})
	if err != nil || len(r.PodResources.Containers) != 1 || len(r.PodResources.Containers[0].Devices) != 1 || r.PodResources.Containers[0].Devices[0].DeviceIds[0] != "g1" {
		t.Errorf("%v %v", err, r)
	}

	// The kubelet restarts: the pod goes on, and what it has stays its own.
	node.KillKubelet()
	if err := node.StartKubelet(); err != nil {
		t.Fatal(err)
	}
	amounts(t, 0, 0) // until the plugin is back
	g = serveGadgets(t, "gadget2.sock")
	g.lists <- []*device.Device{{ID: "g1", Health: device.Healthy}, {ID: "g2", Health: device.Healthy}}
	amounts(t, 2, 2)
	create(t, asks("second", "wait"))
	wait(t, "second", "ready", ready)
	if out, err := node.Kubectl("exec", "second", "--", "/bin/agent", "env"); err != nil || !strings.Contains(out, "GADGETS=g2") {
		t.Errorf("%v %s", err, out)
	}
	if now := status(get(t, "with-gadget"), "main"); now.ContainerID != status(have, "main").ContainerID || now.RestartCount != 0 {
		t.Errorf("the pod with the device is another: %+v", now)
	}
}
