package admission

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/worker"
)

// matches compares the pod's node selector and affinity with the node's
// labels, and its tolerations with taints that nothing may run beside.
func matches(in Input) *worker.Refusal {
	const message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
	for k, v := range in.Pod.Spec.NodeSelector {
		if have, ok := in.Node.Labels[k]; !ok || have != v {
			return &worker.Refusal{Reason: "NodeAffinity", Message: message}
		}
	}
	if a := in.Pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		if !slices.ContainsFunc(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms, func(t corev1.NodeSelectorTerm) bool { return term(&t, in.Node) }) {
			return &worker.Refusal{Reason: "NodeAffinity", Message: message}
		}
	}
	if runtime.IsStatic(in.Pod) {
		return nil
	}
	for _, t := range in.Node.Spec.Taints {
		if t.Effect == corev1.TaintEffectNoExecute && !tolerated(in.Pod, &t) {
			return &worker.Refusal{Reason: "TaintToleration", Message: "Predicate TaintToleration failed: node(s) had untolerated taint(s)"}
		}
	}
	return nil
}

func tolerated(pod *corev1.Pod, t *corev1.Taint) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(o corev1.Toleration) bool {
		if o.Effect != "" && o.Effect != t.Effect || o.Key != "" && o.Key != t.Key {
			return false
		}
		return o.Operator == corev1.TolerationOpExists || (o.Operator == "" || o.Operator == corev1.TolerationOpEqual) && o.Value == t.Value && o.Key != ""
	})
}

func term(t *corev1.NodeSelectorTerm, n *corev1.Node) bool {
	if len(t.MatchExpressions)+len(t.MatchFields) == 0 {
		return false
	}
	for _, e := range t.MatchExpressions {
		v, ok := n.Labels[e.Key]
		if !requirement(&e, v, ok) {
			return false
		}
	}
	for _, e := range t.MatchFields {
		if e.Key != "metadata.name" || !requirement(&e, n.Name, true) {
			return false
		}
	}
	return true
}

func requirement(e *corev1.NodeSelectorRequirement, v string, ok bool) bool {
	switch e.Operator {
	case corev1.NodeSelectorOpIn:
		return ok && slices.Contains(e.Values, v)
	case corev1.NodeSelectorOpNotIn:
		return !ok || !slices.Contains(e.Values, v)
	case corev1.NodeSelectorOpExists:
		return ok
	case corev1.NodeSelectorOpDoesNotExist:
		return !ok
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		have, err := strconv.ParseInt(v, 10, 64)
		if !ok || err != nil || len(e.Values) != 1 {
			return false
		}
		limit, err := strconv.ParseInt(e.Values[0], 10, 64)
		if err != nil {
			return false
		}
		return e.Operator == corev1.NodeSelectorOpGt && have > limit || e.Operator == corev1.NodeSelectorOpLt && have < limit
	}
	return false
}

// safeSysctls belong to the pod alone.
var safeSysctls = []string{
	"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
	"net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}

func sysctls(in Input) *worker.Refusal {
	sc := in.Pod.Spec.SecurityContext
	if sc == nil {
		return nil
	}
	for _, s := range sc.Sysctls {
		name := strings.ReplaceAll(s.Name, "/", ".")
		if slices.Contains(safeSysctls, name) || slices.ContainsFunc(in.UnsafeSysctls, func(p string) bool { return allows(p, name) }) {
			if in.Pod.Spec.HostNetwork && strings.HasPrefix(name, "net.") || in.Pod.Spec.HostIPC && (strings.HasPrefix(name, "kernel.") || strings.HasPrefix(name, "fs.mqueue.")) {
				return &worker.Refusal{Reason: "SysctlForbidden", Message: "forbidden sysctl: " + strconv.Quote(name) + " not allowed with host namespaces enabled"}
			}
			continue
		}
		return &worker.Refusal{Reason: "SysctlForbidden", Message: "forbidden sysctl: " + strconv.Quote(name) + " not allowlisted"}
	}
	return nil
}

func allows(pattern, name string) bool {
	pattern = strings.ReplaceAll(pattern, "/", ".")
	if prefix, many := strings.CutSuffix(pattern, "*"); many {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}
