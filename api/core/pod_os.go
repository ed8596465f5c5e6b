package core

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// Limits of Windows user names: DOMAIN\user.
const (
	maxGMSASpec      = 64 * 1024
	maxWindowsDomain = 256
	maxWindowsUser   = 104
	badWindowsUser   = `"/\:;|=,+*?<>@[]`
)

var (
	netBIOSDomain = regexp.MustCompile(`^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$`)
	dnsDomain     = regexp.MustCompile(`^[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+\.?$|^[a-zA-Z0-9-]{1,63}$`)
)

func validateWindowsOptions(w *corev1.WindowsSecurityContextOptions, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n := w.GMSACredentialSpecName; n != nil {
		errs = append(errs, check.Messages(p.Child("gmsaCredentialSpecName"), *n, utilvalidation.IsDNS1123Subdomain(*n))...)
	}
	if s := w.GMSACredentialSpec; s != nil {
		if *s == "" {
			errs = append(errs, field.Invalid(p.Child("gmsaCredentialSpec"), *s, "gmsaCredentialSpec cannot be an empty string"))
		} else if len(*s) > maxGMSASpec {
			errs = append(errs, field.Invalid(p.Child("gmsaCredentialSpec"), *s, "gmsaCredentialSpec size must be under 64 KiB"))
		}
	}
	if u := w.RunAsUserName; u != nil {
		errs = append(errs, check.Messages(p.Child("runAsUserName"), *u, windowsUser(*u))...)
	}
	return errs
}

// windowsUser gives what is wrong with a user name.
func windowsUser(name string) []string {
	if name == "" {
		return []string{"runAsUserName cannot be an empty string"}
	}
	var bad []string
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		bad = append(bad, "runAsUserName cannot contain control characters")
	}
	domain, user, hasDomain := strings.Cut(name, `\`)
	if !hasDomain {
		domain, user = "", name
	}
	if strings.Contains(user, `\`) {
		return append(bad, "runAsUserName cannot contain more than one backslash")
	}
	if hasDomain {
		if len(domain) >= maxWindowsDomain {
			bad = append(bad, fmt.Sprintf("runAsUserName's Domain length must be under %d characters", maxWindowsDomain))
		}
		if !netBIOSDomain.MatchString(domain) && !dnsDomain.MatchString(domain) {
			bad = append(bad, "runAsUserName's Domain doesn't match the NetBios nor the DNS format")
		}
	}
	switch {
	case user == "":
		bad = append(bad, "runAsUserName's User cannot be empty")
	case len(user) > maxWindowsUser:
		bad = append(bad, fmt.Sprintf("runAsUserName's User length must not be longer than %d characters", maxWindowsUser))
	}
	if user != "" && strings.Trim(user, ". ") == "" {
		bad = append(bad, `runAsUserName's User cannot contain only periods or spaces`)
	}
	if strings.ContainsAny(user, badWindowsUser) {
		bad = append(bad, `runAsUserName's User cannot contain the following characters: `+badWindowsUser)
	}
	return bad
}

func hostProcess(w *corev1.WindowsSecurityContextOptions) *bool {
	if w == nil {
		return nil
	}
	return w.HostProcess
}

// validateHostProcess checks Windows containers that run as processes of the
// node: all of a pod or none, and in the node's network.
func validateHostProcess(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	var ofPod *bool
	if s.SecurityContext != nil {
		ofPod = hostProcess(s.SecurityContext.WindowsOptions)
	}
	with, without := 0, 0
	eachContainer(s, path, func(c *corev1.Container, at func() *field.Path) {
		var own *bool
		if c.SecurityContext != nil {
			own = hostProcess(c.SecurityContext.WindowsOptions)
		}
		if own != nil && ofPod != nil && *own != *ofPod {
			errs = append(errs, field.Invalid(at().Child("securityContext", "windowsOptions", "hostProcess"), *own,
				fmt.Sprintf("pod hostProcess value must be identical if both are specified, was %v", *ofPod)))
		}
		if yes(own) || own == nil && yes(ofPod) {
			with++
		} else {
			without++
		}
	})
	if with == 0 {
		return errs
	}
	if without > 0 {
		errs = append(errs, field.Invalid(path, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers"))
	}
	if !s.HostNetwork {
		errs = append(errs, field.Invalid(path.Child("hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers"))
	}
	return errs
}

// eachContainer visits all containers; at gives the path of the one at hand.
func eachContainer(s *corev1.PodSpec, path *field.Path, visit func(c *corev1.Container, at func() *field.Path)) {
	for _, l := range []struct {
		name string
		list []corev1.Container
	}{{"initContainers", s.InitContainers}, {"containers", s.Containers}} {
		for i := range l.list {
			visit(&l.list[i], func() *field.Path { return path.Child(l.name).Index(i) })
		}
	}
	for i := range s.EphemeralContainers {
		visit((*corev1.Container)(&s.EphemeralContainers[i].EphemeralContainerCommon), func() *field.Path {
			return path.Child("ephemeralContainers").Index(i)
		})
	}
}

// validateOS checks the operating system, and that the pod asks for nothing
// which only another one has.
func validateOS(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	if s.OS == nil {
		return nil
	}
	if s.OS.Name == "" {
		return field.ErrorList{field.Required(path.Child("os", "name"), "")}
	}
	errs := check.OneOfSorted(path.Child("os", "name"), s.OS.Name, corev1.Linux, corev1.Windows)
	switch s.OS.Name {
	case corev1.Linux:
		errs = append(errs, forbidWindowsFields(s, path)...)
	case corev1.Windows:
		errs = append(errs, forbidLinuxFields(s, path)...)
	}
	return errs
}

func forbidWindowsFields(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	const message = "windows options cannot be set for a linux pod"
	if s.SecurityContext != nil && s.SecurityContext.WindowsOptions != nil {
		errs = append(errs, field.Forbidden(path.Child("securityContext", "windowsOptions"), message))
	}
	eachContainer(s, path, func(c *corev1.Container, at func() *field.Path) {
		if c.SecurityContext != nil && c.SecurityContext.WindowsOptions != nil {
			errs = append(errs, field.Forbidden(at().Child("securityContext", "windowsOptions"), message))
		}
	})
	return errs
}

func forbidLinuxFields(s *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	forbid := func(set bool, p *field.Path, names ...string) {
		if set {
			errs = append(errs, field.Forbidden(p.Child(names[0], names[1:]...), "cannot be set for a windows pod"))
		}
	}
	sc := s.SecurityContext
	if sc == nil {
		sc = &corev1.PodSecurityContext{}
	}
	forbid(sc.AppArmorProfile != nil, path, "securityContext", "appArmorProfile")
	forbid(sc.SELinuxOptions != nil, path, "securityContext", "seLinuxOptions")
	forbid(s.HostUsers != nil, path, "hostUsers")
	forbid(s.HostPID, path, "hostPID")
	forbid(s.HostIPC, path, "hostIPC")
	forbid(sc.SeccompProfile != nil, path, "securityContext", "seccompProfile")
	forbid(sc.FSGroup != nil, path, "securityContext", "fsGroup")
	forbid(sc.FSGroupChangePolicy != nil, path, "securityContext", "fsGroupChangePolicy")
	forbid(len(sc.Sysctls) > 0, path, "securityContext", "sysctls")
	forbid(s.ShareProcessNamespace != nil, path, "shareProcessNamespace")
	forbid(sc.RunAsUser != nil, path, "securityContext", "runAsUser")
	forbid(sc.RunAsGroup != nil, path, "securityContext", "runAsGroup")
	forbid(sc.SupplementalGroups != nil, path, "securityContext", "supplementalGroups")
	forbid(sc.SupplementalGroupsPolicy != nil, path, "securityContext", "supplementalGroupsPolicy")
	forbid(s.Resources != nil, path, "resources")
	eachContainer(s, path, func(c *corev1.Container, at func() *field.Path) {
		o := c.SecurityContext
		if o == nil {
			return
		}
		p := at().Child("securityContext")
		forbid(o.AppArmorProfile != nil, p, "appArmorProfile")
		forbid(o.SELinuxOptions != nil, p, "seLinuxOptions")
		forbid(o.SeccompProfile != nil, p, "seccompProfile")
		forbid(o.Capabilities != nil, p, "capabilities")
		forbid(o.ReadOnlyRootFilesystem != nil, p, "readOnlyRootFilesystem")
		forbid(o.Privileged != nil, p, "privileged")
		forbid(o.AllowPrivilegeEscalation != nil, p, "allowPrivilegeEscalation")
		forbid(o.ProcMount != nil, p, "procMount")
		forbid(o.RunAsUser != nil, p, "runAsUser")
		forbid(o.RunAsGroup != nil, p, "runAsGroup")
	})
	return errs
}
