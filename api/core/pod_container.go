package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// podChecks is what the checks of containers need to know of their pod.
type podChecks struct {
	spec    *corev1.PodSpec
	volumes volumeSet
	relaxed relaxations
}

func (c *podChecks) containers(path *field.Path) field.ErrorList {
	list := c.spec.Containers
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for i := range list {
		ct, p := &list[i], path.Index(i)
		errs = append(errs, c.container(ct, p)...)
		if named(list[:i], ct.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), ct.Name))
		}
		errs = append(errs, validateContainerRestart(ct, p)...)
		errs = append(errs, c.running(ct, p)...)
	}
	return append(errs, hostPortConflicts(list, path)...)
}

// running checks what only containers have that run beside others: hooks and
// probes.
func (c *podChecks) running(ct *corev1.Container, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if ct.Lifecycle != nil {
		errs = append(errs, validateLifecycle(ct.Lifecycle, c.spec.TerminationGracePeriodSeconds, p.Child("lifecycle"))...)
	}
	return append(errs, validateProbes(ct, p)...)
}

func (c *podChecks) initContainers(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	list := c.spec.InitContainers
	for i := range list {
		ct, p := &list[i], path.Index(i)
		errs = append(errs, c.container(ct, p)...)
		errs = append(errs, validateContainerRestart(ct, p)...)
		if named(c.spec.Containers, ct.Name) || named(list[:i], ct.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), ct.Name))
		}
		// Init containers run one by one, so each is alone with its ports.
		errs = append(errs, hostPortConflicts(list[i:i+1], path)...)
		if IsSidecar(ct) {
			errs = append(errs, c.running(ct, p)...)
			continue
		}
		errs = append(errs, forbidRunning(ct, p)...)
	}
	return errs
}

func forbidRunning(ct *corev1.Container, p *field.Path) field.ErrorList {
	if ct.Lifecycle == nil && ct.LivenessProbe == nil && ct.ReadinessProbe == nil && ct.StartupProbe == nil {
		return nil
	}
	const sidecarsOnly = "may not be set for init containers without restartPolicy=Always"
	var errs field.ErrorList
	for _, f := range []struct {
		set  bool
		name string
	}{
		{ct.Lifecycle != nil, "lifecycle"},
		{ct.LivenessProbe != nil, "livenessProbe"},
		{ct.ReadinessProbe != nil, "readinessProbe"},
		{ct.StartupProbe != nil, "startupProbe"},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(p.Child(f.name), sidecarsOnly))
		}
	}
	return errs
}

// container checks what all containers have.
func (c *podChecks) container(ct *corev1.Container, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if ct.Name == "" {
		errs = append(errs, field.Required(p.Child("name"), ""))
	} else if !plainLabel(ct.Name) {
		errs = append(errs, check.Label(p.Child("name"), ct.Name)...)
	}
	if ct.Image == "" {
		errs = append(errs, field.Required(p.Child("image"), ""))
	}
	switch ct.TerminationMessagePolicy {
	case corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError:
	case "":
		errs = append(errs, field.Required(p.Child("terminationMessagePolicy"), ""))
	default:
		errs = append(errs, check.OneOf(p.Child("terminationMessagePolicy"), ct.TerminationMessagePolicy,
			corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	}
	if len(ct.Ports) > 0 {
		errs = append(errs, validatePorts(ct.Ports, p.Child("ports"))...)
	}
	if len(ct.Env) > 0 {
		errs = append(errs, validateEnv(ct.Env, c.volumes, p.Child("env"))...)
	}
	if len(ct.EnvFrom) > 0 {
		errs = append(errs, validateEnvFrom(ct.EnvFrom, p.Child("envFrom"))...)
	}
	if len(ct.VolumeMounts) > 0 {
		errs = append(errs, validateVolumeMounts(ct, c.volumes, p.Child("volumeMounts"))...)
	}
	if len(ct.VolumeDevices) > 0 {
		errs = append(errs, validateVolumeDevices(ct, c.volumes, p.Child("volumeDevices"))...)
	}
	switch ct.ImagePullPolicy {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		errs = append(errs, validatePullPolicy(ct.ImagePullPolicy, p.Child("imagePullPolicy"))...)
	}
	if r := &ct.Resources; len(r.Limits) > 0 || len(r.Requests) > 0 || len(r.Claims) > 0 {
		errs = append(errs, validateContainerResources(r, c.spec.ResourceClaims, p.Child("resources"))...)
	}
	if len(ct.ResizePolicy) > 0 {
		errs = append(errs, c.resizePolicy(ct, p.Child("resizePolicy"))...)
	}
	if ct.SecurityContext != nil {
		errs = append(errs, c.securityContext(ct.SecurityContext, p.Child("securityContext"))...)
	}
	return errs
}

func named(list []corev1.Container, name string) bool {
	for i := range list {
		if list[i].Name == name {
			return true
		}
	}
	return false
}

func validatePullPolicy(policy corev1.PullPolicy, p *field.Path) field.ErrorList {
	if policy == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return check.OneOfSorted(p, policy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
}

func validatePorts(ports []corev1.ContainerPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range ports {
		port := &ports[i]
		if port.Name != "" {
			errs = append(errs, validatePortName(ports[:i], port.Name, path.Index(i))...)
		}
		if port.ContainerPort == 0 {
			errs = append(errs, field.Required(path.Index(i).Child("containerPort"), ""))
		} else if !validPort(port.ContainerPort) {
			errs = append(errs, portNumber(port.ContainerPort, path.Index(i).Child("containerPort"))...)
		}
		if port.HostPort != 0 && !validPort(port.HostPort) {
			errs = append(errs, portNumber(port.HostPort, path.Index(i).Child("hostPort"))...)
		}
		switch port.Protocol {
		case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
		case "":
			errs = append(errs, field.Required(path.Index(i).Child("protocol"), ""))
		default:
			errs = append(errs, check.OneOf(path.Index(i).Child("protocol"), port.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		}
	}
	return errs
}

func validatePortName(before []corev1.ContainerPort, name string, p *field.Path) field.ErrorList {
	if msgs := utilvalidation.IsValidPortName(name); len(msgs) > 0 {
		return check.Messages(p.Child("name"), name, msgs)
	}
	for i := range before {
		if before[i].Name == name {
			return field.ErrorList{field.Duplicate(p.Child("name"), name)}
		}
	}
	return nil
}

// hostPortConflicts finds host ports that two of the containers want. Address
// and protocol count as written: no address does not mean all addresses here.
func hostPortConflicts(list []corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		for j := range list[i].Ports {
			port := &list[i].Ports[j]
			if port.HostPort != 0 && wantsHostPort(list[:i], list[i].Ports[:j], port) {
				errs = append(errs, field.Duplicate(path.Index(i).Child("ports").Index(j).Child("hostPort"),
					fmt.Sprintf("%s/%s/%d", port.Protocol, port.HostIP, port.HostPort)))
			}
		}
	}
	return errs
}

func wantsHostPort(before []corev1.Container, ports []corev1.ContainerPort, port *corev1.ContainerPort) bool {
	for i := range ports {
		if o := &ports[i]; o.HostPort == port.HostPort && o.Protocol == port.Protocol && o.HostIP == port.HostIP {
			return true
		}
	}
	for i := range before {
		if wantsHostPort(nil, before[i].Ports, port) {
			return true
		}
	}
	return false
}

// The sizes of restart rules.
const (
	maxRestartRules = 20
	maxExitCodes    = 255
)

// validateContainerRestart checks a container's own restart policy, which may
// differ from the pod's.
func validateContainerRestart(ct *corev1.Container, p *field.Path) field.ErrorList {
	rules := ct.RestartPolicyRules
	var errs field.ErrorList
	if ct.RestartPolicy != nil {
		errs = check.OneOfSorted(p.Child("restartPolicy"), *ct.RestartPolicy, corev1.ContainerRestartPolicyAlways,
			corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
	} else if len(rules) > 0 {
		errs = append(errs, field.Required(p.Child("restartPolicy"), "must specify restartPolicy when restart rules are used"))
	}
	if len(rules) > maxRestartRules {
		errs = append(errs, field.TooMany(p.Child("restartPolicyRules"), len(rules), maxRestartRules))
	}
	for i := range rules {
		errs = append(errs, validateRestartRule(&rules[i], p.Child("restartPolicyRules").Index(i))...)
	}
	return errs
}

func validateRestartRule(r *corev1.ContainerRestartRule, p *field.Path) field.ErrorList {
	errs := check.OneOf(p.Child("action"), r.Action, restartActions...)
	if r.ExitCodes == nil {
		return append(errs, field.Required(p.Child("exitCodes"), "must be specified"))
	}
	p = p.Child("exitCodes")
	errs = append(errs, check.OneOf(p.Child("operator"), r.ExitCodes.Operator,
		corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)...)
	if len(r.ExitCodes.Values) == 0 {
		errs = append(errs, field.Required(p.Child("values"), "must be specified"))
	}
	if n := len(r.ExitCodes.Values); n > maxExitCodes {
		errs = append(errs, field.TooMany(p.Child("values"), n, maxExitCodes))
	}
	return errs
}

var restartActions = func() []corev1.ContainerRestartRuleAction {
	actions := []corev1.ContainerRestartRuleAction{corev1.ContainerRestartRuleActionRestart}
	if gateRestartAllContainers {
		actions = append(actions, corev1.ContainerRestartRuleActionRestartAllContainers)
	}
	return actions
}()

// resizePolicy checks how the container takes a change of its resources. A
// pod that never restarts its containers can't do it for a resize.
func (c *podChecks) resizePolicy(ct *corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range ct.ResizePolicy {
		r := &ct.ResizePolicy[i]
		for j := range i {
			if ct.ResizePolicy[j].ResourceName == r.ResourceName {
				errs = append(errs, field.Duplicate(path.Index(i), r.ResourceName))
				break
			}
		}
		errs = append(errs, validateResizeRule(r, path)...)
		if c.spec.RestartPolicy == corev1.RestartPolicyNever && r.RestartPolicy != corev1.NotRequired && !IsSidecar(ct) {
			errs = append(errs, field.Invalid(path, r.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"))
		}
	}
	return errs
}

func validateResizeRule(r *corev1.ContainerResizePolicy, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch r.ResourceName {
	case corev1.ResourceCPU, corev1.ResourceMemory:
	case "":
		errs = append(errs, field.Required(path, ""))
	default:
		errs = append(errs, check.OneOf(path, r.ResourceName, corev1.ResourceCPU, corev1.ResourceMemory)...)
	}
	switch r.RestartPolicy {
	case corev1.NotRequired, corev1.RestartContainer:
	case "":
		errs = append(errs, field.Required(path, ""))
	default:
		errs = append(errs, check.OneOf(path, r.RestartPolicy, corev1.NotRequired, corev1.RestartContainer)...)
	}
	return errs
}
