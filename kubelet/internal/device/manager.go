// Package device gives pods the devices of device plugins: programs beside the
// kubelet that register a resource, list its devices and say what a container
// needs to use some of them.
//
// Which container has which devices is on disk before the container starts: a
// kubelet that begins anew goes on where the last one ended, whether or not
// the plugins have come back.
package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	pb "xebec.dev/proto/gen/plugin/device/v1beta1"
)

// Version of the plugins' interface.
const Version = "v1beta1"

const (
	socketName = "kubelet.sock"
	// absence is how long the devices of a plugin that is gone still count as
	// the node's, unhealthy: most come back at once.
	absence = 5 * time.Minute
)

// Options of a manager.
type Options struct {
	// Dir has the sockets of plugins, and what was given.
	Dir string
	// Changed is told when there are other devices than before; it may be nil.
	Changed func()
	// Registered and Allocated are for metrics; they may be nil.
	Registered func(resource string)
	Allocated  func(resource string, took time.Duration)
	Log        *zap.Logger
}

// Manager has the devices of this node.
type Manager struct {
	o Options

	mu sync.Mutex
	// guarded by mu
	ctx       context.Context // of Run; nil before
	endpoints map[string]*endpoint
	gone      map[string]time.Time // since when a resource has no plugin
	given     map[types.UID]grants
	group     sync.WaitGroup
}

// New makes a manager that knows what was given before.
func New(o Options) (*Manager, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	const readable = 0o755 // plugins look for the socket
	if err := os.MkdirAll(o.Dir, readable); err != nil {
		return nil, err
	}
	m := &Manager{o: o, endpoints: map[string]*endpoint{}, gone: map[string]time.Time{}}
	given, known, err := m.load()
	if err != nil {
		o.Log.Warn("what devices pods had is not known: it is made anew", zap.Error(err))
	}
	m.given = given
	for _, name := range known {
		m.gone[name] = time.Now()
	}
	return m, nil
}

// Run serves the socket on which plugins register until ctx ends. Pods don't
// do without a kubelet because devices can't be had: that is only told.
func (m *Manager) Run(ctx context.Context) error {
	err := m.sweep()
	var l net.Listener
	if err == nil {
		l, err = net.Listen("unix", filepath.Join(m.o.Dir, socketName))
	}
	if err != nil {
		m.o.Log.Error("device plugins can't register", zap.String("directory", m.o.Dir), zap.Error(err))
		<-ctx.Done()
		return ctx.Err()
	}
	s := grpc.NewServer()
	desc := pb.Registration_ServiceDesc
	desc.ServiceName = "v1beta1.Registration"
	s.RegisterService(&desc, &registration{m: m})
	m.mu.Lock()
	m.ctx = ctx
	m.mu.Unlock()
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	err = s.Serve(l)
	m.mu.Lock()
	m.ctx = nil
	m.mu.Unlock()
	m.group.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// sweep removes the sockets of before: plugins notice, and register again.
func (m *Manager) sweep() error {
	entries, err := os.ReadDir(m.o.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Type()&fs.ModeSocket != 0 {
			errs = append(errs, os.Remove(filepath.Join(m.o.Dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// registration is the service that plugins register with.
type registration struct {
	pb.UnimplementedRegistrationServer
	m *Manager
}

// Register implements the service.
func (r *registration) Register(_ context.Context, q *pb.RegisterRequest) (*pb.Empty, error) {
	if err := r.m.register(q); err != nil {
		r.m.o.Log.Warn("a device plugin was refused", zap.String("resource", q.ResourceName), zap.Error(err))
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &pb.Empty{}, nil
}

func (m *Manager) register(q *pb.RegisterRequest) error {
	switch {
	case q.Version != Version:
		return fmt.Errorf("requested API version %q is not supported by kubelet. Supported version is %q", q.Version, Version)
	case !extended(q.ResourceName):
		return fmt.Errorf("invalid name of device plugin socket: the ResourceName %q is invalid", q.ResourceName)
	case q.Endpoint == "" || q.Endpoint != filepath.Base(q.Endpoint) || q.Endpoint == socketName:
		return fmt.Errorf("endpoint %q must be the name of a socket in the directory of device plugins", q.Endpoint)
	}
	e, err := dial(q.ResourceName, filepath.Join(m.o.Dir, q.Endpoint), q.Options)
	if err != nil {
		return err
	}
	m.mu.Lock()
	if m.ctx == nil {
		m.mu.Unlock()
		e.close()
		return errors.New("the kubelet is ending")
	}
	old := m.endpoints[q.ResourceName]
	if old != nil { // its devices are known until the new one lists its own
		e.devices = old.devices
	}
	m.endpoints[q.ResourceName] = e
	delete(m.gone, q.ResourceName)
	ctx := m.ctx
	m.group.Go(func() { m.follow(ctx, e) })
	m.mu.Unlock()
	if old != nil {
		old.close()
	}
	if m.o.Registered != nil {
		m.o.Registered(q.ResourceName)
	}
	m.o.Log.Info("device plugin registered", zap.String("resource", q.ResourceName), zap.String("endpoint", q.Endpoint))
	return nil
}

// extended reports whether a name is one of a resource that is not Kubernetes'
// own.
func extended(name string) bool {
	domain, _, ok := strings.Cut(name, "/")
	return ok && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io") && len(validation.IsQualifiedName(name)) == 0
}

// follow takes the lists of a plugin until it is gone.
func (m *Manager) follow(ctx context.Context, e *endpoint) {
	err := e.watch(ctx, func(list []*pb.Device) {
		m.mu.Lock()
		e.devices = map[string]*pb.Device{}
		for _, d := range list {
			e.devices[d.Id] = d
		}
		err := m.save()
		m.mu.Unlock()
		if err != nil {
			m.o.Log.Error("what devices there are can't be written", zap.Error(err))
		}
		m.changed()
	})
	e.close()
	m.mu.Lock()
	current := m.endpoints[e.resource] == e
	if current {
		e.ended = true
		m.gone[e.resource] = time.Now()
	}
	m.mu.Unlock()
	if ctx.Err() != nil || !current {
		return
	}
	m.o.Log.Warn("a device plugin is gone: its devices can't be had", zap.String("resource", e.resource), zap.Error(err))
	m.changed()
	// The node's capacity changes once more when it does not come back.
	m.group.Go(func() {
		t := time.NewTimer(absence)
		defer t.Stop()
		select {
		case <-t.C:
			m.changed()
		case <-ctx.Done():
		}
	})
}

func (m *Manager) changed() {
	if m.o.Changed != nil {
		m.o.Changed()
	}
}

// Amount is how many devices of a resource there are, and how many work.
type Amount struct{ Capacity, Allocatable int64 }

// Amounts are those of all resources that plugins have, or had lately, by
// name; those whose plugin stayed away have none.
func (m *Manager) Amounts() map[corev1.ResourceName]Amount {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[corev1.ResourceName]Amount{}
	for name := range m.gone {
		out[corev1.ResourceName(name)] = Amount{}
	}
	for name, e := range m.endpoints {
		since, gone := m.gone[name]
		if gone && time.Since(since) >= absence {
			continue
		}
		a := Amount{Capacity: int64(len(e.devices))}
		for id := range e.devices {
			if e.healthy(id) {
				a.Allocatable++
			}
		}
		out[corev1.ResourceName(name)] = a
	}
	return out
}

// known are the names of all resources that were ever registered. It needs
// the lock.
func (m *Manager) known() []string {
	names := slices.Collect(maps.Keys(m.endpoints))
	for name := range m.gone {
		if m.endpoints[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
