package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	grpcstatus "google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/device"
	"xebec.dev/kubelet/internal/env"
	"xebec.dev/kubelet/internal/image"
	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/users"
)

// startError is why a container does not run.
type startError struct {
	reason, message string
	event           string // after "Error: "; empty is no event
	until           time.Time
}

func (e *startError) Error() string { return e.reason + ": " + e.message }

// Reasons of containers that wait.
const (
	configError = "CreateContainerConfigError"
	createError = "CreateContainerError"
	runError    = "RunContainerError"
	hookError   = "PostStartHookError"
)

func badConfig(err error) error {
	return &startError{reason: configError, message: err.Error(), event: err.Error()}
}

// words are the runtime's own, without gRPC's before them.
func words(err error) string { return grpcstatus.Convert(err).Message() }

// shell is the sandbox's configuration; containers are made with it.
func (w *Worker) shell(ctx context.Context, pod *corev1.Pod, attempt uint32) (*runtimeapi.PodSandboxConfig, *runtimeapi.UserNamespace, error) {
	parent, err := w.o.Cgroups.EnsurePod(pod)
	if err != nil {
		return nil, nil, fmt.Errorf("make the pod's cgroup: %w", err)
	}
	dns, warnings, err := runtime.PodDNS(pod, w.o.DNS)
	if err != nil {
		return nil, nil, err
	}
	for _, x := range warnings {
		w.o.Events(pod, "", corev1.EventTypeWarning, x.Reason, x.Message)
	}
	in := runtime.SandboxInput{
		Pod: pod, Attempt: attempt, CgroupParent: parent, LogDirectory: runtime.LogDirectory(w.o.PodLogs, pod), DNS: dns,
		Domain: w.o.DNS.ClusterDomain, Sysctls: w.o.Sysctls, Seccomp: w.o.Seccomp,
	}
	in.Resources, in.Overhead = w.o.Cgroups.PodResources(pod)
	if w.o.Users != nil {
		if in.UserNamespace, err = w.o.Users(ctx, pod); err != nil {
			return nil, nil, err
		}
	}
	config, err := runtime.SandboxConfig(in)
	return config, in.UserNamespace, err
}

func (w *Worker) runSandbox(ctx context.Context, pod *corev1.Pod, attempt uint32) error {
	if !pod.Spec.HostNetwork {
		if err := w.o.Node.NetworkReady(); err != nil {
			message := fmt.Sprintf("network is not ready: %v", err)
			w.o.Events(pod, "", corev1.EventTypeWarning, "NetworkNotReady", message)
			return fmt.Errorf("%s", message)
		}
	}
	fail := func(err error) error {
		if ctx.Err() == nil {
			w.o.Events(pod, "", corev1.EventTypeWarning, "FailedCreatePodSandBox", fmt.Sprintf("Failed to create pod sandbox: %v", err))
		}
		return fmt.Errorf("create sandbox: %w", err)
	}
	config, _, err := w.shell(ctx, pod, attempt)
	if err != nil {
		return fail(err)
	}
	handler, err := w.o.Handler(ctx, pod)
	if err != nil {
		return fail(err)
	}
	s, err := w.o.Runtime.RunSandbox(ctx, config, handler)
	if err != nil {
		w.news() // part of it may be there
		return fail(err)
	}
	next := &runtime.Pod{UID: w.uid, Key: w.key, Sandboxes: []*runtime.Sandbox{s}}
	if seen := w.seen(); seen != nil {
		next.Sandboxes, next.Containers = append(next.Sandboxes, seen.Sandboxes...), seen.Containers
	}
	w.see(next)
	return nil
}

// start makes and starts a container, from its image to its hook.
func (w *Worker) start(ctx context.Context, pod *corev1.Pod, c *corev1.Container, a plan.Action) error {
	handler, err := w.o.Handler(ctx, pod)
	if err != nil {
		return badConfig(err)
	}
	seen := w.seen()
	sandbox := seen.Sandbox()
	shell, own, err := w.shell(ctx, pod, sandbox.Attempt)
	if err != nil {
		return badConfig(err)
	}
	img, err := w.o.Images.Ensure(ctx, image.Want{
		Image: c.Image, Policy: c.ImagePullPolicy, Pod: string(w.uid), Handler: handler, Sandbox: shell,
		Keys:  func() image.Keyring { return w.keyring(ctx, pod) },
		Event: func(kind, reason, message string) { w.o.Events(pod, c.Name, kind, reason, message) },
	})
	if err != nil {
		return pullError(err)
	}
	in := runtime.ContainerInput{
		Pod: pod, Container: c, Attempt: w.attempt(pod, a), ImageRef: img.Id, ImageUser: imageUser(img), Handler: handler,
		Resources: w.o.Cgroups.Resources(pod, c), UserNamespace: own, Seccomp: w.o.Seccomp,
	}
	if err := w.fill(ctx, pod, c, &in, a.Kind); err != nil {
		var noImage *image.Error // of a volume
		if errors.As(err, &noImage) {
			return pullError(err)
		}
		return badConfig(err)
	}
	config, err := runtime.ContainerConfig(in)
	if err != nil {
		return badConfig(err)
	}
	id, err := w.o.Runtime.CreateContainer(ctx, sandbox.ID, config, shell)
	if err != nil {
		return &startError{reason: createError, message: words(err), event: words(err)}
	}
	w.o.Events(pod, c.Name, corev1.EventTypeNormal, "Created", "Container created")
	if err := w.o.Runtime.StartContainer(ctx, id); err != nil {
		w.news()
		return &startError{reason: runError, message: words(err), event: words(err)}
	}
	w.o.Events(pod, c.Name, corev1.EventTypeNormal, "Started", "Container started")
	run, err := w.o.Runtime.Container(ctx, id)
	if err != nil {
		w.news()
		return fmt.Errorf("status of container %s: %w", id, err)
	}
	run.SandboxID = sandbox.ID
	w.linkLog(pod, run)
	next := *w.seen()
	next.Containers = append([]*runtime.Container{run}, next.Containers...)
	w.see(&next)
	return w.postStart(ctx, pod, c, id)
}

// attempt counts a container's runs; after everything was lost, the API's
// status knows the last.
func (w *Worker) attempt(pod *corev1.Pod, a plan.Action) uint32 {
	if a.Attempt > 0 || w.seen().Container(a.Name) != nil {
		return a.Attempt
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			if s := &list[i]; s.Name == a.Name && s.ContainerID != "" {
				return uint32(s.RestartCount) + 1
			}
		}
	}
	return 0
}

func imageUser(img *runtimeapi.Image) runtime.ImageUser {
	u := runtime.ImageUser{Name: img.Username}
	switch {
	case img.Uid != nil:
		u.UID = &img.Uid.Value
	case img.Username == "":
		root := int64(0) // an image that says nothing runs as root
		u.UID = &root
	}
	return u
}

// fill adds what a container is given: environment, command, mounts.
func (w *Worker) fill(ctx context.Context, pod *corev1.Pod, c *corev1.Container, in *runtime.ContainerInput, kind plan.Kind) error {
	seen := w.seen()
	ips := seen.IPs()
	if pod.Spec.HostNetwork {
		ips = w.o.Node.IPs()
	}
	vars, warnings, err := w.o.Environment(ctx, pod, c, ips)
	if err != nil {
		return err
	}
	for _, text := range warnings {
		w.o.Events(pod, c.Name, corev1.EventTypeWarning, "InvalidEnvironmentVariableNames", text)
	}
	in.Envs = env.KeyValues(vars)
	in.Command, in.Args = env.Command(c.Command, vars), env.Command(c.Args, vars)
	mounts, devices, err := w.o.Volumes.Mounts(ctx, pod, c, vars)
	if err != nil {
		return err
	}
	in.Mounts, in.Devices = mounts, devices
	if w.o.Devices != nil {
		given, err := w.o.Devices(ctx, pod.UID, c.Name)
		if err != nil {
			return err
		}
		withDevices(in, given)
	}
	if err := w.ownFiles(pod, c, ips, in); err != nil {
		return err
	}
	users.Map(in.UserNamespace, in.Mounts)
	if kind == plan.Ephemeral {
		return w.target(pod, c, in)
	}
	return nil
}

// withDevices adds what plugins say that a container needs. What the pod says
// itself goes before.
func withDevices(in *runtime.ContainerInput, g *device.Given) {
	for _, kv := range g.Envs {
		if !slices.ContainsFunc(in.Envs, func(have *runtimeapi.KeyValue) bool { return have.Key == kv.Key }) {
			in.Envs = append(in.Envs, kv)
		}
	}
	for _, m := range g.Mounts {
		if !slices.ContainsFunc(in.Mounts, func(have *runtimeapi.Mount) bool { return have.ContainerPath == m.ContainerPath }) {
			in.Mounts = append(in.Mounts, m)
		}
	}
	in.Devices = append(in.Devices, g.Devices...)
	in.CDIDevices, in.Annotations = g.CDIDevices, g.Annotations
}

// target finds the container whose processes an ephemeral one is to see.
func (w *Worker) target(pod *corev1.Pod, c *corev1.Container, in *runtime.ContainerInput) error {
	i := slices.IndexFunc(pod.Spec.EphemeralContainers, func(e corev1.EphemeralContainer) bool { return e.Name == c.Name })
	name := pod.Spec.EphemeralContainers[i].TargetContainerName
	if name == "" {
		return nil
	}
	run := w.seen().Container(name)
	if run == nil || run.State != runtime.Running {
		return fmt.Errorf("unable to find target container %s", name)
	}
	in.TargetID = run.ID
	return nil
}

func (w *Worker) keyring(ctx context.Context, pod *corev1.Pod) image.Keyring {
	if len(pod.Spec.ImagePullSecrets) == 0 {
		return nil
	}
	secrets, missing := w.o.Secrets(ctx, pod)
	if len(missing) > 0 {
		w.o.Events(pod, "", corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret",
			fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(missing, ", ")))
	}
	keys, errs := image.KeyringOf(secrets)
	for _, err := range errs {
		w.o.Events(pod, "", corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret", err.Error())
	}
	return keys
}

// postStart runs a container's hook; a container whose hook fails is ended.
func (w *Worker) postStart(ctx context.Context, pod *corev1.Pod, c *corev1.Container, id string) error {
	if c.Lifecycle == nil || c.Lifecycle.PostStart == nil {
		return nil
	}
	err := w.o.Hooks.Run(ctx, pod, c, id, w.podIP(pod, w.seen()), c.Lifecycle.PostStart)
	if err == nil {
		return nil
	}
	const message = "PostStartHook failed"
	w.o.Events(pod, c.Name, corev1.EventTypeWarning, "FailedPostStartHook", message)
	if kill := w.killOne(ctx, pod, id, c, "FailedPostStartHook", graceOf(pod, nil, c, "")); kill != nil {
		w.log.Debug("a container whose hook failed can't be ended")
	}
	w.news()
	return &startError{reason: hookError, message: fmt.Sprintf("%s: %v", message, err)}
}
