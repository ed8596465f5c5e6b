package core

import (
	corev1 "k8s.io/api/core/v1"
)

// DefaultPod fills what the API promises for a pod that says nothing. It also
// brings the aliases of a pod (serviceAccount, podIP, hostIP) into one state.
func DefaultPod(p *corev1.Pod) {
	dropInitContainerAnnotations(p.Annotations)
	DefaultPodSpec(&p.Spec)
	s := &p.Spec
	if s.EnableServiceLinks == nil {
		s.EnableServiceLinks = new(corev1.DefaultEnableServiceLinks)
	}
	if s.HostNetwork {
		defaultHostPorts(s.Containers)
		defaultHostPorts(s.InitContainers)
	}
	for i := range s.Containers {
		defaultRequests(&s.Containers[i].Resources)
	}
	for i := range s.InitContainers {
		defaultRequests(&s.InitContainers[i].Resources)
	}
	defaultPodResources(s)
	defaultPodStatus(&p.Status)
}

// DefaultPodTemplate is DefaultPodSpec for the pods of a workload. A template
// keeps fewer defaults than a pod: requests, host ports and service links are
// filled when the pod itself is created.
func DefaultPodTemplate(t *corev1.PodTemplateSpec) {
	dropInitContainerAnnotations(t.Annotations)
	DefaultPodSpec(&t.Spec)
}

// DefaultPodSpec fills the defaults that pods and pod templates share.
func DefaultPodSpec(s *corev1.PodSpec) {
	if s.DNSPolicy == "" {
		s.DNSPolicy = corev1.DNSClusterFirst
	}
	if s.RestartPolicy == "" {
		s.RestartPolicy = corev1.RestartPolicyAlways
	}
	if s.SecurityContext == nil {
		s.SecurityContext = &corev1.PodSecurityContext{}
	}
	if s.TerminationGracePeriodSeconds == nil {
		s.TerminationGracePeriodSeconds = new(int64(corev1.DefaultTerminationGracePeriodSeconds))
	}
	if s.SchedulerName == "" {
		s.SchedulerName = corev1.DefaultSchedulerName
	}
	if s.ServiceAccountName == "" {
		s.ServiceAccountName = s.DeprecatedServiceAccount
	}
	s.DeprecatedServiceAccount = s.ServiceAccountName

	for i := range s.Volumes {
		defaultVolume(&s.Volumes[i])
	}
	for i := range s.InitContainers {
		defaultContainer(&s.InitContainers[i])
	}
	for i := range s.Containers {
		defaultContainer(&s.Containers[i])
	}
	for i := range s.EphemeralContainers {
		c := corev1.Container(s.EphemeralContainers[i].EphemeralContainerCommon)
		defaultContainer(&c)
		s.EphemeralContainers[i].EphemeralContainerCommon = corev1.EphemeralContainerCommon(c)
	}
	RoundResources(s.Overhead)
	if s.Resources != nil {
		RoundResources(s.Resources.Limits)
		RoundResources(s.Resources.Requests)
	}
}

func defaultContainer(c *corev1.Container) {
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = defaultPullPolicy(c.Image)
	}
	if c.TerminationMessagePath == "" {
		c.TerminationMessagePath = corev1.TerminationMessagePathDefault
	}
	if c.TerminationMessagePolicy == "" {
		c.TerminationMessagePolicy = corev1.TerminationMessageReadFile
	}
	for i := range c.Ports {
		if c.Ports[i].Protocol == "" {
			c.Ports[i].Protocol = corev1.ProtocolTCP
		}
	}
	for i := range c.Env {
		from := c.Env[i].ValueFrom
		if from == nil {
			continue
		}
		defaultFieldRef(from.FieldRef)
		if from.FileKeyRef != nil && from.FileKeyRef.Optional == nil {
			from.FileKeyRef.Optional = new(false)
		}
	}
	RoundResources(c.Resources.Limits)
	RoundResources(c.Resources.Requests)
	defaultProbe(c.LivenessProbe)
	defaultProbe(c.ReadinessProbe)
	defaultProbe(c.StartupProbe)
	if c.Lifecycle != nil {
		if c.Lifecycle.PostStart != nil {
			defaultHTTPGet(c.Lifecycle.PostStart.HTTPGet)
		}
		if c.Lifecycle.PreStop != nil {
			defaultHTTPGet(c.Lifecycle.PreStop.HTTPGet)
		}
	}
}

// defaultPullPolicy pulls always when the tag is "latest" or left out; an
// image that does not parse, or is given by digest alone, is pulled once.
func defaultPullPolicy(image string) corev1.PullPolicy {
	if imageTag(image) == "latest" {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func defaultFieldRef(f *corev1.ObjectFieldSelector) {
	if f != nil && f.APIVersion == "" {
		f.APIVersion = "v1"
	}
}

func defaultProbe(p *corev1.Probe) {
	if p == nil {
		return
	}
	if p.TimeoutSeconds == 0 {
		p.TimeoutSeconds = 1
	}
	if p.PeriodSeconds == 0 {
		p.PeriodSeconds = 10
	}
	if p.SuccessThreshold == 0 {
		p.SuccessThreshold = 1
	}
	if p.FailureThreshold == 0 {
		p.FailureThreshold = 3
	}
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil && p.GRPC.Service == nil {
		p.GRPC.Service = new("")
	}
}

func defaultHTTPGet(h *corev1.HTTPGetAction) {
	if h == nil {
		return
	}
	if h.Path == "" {
		h.Path = "/"
	}
	if h.Scheme == "" {
		h.Scheme = corev1.URISchemeHTTP
	}
}

func defaultHostPorts(containers []corev1.Container) {
	for i := range containers {
		for j := range containers[i].Ports {
			if p := &containers[i].Ports[j]; p.HostPort == 0 {
				p.HostPort = p.ContainerPort
			}
		}
	}
}

// defaultRequests asks for as much as the limit of a resource without request.
func defaultRequests(r *corev1.ResourceRequirements) {
	for name, limit := range r.Limits {
		if _, ok := r.Requests[name]; ok {
			continue
		}
		if r.Requests == nil {
			r.Requests = make(corev1.ResourceList, len(r.Limits))
		}
		r.Requests[name] = limit.DeepCopy()
	}
}

// RoundResources rounds quantities up to what every component can represent:
// thousandths.
func RoundResources(l corev1.ResourceList) {
	for name, q := range l {
		if q.RoundUp(-3) {
			continue
		}
		l[name] = q
	}
}

// defaultPodStatus keeps the old single addresses and the lists in step: the
// single one wins when they differ, because old writers know only that one.
func defaultPodStatus(s *corev1.PodStatus) {
	if s.PodIP != "" && (len(s.PodIPs) == 0 || s.PodIPs[0].IP != s.PodIP) {
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	} else if s.PodIP == "" && len(s.PodIPs) > 0 {
		s.PodIP = s.PodIPs[0].IP
	}
	for i := range s.InitContainerStatuses {
		roundContainerStatus(&s.InitContainerStatuses[i])
	}
	for i := range s.ContainerStatuses {
		roundContainerStatus(&s.ContainerStatuses[i])
	}
	for i := range s.EphemeralContainerStatuses {
		roundContainerStatus(&s.EphemeralContainerStatuses[i])
	}
	RoundResources(s.AllocatedResources)
	if s.Resources != nil {
		RoundResources(s.Resources.Limits)
		RoundResources(s.Resources.Requests)
	}
}

func roundContainerStatus(s *corev1.ContainerStatus) {
	RoundResources(s.AllocatedResources)
	if s.Resources != nil {
		RoundResources(s.Resources.Limits)
		RoundResources(s.Resources.Requests)
	}
}

// dropInitContainerAnnotations removes the annotations that carried init
// containers before they had a field; obeying neither would be ambiguous.
func dropInitContainerAnnotations(annotations map[string]string) {
	if len(annotations) == 0 {
		return
	}
	delete(annotations, "pod.beta.kubernetes.io/init-containers")
	delete(annotations, "pod.alpha.kubernetes.io/init-containers")
	delete(annotations, "pod.beta.kubernetes.io/init-container-statuses")
	delete(annotations, "pod.alpha.kubernetes.io/init-container-statuses")
}
