package runtime

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ContainerInput is what a container's configuration is made of.
type ContainerInput struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	Attempt   uint32
	// ImageRef is the image's id, ImageUser whom it runs as.
	ImageRef  string
	ImageUser ImageUser
	// Handler is the runtime class's.
	Handler string
	// Command and Args are expanded already.
	Command, Args []string
	Envs          []*runtimeapi.KeyValue
	Mounts        []*runtimeapi.Mount
	Resources     *runtimeapi.LinuxContainerResources
	UserNamespace *runtimeapi.UserNamespace
	// TargetID is the container whose processes an ephemeral one sees.
	TargetID string
	Seccomp  SeccompOptions
	// Devices that the pod was given.
	Devices    []*runtimeapi.Device
	CDIDevices []*runtimeapi.CDIDevice
	// Annotations for the runtime, beside the kubelet's own.
	Annotations map[string]string
}

// LogName is a container's log below its pod's directory.
func LogName(container string, attempt uint32) string {
	return filepath.Join(container, fmt.Sprintf("%d.log", attempt))
}

// LogDirectory is where a pod's logs are.
func LogDirectory(root string, pod *corev1.Pod) string {
	return filepath.Join(root, fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID))
}

// ContainerConfig is the runtime's description of a container.
func ContainerConfig(in ContainerInput) (*runtimeapi.ContainerConfig, error) {
	c := in.Container
	security, err := containerSecurity(in)
	if err != nil {
		return nil, err
	}
	annotations, err := containerAnnotations(in)
	if err != nil {
		return nil, err
	}
	out := &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: c.Name, Attempt: in.Attempt},
		Image:    &runtimeapi.ImageSpec{Image: in.ImageRef, UserSpecifiedImage: c.Image, RuntimeHandler: in.Handler},
		Command:  in.Command, Args: in.Args, WorkingDir: c.WorkingDir, Envs: in.Envs, Mounts: in.Mounts,
		Devices: in.Devices, CDIDevices: in.CDIDevices,
		Labels: containerLabels(in.Pod, c.Name), Annotations: annotations, LogPath: LogName(c.Name, in.Attempt),
		Stdin: c.Stdin, StdinOnce: c.StdinOnce, Tty: c.TTY,
		Linux: &runtimeapi.LinuxContainerConfig{Resources: in.Resources, SecurityContext: security},
	}
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		signal, ok := stopSignal(*c.Lifecycle.StopSignal)
		if !ok {
			return nil, fmt.Errorf("lifecycle.stopSignal: %q is no signal that the runtime knows", *c.Lifecycle.StopSignal)
		}
		out.StopSignal = signal
	}
	return out, nil
}

func containerAnnotations(in ContainerInput) (map[string]string, error) {
	c, pod := in.Container, in.Pod
	out := maps.Clone(in.Annotations)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, map[string]string{
		annotationHash: ContainerHash(c), annotationRestartCount: strconv.Itoa(int(in.Attempt)),
		annotationMessagePath: c.TerminationMessagePath, annotationMessagePolicy: string(c.TerminationMessagePolicy),
	})
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		out[annotationGrace] = strconv.FormatInt(*g, 10)
	}
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		out[annotationPodDeletion] = strconv.FormatInt(*g, 10)
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		raw, err := json.Marshal(c.Lifecycle.PreStop)
		if err != nil {
			return nil, err
		}
		out[annotationPreStop] = string(raw)
	}
	if len(c.Ports) > 0 {
		raw, err := json.Marshal(c.Ports)
		if err != nil {
			return nil, err
		}
		out[annotationPorts] = string(raw)
	}
	return out, nil
}

const signalPrefix = "SIGNAL_"

// stopSignal is the runtime's word for a signal: SIGNAL_SIGRTMINPLUS1 for
// SIGRTMIN+1.
func stopSignal(s corev1.Signal) (runtimeapi.Signal, bool) {
	name := strings.NewReplacer("+", "PLUS", "-", "MINUS").Replace(string(s))
	n, ok := runtimeapi.Signal_value[signalPrefix+name]
	return runtimeapi.Signal(n), ok
}

// signalOf is the pod's word for the runtime's, nil for the default.
func signalOf(s runtimeapi.Signal) *corev1.Signal {
	name, ok := strings.CutPrefix(s.String(), signalPrefix)
	if s == 0 || !ok {
		return nil
	}
	out := corev1.Signal(strings.NewReplacer("PLUS", "+", "MINUS", "-").Replace(name))
	return &out
}
