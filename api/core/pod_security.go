package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/internalform"
)

func yes(b *bool) bool { return b != nil && *b }

func no(b *bool) bool { return b != nil && !*b }

// securityContext checks a container's own security settings.
func (c *podChecks) securityContext(s *corev1.SecurityContext, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, validateID(s.RunAsUser, p, "runAsUser")...)
	errs = append(errs, validateID(s.RunAsGroup, p, "runAsGroup")...)
	if s.ProcMount != nil {
		errs = append(errs, c.procMount(*s.ProcMount, p.Child("procMount"))...)
	}
	if s.SeccompProfile != nil {
		errs = append(errs, validateSeccomp(s.SeccompProfile, p.Child("seccompProfile"))...)
	}
	if no(s.AllowPrivilegeEscalation) {
		if yes(s.Privileged) {
			errs = append(errs, field.Invalid(p, internalform.Of(s), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
		}
		if s.Capabilities != nil && slices.Contains(s.Capabilities.Add, "CAP_SYS_ADMIN") {
			errs = append(errs, field.Invalid(p, internalform.Of(s), "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
		}
	}
	return append(errs, otherProfiles(s.WindowsOptions, s.AppArmorProfile, p)...)
}

// procMount lets /proc unmasked only where root in the pod is not the node's.
func (c *podChecks) procMount(m corev1.ProcMountType, p *field.Path) field.ErrorList {
	errs := check.OneOfSorted(p, m, corev1.DefaultProcMount, corev1.UnmaskedProcMount)
	if m == corev1.UnmaskedProcMount && !no(c.spec.HostUsers) && !c.relaxed.unmasked {
		errs = append(errs, field.Invalid(p, m, "`hostUsers` must be false to use `Unmasked`"))
	}
	return errs
}

func validateID(id *int64, p *field.Path, name string) field.ErrorList {
	if id == nil || *id >= 0 && *id <= 1<<31-1 {
		return nil
	}
	return field.ErrorList{field.Invalid(p.Child(name), *id, utilvalidation.InclusiveRangeError(0, 1<<31-1))}
}

// podSecurityContext checks the security settings of the pod, and of host
// namespaces, whose fields Kubernetes counts among them.
func (c *podChecks) podSecurityContext(path *field.Path) field.ErrorList {
	spec, s := c.spec, c.spec.SecurityContext
	var errs field.ErrorList
	if spec.HostNetwork {
		errs = append(errs, validateHostNetwork(spec.Containers, path.Child("containers"))...)
	}
	if s == nil {
		return append(errs, sharedPID(spec, path)...)
	}
	p := path.Child("securityContext")
	errs = append(errs, validateID(s.FSGroup, p, "fsGroup")...)
	errs = append(errs, validateID(s.RunAsUser, p, "runAsUser")...)
	errs = append(errs, validateID(s.RunAsGroup, p, "runAsGroup")...)
	for i := range s.SupplementalGroups {
		if g := &s.SupplementalGroups[i]; *g < 0 || *g > 1<<31-1 {
			errs = append(errs, field.Invalid(p.Child("supplementalGroups").Index(i), *g, utilvalidation.InclusiveRangeError(0, 1<<31-1)))
		}
	}
	errs = append(errs, sharedPID(spec, path)...)
	if len(s.Sysctls) > 0 {
		errs = append(errs, c.sysctls(s.Sysctls, p.Child("sysctls"))...)
	}
	if s.FSGroupChangePolicy != nil {
		errs = append(errs, check.OneOfSorted(p.Child("fsGroupChangePolicy"), *s.FSGroupChangePolicy, corev1.FSGroupChangeAlways, corev1.FSGroupChangeOnRootMismatch)...)
	}
	if s.SeccompProfile != nil {
		errs = append(errs, validateSeccomp(s.SeccompProfile, p.Child("seccompProfile"))...)
	}
	errs = append(errs, otherProfiles(s.WindowsOptions, s.AppArmorProfile, p)...)
	if s.SupplementalGroupsPolicy != nil {
		errs = append(errs, check.OneOfSorted(p.Child("supplementalGroupsPolicy"), *s.SupplementalGroupsPolicy,
			corev1.SupplementalGroupsPolicyMerge, corev1.SupplementalGroupsPolicyStrict)...)
	}
	if s.SELinuxChangePolicy != nil {
		errs = append(errs, check.OneOfSorted(p.Child("seLinuxChangePolicy"), *s.SELinuxChangePolicy, seLinuxChangePolicies...)...)
	}
	return errs
}

var seLinuxChangePolicies = func() []corev1.PodSELinuxChangePolicy {
	policies := []corev1.PodSELinuxChangePolicy{corev1.SELinuxChangePolicyRecursive}
	if gateSELinuxMount {
		policies = append(policies, corev1.SELinuxChangePolicyMountOption)
	}
	return policies
}()

func sharedPID(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	if !spec.HostPID || !yes(spec.ShareProcessNamespace) {
		return nil
	}
	return field.ErrorList{field.Invalid(path.Child("securityContext", "shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled")}
}

// validateHostNetwork wants the ports on the node to be those in the pod:
// there is nothing in between that could translate. Templates may leave them
// out; pods get theirs by default.
func validateHostNetwork(list []corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		for j := range list[i].Ports {
			if port := &list[i].Ports[j]; port.HostPort != 0 && port.HostPort != port.ContainerPort {
				errs = append(errs, field.Invalid(path.Index(i).Child("ports").Index(j).Child("hostPort"), port.HostPort,
					"must match `containerPort` when `hostNetwork` is true"))
			}
		}
	}
	return errs
}

const sysctlFormat = `^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$`

func (c *podChecks) sysctls(sysctls []corev1.Sysctl, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range sysctls {
		name, p := sysctls[i].Name, path.Index(i).Child("name")
		switch {
		case name == "":
			errs = append(errs, field.Required(p, ""))
		case !validSysctl(name):
			errs = append(errs, field.Invalid(p, name, "must have at most 253 characters and match regex "+sysctlFormat))
		case slices.ContainsFunc(sysctls[:i], func(s corev1.Sysctl) bool { return s.Name == name }):
			errs = append(errs, field.Duplicate(p, name))
		}
		if c.relaxed.hostSysctls {
			continue
		}
		switch dotted := dottedSysctl(name); {
		case c.spec.HostNetwork && strings.HasPrefix(dotted, "net."):
			errs = append(errs, field.Invalid(p, name, "may not be specified when 'hostNetwork' is true"))
		case c.spec.HostIPC && ofIPC(dotted):
			errs = append(errs, field.Invalid(p, name, "may not be specified when 'hostIPC' is true"))
		}
	}
	return errs
}

// dottedSysctl turns net/ipv4/x into net.ipv4.x. With slashes as separators a
// dot is part of a name (an interface), so both are exchanged.
func dottedSysctl(name string) string {
	if i := strings.IndexAny(name, "./"); i < 0 || name[i] == '.' {
		return name
	}
	return strings.NewReplacer("/", ".", ".", "/").Replace(name)
}

// ofIPC finds the sysctls of the IPC namespace.
func ofIPC(name string) bool {
	return name == "kernel.sem" || strings.HasPrefix(name, "kernel.shm") || strings.HasPrefix(name, "kernel.msg") || strings.HasPrefix(name, "fs.mqueue.")
}

// validSysctl takes parts of lower case letters, digits and inner dashes and
// underscores, joined by dots or slashes.
func validSysctl(name string) bool {
	if len(name) > 253 {
		return false
	}
	for name != "" {
		part := name
		if i := strings.IndexAny(name, "./"); i >= 0 {
			part, name = name[:i], name[i+1:]
			if name == "" {
				return false
			}
		} else {
			name = ""
		}
		if part == "" || !isLowerAlnum(part[0]) || !isLowerAlnum(part[len(part)-1]) {
			return false
		}
		for i := range len(part) {
			if c := part[i]; !isLowerAlnum(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func otherProfiles(w *corev1.WindowsSecurityContextOptions, a *corev1.AppArmorProfile, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if w != nil {
		errs = append(errs, validateWindowsOptions(w, p.Child("windowsOptions"))...)
	}
	if a != nil {
		errs = append(errs, validateAppArmor(a, p.Child("appArmorProfile"))...)
	}
	return errs
}

func validateSeccomp(s *corev1.SeccompProfile, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Type == "" {
		errs = append(errs, field.Required(p.Child("type"), "type is required when seccompProfile is set"))
	} else {
		errs = check.OneOf(p.Child("type"), s.Type, corev1.SeccompProfileTypeLocalhost, corev1.SeccompProfileTypeRuntimeDefault, corev1.SeccompProfileTypeUnconfined)
	}
	local := p.Child("localhostProfile")
	switch {
	case s.Type != corev1.SeccompProfileTypeLocalhost:
		if s.LocalhostProfile != nil {
			errs = append(errs, field.Invalid(local, internalform.Of(s), "can only be set when seccomp type is Localhost"))
		}
	case s.LocalhostProfile == nil:
		errs = append(errs, field.Required(local, "must be set when seccomp type is Localhost"))
	default:
		errs = append(errs, descendingPath(*s.LocalhostProfile, local)...)
	}
	return errs
}

// maxAppArmorProfile is PATH_MAX without the final zero.
const maxAppArmorProfile = 4095

func validateAppArmor(a *corev1.AppArmorProfile, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	local := p.Child("localhostProfile")
	switch a.Type {
	case corev1.AppArmorProfileTypeLocalhost:
		if a.LocalhostProfile == nil {
			return field.ErrorList{field.Required(local, "must be set when AppArmor type is Localhost")}
		}
		given := *a.LocalhostProfile
		trimmed := strings.TrimSpace(given)
		if trimmed != given {
			errs = append(errs, field.Invalid(local, given, "must not be padded with whitespace"))
		} else if trimmed == "" {
			errs = append(errs, field.Required(local, "must be set when AppArmor type is Localhost"))
		}
		if len(trimmed) > maxAppArmorProfile {
			errs = append(errs, field.TooLong(local, given, maxAppArmorProfile))
		}
		return errs
	case corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined:
		if a.LocalhostProfile != nil {
			errs = append(errs, field.Invalid(local, a.LocalhostProfile, "can only be set when AppArmor type is Localhost"))
		}
		return errs
	case "":
		return field.ErrorList{field.Required(p.Child("type"), "type is required when appArmorProfile is set")}
	}
	return check.OneOf(p.Child("type"), a.Type, corev1.AppArmorProfileTypeLocalhost,
		corev1.AppArmorProfileTypeRuntimeDefault, corev1.AppArmorProfileTypeUnconfined)
}

// hostUsers keeps pods with users of their own out of the node's namespaces.
func (c *podChecks) hostUsers(path *field.Path) field.ErrorList {
	s := c.spec
	if !no(s.HostUsers) {
		return nil
	}
	var errs field.ErrorList
	const when = "when `hostUsers` is false"
	if s.HostNetwork && !gateUserNamespacesHostNetwork {
		errs = append(errs, field.Forbidden(path.Child("hostNetwork"), when))
	}
	if s.HostPID {
		errs = append(errs, field.Forbidden(path.Child("HostPID"), when))
	}
	if s.HostIPC {
		errs = append(errs, field.Forbidden(path.Child("HostIPC"), when))
	}
	return errs
}
