package device

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "xebec.dev/proto/gen/plugin/device/v1beta1"
)

// service is the plugins' name on the wire.
const service = "/v1beta1.DevicePlugin/"

// Bounds of calls.
const (
	callTime = time.Minute
	// startTime bounds what is done before each start: Kubernetes'.
	startTime = 30 * time.Second
)

// healthy is a plugin's word for a device that works.
const healthy = "Healthy"

// endpoint is one plugin.
type endpoint struct {
	resource string
	conn     *grpc.ClientConn
	options  *pb.DevicePluginOptions

	// Guarded by Manager.mu.
	devices map[string]*pb.Device
	ended   bool
}

// dial makes a connection; the plugin is not asked for anything yet.
func dial(resource, path string, o *pb.DevicePluginOptions) (*endpoint, error) {
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", path, err)
	}
	if o == nil {
		o = &pb.DevicePluginOptions{}
	}
	return &endpoint{resource: resource, conn: conn, options: o, devices: map[string]*pb.Device{}}, nil
}

func (e *endpoint) close() { _ = e.conn.Close() } // twice is well

// healthy reports whether a device can be had. It needs the manager's lock.
func (e *endpoint) healthy(id string) bool {
	d := e.devices[id]
	return d != nil && d.Health == healthy && !e.ended
}

// watch tells of each list of devices until the plugin ends.
func (e *endpoint) watch(ctx context.Context, tell func([]*pb.Device)) error {
	s, err := e.conn.NewStream(ctx, &pb.DevicePlugin_ServiceDesc.Streams[0], service+"ListAndWatch", grpc.WaitForReady(false))
	if err != nil {
		return err
	}
	if err := s.SendMsg(&pb.Empty{}); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		var list pb.ListAndWatchResponse
		if err := s.RecvMsg(&list); err != nil {
			return err
		}
		tell(list.Devices)
	}
}

// prefer asks which of the available devices go well together; none is no
// opinion.
func (e *endpoint) prefer(ctx context.Context, available, must []string, n int) ([]string, error) {
	if !e.options.GetGetPreferredAllocationAvailable() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var out pb.PreferredAllocationResponse
	err := e.conn.Invoke(ctx, service+"GetPreferredAllocation", &pb.PreferredAllocationRequest{ContainerRequests: []*pb.ContainerPreferredAllocationRequest{
		{AvailableDeviceIds: available, MustIncludeDeviceIds: must, AllocationSize: int32(n)},
	}}, &out)
	if err != nil || len(out.ContainerResponses) == 0 {
		return nil, err
	}
	return out.ContainerResponses[0].DeviceIds, nil
}

func (e *endpoint) allocate(ctx context.Context, ids []string) (*pb.ContainerAllocateResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var out pb.AllocateResponse
	if err := e.conn.Invoke(ctx, service+"Allocate", &pb.AllocateRequest{ContainerRequests: []*pb.ContainerAllocateRequest{{DeviceIds: ids}}}, &out); err != nil {
		return nil, err
	}
	if len(out.ContainerResponses) == 0 {
		return nil, fmt.Errorf("no containers return in allocation response %v", &out)
	}
	return out.ContainerResponses[0], nil
}

func (e *endpoint) preStart(ctx context.Context, ids []string) error {
	if !e.options.GetPreStartRequired() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return e.conn.Invoke(ctx, service+"PreStartContainer", &pb.PreStartContainerRequest{DeviceIds: ids}, &pb.PreStartContainerResponse{})
}
