// Package volume makes the volumes of pods present below the kubelet's
// directory, laid out as Kubernetes does, keeps their content current, and
// says how containers mount them.
//
// What is set up is known from the disk and the mount table: a new process
// goes on where the last one ended. One operation at a time runs for a pod.
package volume

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/client"
	"xebec.dev/kubelet/internal/object"
)

// Options of a manager.
type Options struct {
	// RootDir is the kubelet's directory, /var/lib/kubelet.
	RootDir string
	// Node is the name of this node.
	Node string
	// API reads claims and volumes and asks for tokens; without it pods that
	// need these are refused.
	API *client.Client
	// Objects has the config maps and secrets of the node's pods.
	Objects *object.Store
	// NodeObject is the node as it was last seen, for its allocatable
	// resources and labels; it may give nil.
	NodeObject func() *corev1.Node
	// Image pulls the image of a volume of kind image for a container that
	// mounts it, and says what the runtime mounts; its error is the
	// container's. Without it such volumes are refused.
	Image func(ctx context.Context, pod *corev1.Pod, volume *corev1.Volume, container string) (*runtimeapi.ImageSpec, error)
	// RecursiveReadOnly reports whether the runtime, by that handler, mounts
	// read-only with all that is mounted below.
	RecursiveReadOnly func(handler string) bool
	// Mounted is told how long it took to set a volume up, or to take it
	// down; it may be nil.
	Mounted func(plugin, operation string, took time.Duration, err error)
	Log     *zap.Logger
}

// Manager has the volumes of all pods of this node.
type Manager struct {
	o            Options
	log          *zap.Logger
	tokens       *tokens
	certificates *certificates
	refresh      *refresher
	csi          *drivers

	mu   sync.Mutex
	pods map[types.UID]*podVolumes // guarded by mu
}

// podVolumes is what is known of one pod's volumes.
type podVolumes struct {
	busy sync.Mutex // held during an operation
	// newest is the pod as it was last told of by Seen; nil is never.
	newest atomic.Pointer[corev1.Pod]

	// Guarded by busy.
	pod    *corev1.Pod
	claims map[string]*claimed // by volume name
	done   map[string]bool     // by volume name: it has been set up
	gone   bool                // torn down
}

// Failure is what went wrong with one volume.
type Failure struct {
	Volume string
	Err    error
}

// Error says which volumes of a pod could not be set up. Each failure's text
// is the message of a FailedMount event.
type Error struct{ Failures []Failure }

func (e *Error) Error() string {
	texts := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		texts[i] = f.Err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap gives the failures' errors.
func (e *Error) Unwrap() []error {
	out := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		out[i] = f.Err
	}
	return out
}

// New makes a manager. It is told of changed objects from Run on.
func New(o Options) *Manager {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.NodeObject == nil {
		o.NodeObject = func() *corev1.Node { return nil }
	}
	// The table of mounts has real paths.
	if real, err := filepath.EvalSymlinks(o.RootDir); err == nil {
		o.RootDir = real
	}
	m := &Manager{o: o, log: o.Log, pods: map[types.UID]*podVolumes{}}
	m.tokens = newTokens(m.requestToken)
	m.certificates = newCertificates(apiSigner{o.API}, o.NodeObject)
	m.refresh = newRefresher(m)
	m.csi = newDrivers(m)
	if o.Objects != nil {
		o.Objects.OnChange(func(_ object.Key, users []types.UID) { m.refresh.add(users...) })
	}
	return m
}

// Run keeps the content of volumes current until ctx ends.
func (m *Manager) Run(ctx context.Context) error { return m.refresh.run(ctx) }

// state finds or makes a pod's state.
func (m *Manager) state(uid types.UID) *podVolumes {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.pods[uid]
	if s == nil {
		s = &podVolumes{claims: map[string]*claimed{}, done: map[string]bool{}}
		m.pods[uid] = s
	}
	return s
}

func (m *Manager) known(uid types.UID) *podVolumes {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pods[uid]
}

// InUse are the volumes of node.status.volumesInUse: those that a driver may
// have attached, sorted.
func (m *Manager) InUse() []corev1.UniqueVolumeName {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.pods))
	m.mu.Unlock()
	var out []corev1.UniqueVolumeName
	for _, s := range all {
		s.busy.Lock()
		for _, c := range s.claims {
			if csi := c.volume.Spec.CSI; csi != nil {
				out = append(out, corev1.UniqueVolumeName(pluginCSI+"/"+csi.Driver+"^"+csi.VolumeHandle))
			}
		}
		s.busy.Unlock()
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Setup makes all volumes of the pod present and current; calling it again is
// cheap. The error is an *Error.
func (m *Manager) Setup(ctx context.Context, pod *corev1.Pod) error {
	m.o.Objects.Track(pod)
	for {
		s := m.state(pod.UID)
		s.busy.Lock()
		if s.gone { // torn down while we waited
			s.busy.Unlock()
			continue
		}
		defer s.busy.Unlock()
		s.pod = pod
		return m.setupAll(ctx, s)
	}
}

func (m *Manager) setupAll(ctx context.Context, s *podVolumes) error {
	used := mounted(s.pod)
	var failures []Failure
	for i := range s.pod.Spec.Volumes {
		v := &s.pod.Spec.Volumes[i]
		if !used[v.Name] {
			continue // no container mounts it
		}
		began, there := time.Now(), s.done[v.Name]
		err := m.setup(ctx, s, v)
		if m.o.Mounted != nil && (!there || err != nil) {
			m.o.Mounted(m.plugin(s, v), "volume_mount", time.Since(began), err)
		}
		s.done[v.Name] = err == nil
		if err != nil {
			failures = append(failures, Failure{Volume: v.Name, Err: err})
		}
	}
	m.refresh.schedule(s.pod.UID)
	if len(failures) > 0 {
		return &Error{Failures: failures}
	}
	return nil
}

// mounted are the volumes that a container mounts, or reads variables from.
func mounted(pod *corev1.Pod) map[string]bool {
	out := map[string]bool{}
	each := func(mounts []corev1.VolumeMount, devices []corev1.VolumeDevice, vars []corev1.EnvVar) {
		for i := range mounts {
			out[mounts[i].Name] = true
		}
		for i := range devices {
			out[devices[i].Name] = true
		}
		for i := range vars {
			if f := vars[i].ValueFrom; f != nil && f.FileKeyRef != nil {
				out[f.FileKeyRef.VolumeName] = true
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		each(c.VolumeMounts, c.VolumeDevices, c.Env)
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		each(c.VolumeMounts, c.VolumeDevices, c.Env)
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		each(c.VolumeMounts, c.VolumeDevices, c.Env)
	}
	return out
}

// Plugins' names; directories have ~ for /.
const (
	pluginEmptyDir  = "kubernetes.io/empty-dir"
	pluginHostPath  = "kubernetes.io/host-path"
	pluginConfigMap = "kubernetes.io/configmap"
	pluginSecret    = "kubernetes.io/secret"
	pluginDownward  = "kubernetes.io/downward-api"
	pluginProjected = "kubernetes.io/projected"
	pluginLocal     = "kubernetes.io/local-volume"
	pluginCSI       = "kubernetes.io/csi"
)

// PodDir is the directory of a pod.
func (m *Manager) PodDir(uid types.UID) string {
	return filepath.Join(m.o.RootDir, "pods", string(uid))
}

// dir is where a volume of the pod is.
func (m *Manager) dir(uid types.UID, plugin, name string) string {
	return filepath.Join(m.PodDir(uid), "volumes", strings.ReplaceAll(plugin, "/", "~"), name)
}

// plugin is the name of what makes a volume present.
func (m *Manager) plugin(s *podVolumes, v *corev1.Volume) string {
	switch {
	case v.ConfigMap != nil:
		return pluginConfigMap
	case v.Secret != nil:
		return pluginSecret
	case v.DownwardAPI != nil:
		return pluginDownward
	case v.Projected != nil:
		return pluginProjected
	case v.EmptyDir != nil:
		return pluginEmptyDir
	case v.HostPath != nil:
		return pluginHostPath
	case v.CSI != nil:
		return pluginCSI
	case v.Image != nil:
		return "kubernetes.io/image"
	}
	if c := s.claims[v.Name]; c != nil {
		switch spec := &c.volume.Spec; {
		case spec.CSI != nil:
			return pluginCSI + ":" + spec.CSI.Driver
		case spec.HostPath != nil:
			return pluginHostPath
		case spec.Local != nil:
			return pluginLocal
		}
	}
	return "kubernetes.io/unknown"
}

// Counts are numbers of volumes: those that pods want, and those present.
type Counts struct{ Desired, Actual int }

// Count counts the volumes of all pods by plugin.
func (m *Manager) Count() map[string]Counts {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.pods))
	m.mu.Unlock()
	out := map[string]Counts{}
	for _, s := range all {
		if !s.busy.TryLock() {
			continue // an operation is under way, which may take long: they count next time
		}
		if s.pod != nil && !s.gone {
			used := mounted(s.pod)
			for i := range s.pod.Spec.Volumes {
				v := &s.pod.Spec.Volumes[i]
				if !used[v.Name] {
					continue
				}
				name := m.plugin(s, v)
				n := out[name]
				n.Desired++
				if s.done[v.Name] {
					n.Actual++
				}
				out[name] = n
			}
		}
		s.busy.Unlock()
	}
	return out
}

// find gives a volume of the pod by name.
func find(pod *corev1.Pod, name string) (*corev1.Volume, error) {
	i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("volume %q is not defined in pod %s", name, pod.Name)
	}
	return &pod.Spec.Volumes[i], nil
}
