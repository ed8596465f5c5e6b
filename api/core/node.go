package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
	"xebec.dev/api/table"
)

func nodeResource() scheme.Resource {
	return scheme.Resource{
		Group: "", Version: "v1", Kind: "Node",
		Plural: "nodes", Singular: "node",
		ShortNames:    []string{"no"},
		New:           func() runtime.Object { return new(corev1.Node) },
		NewList:       func() runtime.Object { return new(corev1.NodeList) },
		StoragePrefix: "minions",
		Fields:        []scheme.SelectableField{{Label: "spec.unschedulable", IfEmpty: "false"}},
		Columns:       nodeColumns(),
		Row:           scheme.Rows(nodeRow),
		Strategy: scheme.Hooks[corev1.Node]{
			Default: DefaultNode,
			// A kubelet registers with its status: it is kept on create.
			PrepareCreate: func(_ scheme.Context, n *corev1.Node) {
				n.Spec.ConfigSource, n.Status.Config, n.Spec.PodPreemptionPolicy = nil, nil, nil
			},
			ValidateCreate: ValidateNode,
			WarnCreate:     func(n *corev1.Node) []string { return warnNode(n, nil) },
			PrepareUpdate:  prepareNodeUpdate,
			ValidateUpdate: ValidateNodeUpdate,
			WarnUpdate:     warnNode,
			ResetFields:    []string{"status"},
		}.Erase(),
		Subresources: []scheme.Subresource{
			{Name: "proxy", Group: "", Version: "v1", Kind: "NodeProxyOptions", Verbs: []string{"create", "delete", "get", "patch", "update"}},
			{Name: "status", Verbs: []string{"get", "patch", "update"}, Update: scheme.UpdateHooks[corev1.Node]{
				PrepareUpdate:  prepareNodeStatus,
				ValidateUpdate: ValidateNodeUpdate,
				ResetFields:    []string{"spec"},
			}.Pointer()},
		},
	}
}

// prepareNodeUpdate keeps the status, and lets nobody begin to use what is
// removed (configSource) or not on by default (podPreemptionPolicy).
func prepareNodeUpdate(_ scheme.Context, n, old *corev1.Node) {
	n.Status = old.Status
	if old.Spec.ConfigSource == nil {
		n.Spec.ConfigSource = nil
	}
	if old.Spec.PodPreemptionPolicy == nil {
		n.Spec.PodPreemptionPolicy = nil
	}
}

func prepareNodeStatus(_ scheme.Context, n, old *corev1.Node) {
	n.Spec = old.Spec
	if old.Status.Config == nil {
		n.Status.Config = nil
	}
}

func warnNode(n, old *corev1.Node) []string {
	var warnings []string
	if n.Spec.ConfigSource != nil {
		warnings = append(warnings, "spec.configSource: the feature is removed")
	}
	if n.Spec.DoNotUseExternalID != "" {
		warnings = append(warnings, "spec.externalID: this field is deprecated, and is unused by Kubernetes")
	}
	if old != nil && slices.Equal(n.Spec.PodCIDRs, old.Spec.PodCIDRs) {
		return warnings
	}
	for i, cidr := range n.Spec.PodCIDRs {
		warnings = append(warnings, utilvalidation.GetWarningsForCIDR(field.NewPath("spec", "podCIDRs").Index(i), cidr)...)
	}
	return warnings
}

func nodeColumns() []metav1.TableColumnDefinition {
	info, status := corev1.NodeSystemInfo{}, corev1.NodeStatus{}
	return []metav1.TableColumnDefinition{
		table.Name(),
		table.String("Status", "The status of the node"),
		table.String("Roles", "The roles of the node"),
		table.Age(),
		table.Field("Version", info, "kubeletVersion"),
		table.Wide(table.Field("Internal-IP", status, "addresses")),
		table.Wide(table.Field("External-IP", status, "addresses")),
		table.Wide(table.Field("OS-Image", info, "osImage")),
		table.Wide(table.Field("Kernel-Version", info, "kernelVersion")),
		table.Wide(table.Field("Container-Runtime", info, "containerRuntimeVersion")),
	}
}

func nodeRow(n *corev1.Node, now metav1.Time) []any {
	info := &n.Status.NodeInfo
	kernel := unknownIfEmpty(info.KernelVersion)
	if info.KernelVersion != "" && info.Architecture != "" {
		kernel += " (" + info.Architecture + ")"
	}
	return []any{
		n.Name, nodeStatusText(n), table.OrNone(strings.Join(nodeRoles(n), ",")), table.Since(n.CreationTimestamp, now),
		info.KubeletVersion, nodeAddress(n, corev1.NodeInternalIP), nodeAddress(n, corev1.NodeExternalIP),
		unknownIfEmpty(info.OSImage), kernel, unknownIfEmpty(info.ContainerRuntimeVersion),
	}
}

func nodeStatusText(n *corev1.Node) string {
	text := "Unknown"
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type != corev1.NodeReady {
			continue
		}
		text = "NotReady"
		if n.Status.Conditions[i].Status == corev1.ConditionTrue {
			text = "Ready"
		}
		break
	}
	if n.Spec.Unschedulable {
		text += ",SchedulingDisabled"
	}
	return text
}

// nodeRoles reads the labels node-role.kubernetes.io/ROLE and, older,
// kubernetes.io/role=ROLE.
func nodeRoles(n *corev1.Node) []string {
	var roles []string
	for key, value := range n.Labels {
		role, ok := strings.CutPrefix(key, "node-role.kubernetes.io/")
		if key == "kubernetes.io/role" {
			role, ok = value, true
		}
		if ok && role != "" && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return roles
}

func nodeAddress(n *corev1.Node, t corev1.NodeAddressType) string {
	for i := range n.Status.Addresses {
		if n.Status.Addresses[i].Type == t {
			return n.Status.Addresses[i].Address
		}
	}
	return "<none>"
}

func unknownIfEmpty(s string) string {
	if s == "" {
		return "<unknown>"
	}
	return s
}
