package core

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/table"
)

func podColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("Ready", "The aggregate readiness state of this pod for accepting traffic."),
		table.String("Status", "The aggregate status of the containers in this pod."),
		table.String("Restarts", "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
		table.Age(),
		table.Wide(table.Field("IP", corev1.PodStatus{}, "podIP")),
		table.Wide(table.Field("Node", corev1.PodSpec{}, "nodeName")),
		table.Wide(table.Field("Nominated Node", corev1.PodStatus{}, "nominatedNodeName")),
		table.Wide(table.Field("Readiness Gates", corev1.PodSpec{}, "readinessGates")),
	}
}

func podRow(p *corev1.Pod, now metav1.Time) []any {
	s := summarize(p)
	restarts := strconv.Itoa(s.restarts)
	if s.restarts > 0 && !s.lastRestart.IsZero() {
		restarts += " (" + table.Since(s.lastRestart, now) + " ago)"
	}
	ip := ""
	if len(p.Status.PodIPs) > 0 {
		ip = p.Status.PodIPs[0].IP
	}
	return []any{
		p.Name, fmt.Sprintf("%d/%d", s.ready, s.total), s.status, restarts, table.Since(p.CreationTimestamp, now),
		orNone(ip), orNone(p.Spec.NodeName), orNone(p.Status.NominatedNodeName), gatesCell(p),
	}
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

func gatesCell(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return "<none>"
	}
	n := 0
	for _, g := range p.Spec.ReadinessGates {
		if hasTrueCondition(p, g.ConditionType) {
			n++
		}
	}
	return fmt.Sprintf("%d/%d", n, len(p.Spec.ReadinessGates))
}

func hasTrueCondition(p *corev1.Pod, t corev1.PodConditionType) bool {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podRowConditions marks the pods that have finished, which clients may hide.
func podRowConditions(p *corev1.Pod) []metav1.TableRowCondition {
	message := ""
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		message = "The pod has completed successfully."
	case corev1.PodFailed:
		message = "The pod failed."
	default:
		return nil
	}
	return []metav1.TableRowCondition{{
		Type: metav1.RowCompleted, Status: metav1.ConditionTrue, Reason: string(p.Status.Phase), Message: message,
	}}
}

// summary is a pod in a few words, as people read it in tables.
type summary struct {
	pod          *corev1.Pod
	status       string
	ready, total int
	restarts     int
	lastRestart  metav1.Time
}

// nodeLost is the reason in the status of pods on nodes that went silent.
const nodeLost = "NodeLost"

func summarize(p *corev1.Pod) summary {
	s := summary{pod: p, status: string(p.Status.Phase), total: len(p.Spec.Containers)}
	if p.Status.Reason != "" {
		s.status = p.Status.Reason
	}
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			s.status = corev1.PodReasonSchedulingGated
		}
	}
	for i := range p.Spec.InitContainers {
		if IsSidecar(&p.Spec.InitContainers[i]) {
			s.total++
		}
	}
	if initializing := s.initContainers(); !initializing || hasTrueCondition(p, corev1.PodInitialized) {
		s.containers()
	}
	switch {
	case p.DeletionTimestamp == nil:
	case p.Status.Reason == nodeLost:
		s.status = "Unknown"
	case p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded:
		s.status = "Terminating"
	}
	return s
}

// initContainers tells how far initialization has come, and counts restarts
// that are forgotten once it is done. It returns false when it is.
func (s *summary) initContainers() bool {
	statuses := s.pod.Status.InitContainerStatuses
	for i := range statuses {
		c := &statuses[i]
		s.count(c)
		state := &c.State
		switch {
		case state.Terminated != nil && state.Terminated.ExitCode == 0:
			continue
		case s.isSidecar(c.Name) && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case state.Terminated != nil:
			s.status = "Init:" + exitText(state.Terminated)
		case state.Waiting != nil && state.Waiting.Reason != "" && state.Waiting.Reason != "PodInitializing":
			s.status = "Init:" + state.Waiting.Reason
		default:
			s.status = fmt.Sprintf("Init:%d/%d", i, len(s.pod.Spec.InitContainers))
		}
		return true
	}
	return false
}

func (s *summary) isSidecar(name string) bool {
	for i := range s.pod.Spec.InitContainers {
		if c := &s.pod.Spec.InitContainers[i]; c.Name == name {
			return IsSidecar(c)
		}
	}
	return false
}

// containers looks at the containers proper. Restarts count from here on,
// together with those of sidecars.
func (s *summary) containers() {
	s.restarts, s.lastRestart = 0, metav1.Time{}
	inits := s.pod.Status.InitContainerStatuses
	for i := range inits {
		if s.isSidecar(inits[i].Name) {
			s.count(&inits[i])
		}
	}
	running := false
	statuses := s.pod.Status.ContainerStatuses
	for i := len(statuses) - 1; i >= 0; i-- {
		c := &statuses[i]
		s.count(c)
		switch state := &c.State; {
		case state.Waiting != nil && state.Waiting.Reason != "":
			s.status = state.Waiting.Reason
		case state.Terminated != nil:
			s.status = exitText(state.Terminated)
		case c.Ready && state.Running != nil:
			running = true
			s.ready++
		}
	}
	if s.status == "Completed" && running {
		s.status = "NotReady"
		if hasTrueCondition(s.pod, corev1.PodReady) {
			s.status = "Running"
		}
	}
}

func exitText(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

func (s *summary) count(c *corev1.ContainerStatus) {
	s.restarts += int(c.RestartCount)
	if t := c.LastTerminationState.Terminated; t != nil && s.lastRestart.Before(&t.FinishedAt) {
		s.lastRestart = t.FinishedAt
	}
}
