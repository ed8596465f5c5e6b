// Package status says what pods are like: Make turns what the runtime has
// into a pod's status, purely; the Manager is the only writer of statuses to
// the API.
package status

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/core"
	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/runtime"
)

// Waiting is why a container does not run.
type Waiting struct{ Reason, Message string }

// Verdict ends a pod for a reason other than its containers: it did not fit,
// was evicted, or its time was up.
type Verdict struct {
	Phase           corev1.PodPhase
	Reason, Message string
	// Rejected pods never began here.
	Rejected bool
	// Disrupted is the reason of the condition DisruptionTarget, if any.
	Disrupted, DisruptedMessage string
}

// Input of a status.
type Input struct {
	Pod      *corev1.Pod
	Observed *runtime.Pod
	// Runtime is the prefix of container ids, "containerd".
	Runtime string
	HostIPs []string
	// Waiting are reasons by container name.
	Waiting map[string]Waiting
	// Ready and Started hold for running containers, by id.
	Ready, Started map[string]bool
	Verdict        *Verdict
	// Ending: the containers are being, or have been, stopped for good.
	Ending, Ended bool
	Begun         time.Time
	Resizes       []Resize
	// Whole is what the pod as a whole has in force; nil is what it asks for.
	Whole *corev1.ResourceRequirements
	Now   time.Time
}

// Resize is how far a change of resources has come.
type Resize struct {
	Type            corev1.PodConditionType
	Reason, Message string
	// Generation of the pod that asks for it; 0 is the newest.
	Generation int64
}

type maker struct {
	in  Input
	old *corev1.PodStatus
	out *corev1.PodStatus
}

// Make makes the status. Nothing of the input is changed.
func Make(in Input) *corev1.PodStatus {
	m := &maker{in: in, old: &in.Pod.Status, out: &corev1.PodStatus{}}
	m.out.ObservedGeneration = in.Pod.Generation
	m.out.NominatedNodeName = m.old.NominatedNodeName
	m.out.ResourceClaimStatuses = m.old.ResourceClaimStatuses
	m.out.ExtendedResourceClaimStatus = m.old.ExtendedResourceClaimStatus
	m.out.QOSClass = m.old.QOSClass
	if m.out.QOSClass == "" {
		m.out.QOSClass = core.PodQOS(&in.Pod.Spec)
	}
	if v := in.Verdict; v != nil && v.Rejected {
		return m.rejected()
	}
	m.addresses()
	m.containers()
	m.out.Phase = m.phase()
	if (m.out.Phase == corev1.PodSucceeded || m.out.Phase == corev1.PodFailed) && !m.in.Ended && m.in.Observed.AnyRunning() {
		// Others may reuse what a pod held once it is over: not before it is.
		m.out.Phase = m.old.Phase
		if m.out.Phase == "" {
			m.out.Phase = corev1.PodPending
		}
	}
	if in.Verdict == nil && (m.old.Phase == corev1.PodSucceeded || m.old.Phase == corev1.PodFailed) {
		// Why it is over was said by a kubelet before this one.
		m.out.Reason, m.out.Message = m.old.Reason, m.old.Message
	}
	if v := in.Verdict; v != nil {
		m.out.Reason, m.out.Message = v.Reason, v.Message
		if in.Ended {
			m.out.Phase = v.Phase
		}
	}
	if in.Ended && (m.out.Phase == corev1.PodSucceeded || m.out.Phase == corev1.PodFailed) {
		m.abandoned()
	}
	start := metav1.NewTime(in.Begun.Truncate(time.Second))
	m.out.StartTime = &start
	if m.old.StartTime != nil {
		m.out.StartTime = m.old.StartTime
	}
	m.whole()
	m.conditions()
	return m.out
}

// whole is what a pod that asks for resources as a whole was given, and has.
func (m *maker) whole() {
	asks := m.in.Pod.Spec.Resources
	if asks == nil {
		return
	}
	m.out.AllocatedResources = asks.Requests.DeepCopy()
	if len(asks.Requests) == 0 {
		m.out.AllocatedResources = core.ContainerRequests(&m.in.Pod.Spec)
	}
	m.out.Resources = asks.DeepCopy()
	if m.in.Whole != nil {
		m.out.Resources = m.in.Whole.DeepCopy()
	}
}

// rejected is all there is to say about a pod that never began.
func (m *maker) rejected() *corev1.PodStatus {
	v, start := m.in.Verdict, metav1.NewTime(m.in.Begun.Truncate(time.Second))
	m.out.Phase, m.out.Reason, m.out.Message, m.out.StartTime = v.Phase, v.Reason, v.Message, &start
	m.out.Conditions = m.old.Conditions
	return m.out
}

func (m *maker) addresses() {
	if len(m.in.HostIPs) > 0 {
		m.out.HostIP = m.in.HostIPs[0]
		for _, ip := range m.in.HostIPs {
			m.out.HostIPs = append(m.out.HostIPs, corev1.HostIP{IP: ip})
		}
	}
	ips := m.in.Observed.IPs()
	switch {
	case m.in.Pod.Spec.HostNetwork:
		ips = m.in.HostIPs
	case len(ips) == 0 && !m.in.Ended:
		for _, ip := range m.old.PodIPs {
			ips = append(ips, ip.IP) // the sandbox is being replaced
		}
	case len(ips) == 0:
		if s := m.in.Observed.Sandbox(); s != nil {
			ips = s.IPs
		}
		if len(ips) == 0 {
			for _, ip := range m.old.PodIPs {
				ips = append(ips, ip.IP)
			}
		}
	}
	if len(ips) > 0 {
		m.out.PodIP = ips[0]
		for _, ip := range ips {
			m.out.PodIPs = append(m.out.PodIPs, corev1.PodIP{IP: ip})
		}
	}
}

func (m *maker) containers() {
	spec := &m.in.Pod.Spec
	done := m.initialized()
	for i := range spec.InitContainers {
		kind := plan.Init
		if plan.IsSidecar(&spec.InitContainers[i]) {
			kind = plan.Sidecar
		}
		m.out.InitContainerStatuses = append(m.out.InitContainerStatuses, m.container(&spec.InitContainers[i], kind, m.old.InitContainerStatuses, len(spec.InitContainers) > 0))
	}
	for i := range spec.Containers {
		m.out.ContainerStatuses = append(m.out.ContainerStatuses, m.container(&spec.Containers[i], plan.Regular, m.old.ContainerStatuses, len(spec.InitContainers) > 0 && !done))
	}
	for i := range spec.EphemeralContainers {
		c := corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon)
		m.out.EphemeralContainerStatuses = append(m.out.EphemeralContainerStatuses, m.container(&c, plan.Ephemeral, m.old.EphemeralContainerStatuses, false))
	}
}

func (m *maker) initialized() bool {
	return slices.ContainsFunc(m.in.Pod.Spec.Containers, func(c corev1.Container) bool { return m.in.Observed.Container(c.Name) != nil })
}

// phase sums up the containers, by Kubernetes' rules.
func (m *maker) phase() corev1.PodPhase {
	spec := &m.in.Pod.Spec
	if m.old.Phase == corev1.PodSucceeded || m.old.Phase == corev1.PodFailed {
		return m.old.Phase // it has ended: nothing runs again
	}
	failed, pending := m.initCounts()
	if failed {
		return corev1.PodFailed
	}
	var running, stopped, succeeded, waiting, again int
	for i := range m.out.ContainerStatuses {
		s := &m.out.ContainerStatuses[i]
		t := s.State.Terminated
		switch {
		case s.State.Running != nil:
			running++
			continue
		case t == nil && s.LastTerminationState.Terminated == nil:
			waiting++
			continue
		case t == nil:
			t = s.LastTerminationState.Terminated
		}
		stopped++
		if t.ExitCode == 0 {
			succeeded++
		}
		if plan.Restarts(m.in.Pod, &spec.Containers[i], t.ExitCode) {
			again++
		}
	}
	switch {
	case m.in.Ended && waiting+running+stopped > 0:
		if stopped == succeeded && waiting == 0 && running == 0 {
			return corev1.PodSucceeded
		}
		return corev1.PodFailed
	case pending || waiting > 0:
		return corev1.PodPending
	case running > 0 || again > 0:
		return corev1.PodRunning
	case stopped == succeeded:
		return corev1.PodSucceeded
	}
	return corev1.PodFailed
}

// initCounts reports whether an init container failed for good, and whether
// one is still to be waited for.
func (m *maker) initCounts() (failed, pending bool) {
	for i := range m.out.InitContainerStatuses {
		c, s := &m.in.Pod.Spec.InitContainers[i], &m.out.InitContainerStatuses[i]
		if plan.IsSidecar(c) {
			if s.Started == nil || !*s.Started {
				pending = pending || !m.initialized()
			}
			continue
		}
		switch t := s.State.Terminated; {
		case t != nil && t.ExitCode == 0:
		case t != nil && !plan.Restarts(m.in.Pod, c, t.ExitCode):
			return true, false
		default:
			pending = pending || !m.initialized()
		}
	}
	return false, pending
}

// abandoned gives the containers of a pod that is over a final state: those
// whose turn never came keep waiting, of others that have none nobody knows how
// they ended.
func (m *maker) abandoned() {
	inits, regular := m.turns()
	for i, list := range [][]corev1.ContainerStatus{m.out.InitContainerStatuses, m.out.ContainerStatuses, m.out.EphemeralContainerStatuses} {
		for j := range list {
			s := &list[j]
			s.Ready = false
			if s.State.Terminated != nil {
				s.Ready = isInit(m.in.Pod, s.Name) && s.State.Terminated.ExitCode == 0
			}
			no := false
			s.Started = &no
			if s.State.Running != nil {
				s.LastTerminationState = unknown("The container could not be located when the pod was deleted.  The container used to be Running")
			}
			if s.State.Running != nil || s.State.Terminated == nil && (i == 0 && j < inits || i == 1 && regular) {
				s.State = unknown("The container could not be located when the pod was terminated")
			}
		}
	}
}

func unknown(message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "ContainerStatusUnknown", Message: message, ExitCode: 137}}
}

// turns are how many of the init containers had their turn, and whether the
// regular ones had.
func (m *maker) turns() (inits int, regular bool) {
	began := func(s *corev1.ContainerStatus) bool {
		return s.State.Waiting == nil || s.LastTerminationState.Terminated != nil
	}
	list := m.out.InitContainerStatuses
	for i := range list {
		if began(&list[i]) {
			inits = i + 1
		}
	}
	for i := range m.out.ContainerStatuses {
		regular = regular || began(&m.out.ContainerStatuses[i])
	}
	if regular || len(list) == 0 {
		return inits, true
	}
	last := &list[len(list)-1]
	if c := &m.in.Pod.Spec.InitContainers[len(list)-1]; plan.IsSidecar(c) {
		old := find(m.old.InitContainerStatuses, c.Name)
		// It has ended, so that it had started is no longer to be seen; without a
		// probe it had as soon as it ran.
		return inits, began(last) && c.StartupProbe == nil || hasStarted(last) || old != nil && hasStarted(old)
	}
	return inits, last.State.Terminated != nil && last.State.Terminated.ExitCode == 0
}

func hasStarted(s *corev1.ContainerStatus) bool { return s.Started != nil && *s.Started }

func isInit(pod *corev1.Pod, name string) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == name && !plan.IsSidecar(&c) })
}
