package status

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/kubelet/internal/plan"
)

// owned are the conditions that only the kubelet writes.
var owned = []corev1.PodConditionType{
	corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled,
	corev1.PodResizePending, corev1.PodResizeInProgress,
}

func conditionOf(s *corev1.PodStatus, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

func (m *maker) conditions() {
	for _, c := range m.old.Conditions {
		if !slices.Contains(owned, c.Type) {
			m.out.Conditions = append(m.out.Conditions, c)
		}
	}
	sandbox := m.in.Observed.Sandbox()
	m.set(corev1.PodReadyToStartContainers, sandbox != nil && sandbox.Ready && (sandbox.HostNetwork || len(sandbox.IPs) > 0), "", "")
	initialized, why, message := m.initializedCondition()
	m.set(corev1.PodInitialized, initialized, why, message)
	ready, why, message := m.containersReady()
	open, gateWhy, gateMessage := m.gates()
	if ready && !open {
		m.set(corev1.PodReady, false, gateWhy, gateMessage)
	} else {
		m.set(corev1.PodReady, ready, why, message)
	}
	m.set(corev1.ContainersReady, ready, why, message)
	if c := conditionOf(m.old, corev1.PodScheduled); c != nil {
		kept := *c
		if kept.Status != corev1.ConditionTrue { // it runs here, so it was
			kept.Status, kept.Reason, kept.Message, kept.LastTransitionTime = corev1.ConditionTrue, "", "", metav1.NewTime(m.in.Now)
		}
		kept.ObservedGeneration = m.in.Pod.Generation
		m.out.Conditions = append(m.out.Conditions, kept)
	} else {
		m.set(corev1.PodScheduled, true, "", "")
	}
	for _, r := range m.in.Resizes {
		m.set(r.Type, true, r.Reason, r.Message)
		if r.Generation != 0 {
			m.out.Conditions[len(m.out.Conditions)-1].ObservedGeneration = r.Generation
		}
	}
	if v := m.in.Verdict; v != nil && v.Disrupted != "" {
		m.out.Conditions = slices.DeleteFunc(m.out.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.DisruptionTarget })
		m.set(corev1.DisruptionTarget, true, v.Disrupted, v.DisruptedMessage)
	}
}

func (m *maker) set(t corev1.PodConditionType, holds bool, reason, message string) {
	c := corev1.PodCondition{Type: t, Status: corev1.ConditionFalse, Reason: reason, Message: message, ObservedGeneration: m.in.Pod.Generation}
	if holds {
		c.Status = corev1.ConditionTrue
	}
	c.LastTransitionTime = metav1.NewTime(m.in.Now)
	if old := conditionOf(m.old, t); old != nil {
		c.LastProbeTime = old.LastProbeTime
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	m.out.Conditions = append(m.out.Conditions, c)
}

func (m *maker) initializedCondition() (bool, string, string) {
	if m.out.Phase == corev1.PodSucceeded {
		return true, "PodCompleted", ""
	}
	var open []string
	started := m.initialized()
	for i := range m.out.InitContainerStatuses {
		s := &m.out.InitContainerStatuses[i]
		c := &m.in.Pod.Spec.InitContainers[i]
		done := s.Ready
		if plan.IsSidecar(c) {
			done = s.Started != nil && *s.Started
		}
		if !done && !started {
			open = append(open, s.Name)
		}
	}
	if len(open) > 0 {
		return false, "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: [%s]", strings.Join(open, " "))
	}
	return true, "", ""
}

func (m *maker) containersReady() (bool, string, string) {
	switch m.out.Phase {
	case corev1.PodSucceeded:
		return false, "PodCompleted", ""
	case corev1.PodFailed:
		return false, "PodFailed", ""
	}
	var unready []string
	for i := range m.out.InitContainerStatuses {
		if s := &m.out.InitContainerStatuses[i]; plan.IsSidecar(&m.in.Pod.Spec.InitContainers[i]) && !s.Ready {
			unready = append(unready, s.Name)
		}
	}
	for i := range m.out.ContainerStatuses {
		if s := &m.out.ContainerStatuses[i]; !s.Ready {
			unready = append(unready, s.Name)
		}
	}
	if len(unready) > 0 {
		return false, "ContainersNotReady", fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	}
	return true, "", ""
}

// gates reports whether all readiness gates of the pod are open.
func (m *maker) gates() (bool, string, string) {
	var closed []string
	for _, g := range m.in.Pod.Spec.ReadinessGates {
		switch c := conditionOf(m.old, g.ConditionType); {
		case c == nil:
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", g.ConditionType))
		case c.Status != corev1.ConditionTrue:
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", g.ConditionType, c.Status))
		}
	}
	return len(closed) == 0, "ReadinessGatesNotReady", strings.Join(closed, ", ")
}
