package runtime

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// SandboxInput is what a sandbox's configuration is made of.
type SandboxInput struct {
	Pod          *corev1.Pod
	Attempt      uint32
	CgroupParent string
	LogDirectory string
	DNS          *runtimeapi.DNSConfig
	Domain       string // of the cluster
	// Sysctls of all pods of the node; the pod's own win.
	Sysctls map[string]string
	// UserNamespace is nil for pods that use the host's users.
	UserNamespace       *runtimeapi.UserNamespace
	Resources, Overhead *runtimeapi.LinuxContainerResources
	Seccomp             SeccompOptions
}

// SandboxConfig is the runtime's description of a pod's shell.
func SandboxConfig(in SandboxInput) (*runtimeapi.PodSandboxConfig, error) {
	pod := in.Pod
	hostname, _, err := Hostname(pod, in.Domain)
	if err != nil {
		return nil, err
	}
	if pod.Spec.HostNetwork {
		hostname = ""
	}
	security, err := sandboxSecurity(in)
	if err != nil {
		return nil, err
	}
	sysctls := maps.Clone(in.Sysctls)
	if sc := pod.Spec.SecurityContext; sc != nil {
		for _, s := range sc.Sysctls {
			if sysctls == nil {
				sysctls = map[string]string{}
			}
			sysctls[strings.ReplaceAll(s.Name, "/", ".")] = s.Value
		}
	}
	return &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: in.Attempt},
		Hostname: hostname, LogDirectory: in.LogDirectory, DnsConfig: in.DNS, PortMappings: portMappings(pod),
		Labels: podLabels(pod), Annotations: pod.Annotations,
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: in.CgroupParent, SecurityContext: security, Sysctls: sysctls, Resources: in.Resources, Overhead: in.Overhead,
		},
	}, nil
}

func sandboxSecurity(in SandboxInput) (*runtimeapi.LinuxSandboxSecurityContext, error) {
	pod := in.Pod
	out := &runtimeapi.LinuxSandboxSecurityContext{
		NamespaceOptions: namespaces(pod, in.UserNamespace), Privileged: privilegedPod(pod),
		Seccomp: &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_RuntimeDefault},
	}
	sc := pod.Spec.SecurityContext
	if sc == nil {
		return out, nil
	}
	if sc.SeccompProfile != nil {
		var err error
		if out.Seccomp, err = seccomp(sc.SeccompProfile, in.Seccomp); err != nil {
			return nil, err
		}
	}
	out.RunAsUser, out.RunAsGroup = int64Value(sc.RunAsUser), int64Value(sc.RunAsGroup)
	out.SelinuxOptions = selinux(sc.SELinuxOptions)
	out.SupplementalGroups, out.SupplementalGroupsPolicy = groups(sc)
	return out, nil
}

func privilegedPod(pod *corev1.Pod) bool {
	privileged := false
	eachContainer(pod, func(c *corev1.Container) {
		privileged = privileged || c.SecurityContext != nil && c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged
	})
	return privileged
}

func eachContainer(pod *corev1.Pod, f func(*corev1.Container)) {
	for i := range pod.Spec.InitContainers {
		f(&pod.Spec.InitContainers[i])
	}
	for i := range pod.Spec.Containers {
		f(&pod.Spec.Containers[i])
	}
}

func namespaces(pod *corev1.Pod, user *runtimeapi.UserNamespace) *runtimeapi.NamespaceOption {
	o := &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_POD, Ipc: runtimeapi.NamespaceMode_POD, Pid: runtimeapi.NamespaceMode_CONTAINER, UsernsOptions: user}
	if pod.Spec.HostNetwork {
		o.Network = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.HostIPC {
		o.Ipc = runtimeapi.NamespaceMode_NODE
	}
	switch {
	case pod.Spec.HostPID:
		o.Pid = runtimeapi.NamespaceMode_NODE
	case pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace:
		o.Pid = runtimeapi.NamespaceMode_POD
	}
	return o
}

var protocols = map[corev1.Protocol]runtimeapi.Protocol{
	corev1.ProtocolTCP: runtimeapi.Protocol_TCP, corev1.ProtocolUDP: runtimeapi.Protocol_UDP, corev1.ProtocolSCTP: runtimeapi.Protocol_SCTP,
}

func portMappings(pod *corev1.Pod) []*runtimeapi.PortMapping {
	if pod.Spec.HostNetwork {
		return nil
	}
	var out []*runtimeapi.PortMapping
	eachContainer(pod, func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.HostPort > 0 {
				out = append(out, &runtimeapi.PortMapping{
					Protocol: protocols[p.Protocol], ContainerPort: p.ContainerPort, HostPort: p.HostPort, HostIp: p.HostIP,
				})
			}
		}
	})
	return out
}

// maxHostname is the kernel's limit, in bytes; maxLabel is that of a DNS label.
const (
	maxHostname = 64
	maxLabel    = 63
)

// Hostname is what the pod's host calls itself, and the domain it is in.
func Hostname(pod *corev1.Pod, clusterDomain string) (host, domain string, err error) {
	if o := pod.Spec.HostnameOverride; o != nil {
		if len(*o) > maxHostname {
			return "", "", fmt.Errorf("spec.hostnameOverride: %q is longer than %d characters", *o, maxHostname)
		}
		return *o, "", nil
	}
	host = pod.Spec.Hostname
	if host == "" {
		host = pod.Name
		if len(host) > maxLabel {
			host = strings.TrimRight(host[:maxLabel], "-.")
		}
	}
	if pod.Spec.Subdomain != "" {
		domain = fmt.Sprintf("%s.%s.svc.%s", pod.Spec.Subdomain, pod.Namespace, clusterDomain)
	}
	if domain != "" && pod.Spec.SetHostnameAsFQDN != nil && *pod.Spec.SetHostnameAsFQDN {
		full := host + "." + domain
		if len(full) > maxHostname {
			return "", "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (%d characters is the max, %d characters requested)", full, maxHostname, len(full))
		}
		return full, domain, nil
	}
	return host, domain, nil
}
