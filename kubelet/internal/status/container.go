package status

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/runtime"
)

func find(list []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

// container is one container's status; initializing: it waits for others.
func (m *maker) container(c *corev1.Container, kind plan.Kind, before []corev1.ContainerStatus, initializing bool) corev1.ContainerStatus {
	old, run := find(before, c.Name), m.in.Observed.Container(c.Name)
	if old != nil && run == nil && old.State.Terminated != nil && (m.in.Ended || kind == plan.Init && old.State.Terminated.ExitCode == 0 && m.initialized()) {
		return *old.DeepCopy() // done and cleaned up
	}
	out := corev1.ContainerStatus{Name: c.Name, Image: c.Image}
	if run != nil {
		m.observed(&out, c, run)
		if out.LastTerminationState.Terminated == nil {
			out.LastTerminationState.Terminated = m.earlier(old, run)
		}
	} else if old != nil {
		out.RestartCount, out.LastTerminationState, out.ImageID, out.ContainerID = old.RestartCount, old.LastTerminationState, old.ImageID, old.ContainerID
		if m.in.Ended && (old.State.Running != nil || old.State.Terminated != nil) {
			out.State = old.State
		}
	}
	if out.State == (corev1.ContainerState{}) {
		out.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
		if initializing && run == nil {
			out.State.Waiting.Reason = "PodInitializing"
		}
	}
	if w, ok := m.in.Waiting[c.Name]; ok && out.State.Running == nil && !m.in.Ended {
		if out.State.Terminated != nil {
			out.LastTerminationState = corev1.ContainerState{Terminated: out.State.Terminated}
		}
		out.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: w.Reason, Message: w.Message}}
	}
	m.readiness(&out, run, kind)
	return out
}

func (m *maker) readiness(out *corev1.ContainerStatus, run *runtime.Container, kind plan.Kind) {
	started := run != nil && out.State.Running != nil && m.in.Started[run.ID]
	if kind != plan.Ephemeral {
		out.Started = &started
	}
	switch t := out.State.Terminated; {
	case kind == plan.Init:
		out.Ready = t != nil && t.ExitCode == 0
	case kind == plan.Ephemeral:
	case started:
		out.Ready = m.in.Ready[run.ID]
	}
}

// observed fills in what the runtime says about the newest run.
func (m *maker) observed(out *corev1.ContainerStatus, c *corev1.Container, run *runtime.Container) {
	out.RestartCount, out.ContainerID, out.ImageID = run.RestartCount, m.id(run.ID), run.ImageRef
	if run.Image != "" && run.ImageRef != "" {
		out.Image = run.Image
	}
	switch run.State {
	case runtime.Running:
		out.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(run.Started)}
		out.Resources = resources(c, run)
		out.AllocatedResources = c.Resources.Requests.DeepCopy()
		if len(c.Resources.Requests) == 0 {
			out.AllocatedResources = nil
		}
	case runtime.Exited:
		out.State.Terminated = m.terminated(run)
	}
	if u := run.User; u != nil {
		out.User = &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{UID: u.Uid, GID: u.Gid, SupplementalGroups: slices.Clone(u.SupplementalGroups)}}
	}
	out.VolumeMounts = volumeMounts(c)
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil { // who asks for none is not told of it
		out.StopSignal = run.StopSignal
	}
	for _, earlier := range m.in.Observed.Containers {
		if earlier.Name == run.Name && earlier.ID != run.ID && earlier.State == runtime.Exited {
			out.LastTerminationState.Terminated = m.terminated(earlier)
			break
		}
	}
}

// earlier is how the run before ended, of which the runtime knows nothing any
// more; nil if there was none.
func (m *maker) earlier(old *corev1.ContainerStatus, run *runtime.Container) *corev1.ContainerStateTerminated {
	if old == nil {
		return nil
	}
	for _, state := range []corev1.ContainerState{old.State, old.LastTerminationState} {
		if t := state.Terminated; t != nil && t.ContainerID != "" && t.ContainerID != m.id(run.ID) {
			return t.DeepCopy()
		}
	}
	return nil
}

func (m *maker) id(id string) string { return m.in.Runtime + "://" + id }

func (m *maker) terminated(run *runtime.Container) *corev1.ContainerStateTerminated {
	t := &corev1.ContainerStateTerminated{
		ExitCode: run.ExitCode, Reason: run.Reason, Message: run.Message,
		StartedAt: metav1.NewTime(run.Started), FinishedAt: metav1.NewTime(run.Finished), ContainerID: m.id(run.ID),
	}
	if t.Reason == "" {
		t.Reason = "Completed"
		if run.ExitCode != 0 {
			t.Reason = "Error"
		}
	}
	return t
}

func volumeMounts(c *corev1.Container) []corev1.VolumeMountStatus {
	var out []corev1.VolumeMountStatus
	for _, v := range c.VolumeMounts {
		s := corev1.VolumeMountStatus{Name: v.Name, MountPath: v.MountPath, ReadOnly: v.ReadOnly}
		if v.ReadOnly {
			mode := corev1.RecursiveReadOnlyDisabled
			if v.RecursiveReadOnly != nil && *v.RecursiveReadOnly != corev1.RecursiveReadOnlyDisabled {
				mode = corev1.RecursiveReadOnlyEnabled
			}
			s.RecursiveReadOnly = &mode
		}
		out = append(out, s)
	}
	return out
}

// Values of cgroups.
const (
	sharesPerCPU = 1024
	minShares    = 2
	milliPerCPU  = 1000
	// smallestQuota in thousandths of a CPU: smaller limits are raised to it.
	smallestQuota = 10
)

// resources are those in force: the pod's own words where they are what the
// runtime applies, else the runtime's figures.
func resources(c *corev1.Container, run *runtime.Container) *corev1.ResourceRequirements {
	out := c.Resources.DeepCopy()
	r := run.Resources
	if r == nil {
		return out
	}
	if q, ok := out.Limits[corev1.ResourceMemory]; ok && r.MemoryLimitInBytes > 0 && q.Value() != r.MemoryLimitInBytes {
		out.Limits[corev1.ResourceMemory] = *resource.NewQuantity(r.MemoryLimitInBytes, resource.BinarySI)
	}
	if q, ok := out.Limits[corev1.ResourceCPU]; ok && r.CpuPeriod > 0 && r.CpuQuota > 0 {
		if actual := r.CpuQuota * milliPerCPU / r.CpuPeriod; max(q.MilliValue(), smallestQuota) != actual {
			out.Limits[corev1.ResourceCPU] = *resource.NewMilliQuantity(actual, resource.DecimalSI)
		}
	}
	if q, ok := out.Requests[corev1.ResourceCPU]; ok && r.CpuShares > 0 {
		if max(q.MilliValue()*sharesPerCPU/milliPerCPU, minShares) != r.CpuShares {
			milli := (r.CpuShares*milliPerCPU + sharesPerCPU - 1) / sharesPerCPU
			out.Requests[corev1.ResourceCPU] = resource.MustParse(strconv.FormatInt(milli, 10) + "m")
		}
	}
	return out
}
