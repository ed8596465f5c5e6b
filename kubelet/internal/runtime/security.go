package runtime

import (
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// SeccompOptions are the node's.
type SeccompOptions struct {
	// Default confines containers that ask for nothing.
	Default bool
	// Root is the directory of Localhost profiles.
	Root string
}

// ImageUser is whom the image runs as.
type ImageUser struct {
	UID  *int64
	Name string
}

// Paths under /proc and /sys that containers don't see, or can't write.
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func int64Value(v *int64) *runtimeapi.Int64Value {
	if v == nil {
		return nil
	}
	return &runtimeapi.Int64Value{Value: *v}
}

func selinux(o *corev1.SELinuxOptions) *runtimeapi.SELinuxOption {
	if o == nil {
		return nil
	}
	return &runtimeapi.SELinuxOption{User: o.User, Role: o.Role, Type: o.Type, Level: o.Level}
}

func groups(sc *corev1.PodSecurityContext) ([]int64, runtimeapi.SupplementalGroupsPolicy) {
	var out []int64
	if sc.FSGroup != nil {
		out = append(out, *sc.FSGroup)
	}
	out = append(out, sc.SupplementalGroups...)
	policy := runtimeapi.SupplementalGroupsPolicy_Merge
	if sc.SupplementalGroupsPolicy != nil && *sc.SupplementalGroupsPolicy == corev1.SupplementalGroupsPolicyStrict {
		policy = runtimeapi.SupplementalGroupsPolicy_Strict
	}
	return out, policy
}

// seccomp turns a profile around; one that names no file is refused, so that
// a mistake doesn't unconfine.
func seccomp(p *corev1.SeccompProfile, o SeccompOptions) (*runtimeapi.SecurityProfile, error) {
	switch {
	case p == nil && o.Default, p != nil && p.Type == corev1.SeccompProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, nil
	case p == nil, p.Type == corev1.SeccompProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, nil
	case p.LocalhostProfile == nil || *p.LocalhostProfile == "":
		return nil, fmt.Errorf("localhostProfile must be set if seccompProfile type is Localhost.")
	}
	return &runtimeapi.SecurityProfile{
		ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: filepath.Join(o.Root, filepath.FromSlash(*p.LocalhostProfile)),
	}, nil
}

func apparmor(p *corev1.AppArmorProfile) (*runtimeapi.SecurityProfile, string) {
	if p == nil {
		return nil, ""
	}
	switch p.Type {
	case corev1.AppArmorProfileTypeRuntimeDefault:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault}, "runtime/default"
	case corev1.AppArmorProfileTypeUnconfined:
		return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined}, "unconfined"
	}
	name := ""
	if p.LocalhostProfile != nil {
		name = *p.LocalhostProfile
	}
	return &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Localhost, LocalhostRef: name}, "localhost/" + name
}

// effective is what holds for a container: its own settings over the pod's.
func effective(pod *corev1.Pod, c *corev1.Container) *corev1.SecurityContext {
	out := &corev1.SecurityContext{}
	if p := pod.Spec.SecurityContext; p != nil {
		out.SELinuxOptions, out.RunAsUser, out.RunAsGroup = p.SELinuxOptions, p.RunAsUser, p.RunAsGroup
		out.RunAsNonRoot, out.SeccompProfile, out.AppArmorProfile = p.RunAsNonRoot, p.SeccompProfile, p.AppArmorProfile
	}
	s := c.SecurityContext
	if s == nil {
		return out
	}
	over(&out.SELinuxOptions, s.SELinuxOptions)
	over(&out.RunAsUser, s.RunAsUser)
	over(&out.RunAsGroup, s.RunAsGroup)
	over(&out.RunAsNonRoot, s.RunAsNonRoot)
	over(&out.SeccompProfile, s.SeccompProfile)
	over(&out.AppArmorProfile, s.AppArmorProfile)
	out.Capabilities, out.Privileged, out.ReadOnlyRootFilesystem = s.Capabilities, s.Privileged, s.ReadOnlyRootFilesystem
	out.AllowPrivilegeEscalation, out.ProcMount = s.AllowPrivilegeEscalation, s.ProcMount
	return out
}

func over[T any](dst **T, src *T) {
	if src != nil {
		*dst = src
	}
}

// verifyNonRoot refuses containers that must not run as root and would, or might.
func verifyNonRoot(pod *corev1.Pod, c *corev1.Container, sc *corev1.SecurityContext, user ImageUser) error {
	if sc.RunAsNonRoot == nil || !*sc.RunAsNonRoot {
		return nil
	}
	who := fmt.Sprintf("(pod: %q, container: %s)", Describe(pod), c.Name)
	switch {
	case sc.RunAsUser != nil && *sc.RunAsUser == 0:
		return fmt.Errorf("container's runAsUser breaks non-root policy %s", who)
	case sc.RunAsUser != nil:
		return nil
	case user.UID != nil && *user.UID == 0:
		return fmt.Errorf("container has runAsNonRoot and image will run as root %s", who)
	case user.UID == nil && user.Name != "":
		return fmt.Errorf("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root %s", user.Name, who)
	}
	return nil
}

// Describe names a pod as Kubernetes' messages do.
func Describe(pod *corev1.Pod) string {
	return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
}

func containerSecurity(in ContainerInput) (*runtimeapi.LinuxContainerSecurityContext, error) {
	pod, c := in.Pod, in.Container
	sc := effective(pod, c)
	if err := verifyNonRoot(pod, c, sc, in.ImageUser); err != nil {
		return nil, err
	}
	out := &runtimeapi.LinuxContainerSecurityContext{
		NamespaceOptions: namespaces(pod, in.UserNamespace),
		Privileged:       sc.Privileged != nil && *sc.Privileged,
		ReadonlyRootfs:   sc.ReadOnlyRootFilesystem != nil && *sc.ReadOnlyRootFilesystem,
		NoNewPrivs:       sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
		SelinuxOptions:   selinux(sc.SELinuxOptions), RunAsGroup: int64Value(sc.RunAsGroup),
	}
	if in.TargetID != "" {
		out.NamespaceOptions.Pid, out.NamespaceOptions.TargetId = runtimeapi.NamespaceMode_TARGET, in.TargetID
	}
	var err error
	if out.Seccomp, err = seccomp(sc.SeccompProfile, in.Seccomp); err != nil {
		return nil, err
	}
	out.Apparmor, out.ApparmorProfile = apparmor(sc.AppArmorProfile)
	setUser(out, sc, in.ImageUser)
	if sc.Capabilities != nil {
		out.Capabilities = &runtimeapi.Capability{}
		for _, a := range sc.Capabilities.Add {
			out.Capabilities.AddCapabilities = append(out.Capabilities.AddCapabilities, string(a))
		}
		for _, d := range sc.Capabilities.Drop {
			out.Capabilities.DropCapabilities = append(out.Capabilities.DropCapabilities, string(d))
		}
	}
	if pod.Spec.SecurityContext != nil {
		out.SupplementalGroups, out.SupplementalGroupsPolicy = groups(pod.Spec.SecurityContext)
	}
	if sc.ProcMount == nil || *sc.ProcMount != corev1.UnmaskedProcMount {
		out.MaskedPaths, out.ReadonlyPaths = maskedPaths, readonlyPaths
	}
	return out, nil
}

func setUser(out *runtimeapi.LinuxContainerSecurityContext, sc *corev1.SecurityContext, user ImageUser) {
	switch {
	case sc.RunAsUser != nil:
		out.RunAsUser = int64Value(sc.RunAsUser)
	case user.UID != nil:
		out.RunAsUser = int64Value(user.UID)
	default:
		out.RunAsUsername = user.Name
	}
}
