package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
)

// handler is what probes and lifecycle hooks do; each kind has its own subset.
type handler struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

// validate requires exactly one action. grace is the pod's termination grace
// period in seconds, which bounds a sleep.
func (h *handler) validate(grace *int64, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	n := 0
	one := func(name string) bool {
		if n++; n == 1 {
			return true
		}
		errs = append(errs, field.Forbidden(p.Child(name), "may not specify more than 1 handler type"))
		return false
	}
	if h.exec != nil && one("exec") && len(h.exec.Command) == 0 {
		errs = append(errs, field.Required(p.Child("exec", "command"), ""))
	}
	if h.http != nil && one("httpGet") {
		errs = append(errs, validateHTTPGet(h.http, p.Child("httpGet"))...)
	}
	if h.tcp != nil && one("tcpSocket") {
		errs = append(errs, portOrName(h.tcp.Port, p, "tcpSocket", "port")...)
	}
	if h.grpc != nil && one("grpc") && !validPort(h.grpc.Port) {
		errs = append(errs, portNumber(h.grpc.Port, p.Child("grpc", "port"))...)
	}
	if h.sleep != nil && one("sleep") && grace != nil && (h.sleep.Seconds < 0 || h.sleep.Seconds > *grace) {
		errs = append(errs, field.Invalid(p.Child("sleep"), h.sleep.Seconds,
			fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace)))
	}
	if n == 0 {
		errs = append(errs, field.Required(p, "must specify a handler type"))
	}
	return errs
}

func validateHTTPGet(h *corev1.HTTPGetAction, p *field.Path) field.ErrorList {
	errs := required(p, "path", h.Path)
	errs = append(errs, portOrName(h.Port, p, "port")...)
	if h.Scheme != corev1.URISchemeHTTP && h.Scheme != corev1.URISchemeHTTPS {
		errs = append(errs, check.OneOf(p.Child("scheme"), h.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
	}
	for i := range h.HTTPHeaders {
		name := h.HTTPHeaders[i].Name
		errs = append(errs, check.Messages(p.Child("httpHeaders"), name, utilvalidation.IsHTTPHeaderName(name))...)
	}
	return errs
}

func validPort(n int32) bool { return n > 0 && n < 65536 }

func portNumber(n int32, p *field.Path) field.ErrorList {
	if validPort(n) {
		return nil
	}
	return field.ErrorList{field.Invalid(p, n, utilvalidation.InclusiveRangeError(1, 65535))}
}

func portOrName(port intstr.IntOrString, p *field.Path, names ...string) field.ErrorList {
	if port.Type == intstr.Int {
		if validPort(port.IntVal) {
			return nil
		}
		return portNumber(port.IntVal, p.Child(names[0], names[1:]...))
	}
	if msgs := utilvalidation.IsValidPortName(port.StrVal); len(msgs) > 0 {
		return check.Messages(p.Child(names[0], names[1:]...), port.StrVal, msgs)
	}
	return nil
}

func validateLifecycle(l *corev1.Lifecycle, grace *int64, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if h := l.PostStart; h != nil {
		errs = append(errs, (&handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}).validate(grace, p.Child("postStart"))...)
	}
	if h := l.PreStop; h != nil {
		errs = append(errs, (&handler{exec: h.Exec, http: h.HTTPGet, tcp: h.TCPSocket, sleep: h.Sleep}).validate(grace, p.Child("preStop"))...)
	}
	return errs
}

func validateProbe(pr *corev1.Probe, p *field.Path) field.ErrorList {
	h := handler{exec: pr.Exec, http: pr.HTTPGet, tcp: pr.TCPSocket, grpc: pr.GRPC}
	errs := h.validate(nil, p)
	errs = append(errs, notNegative(int64(pr.InitialDelaySeconds), p, "initialDelaySeconds")...)
	errs = append(errs, notNegative(int64(pr.TimeoutSeconds), p, "timeoutSeconds")...)
	errs = append(errs, notNegative(int64(pr.PeriodSeconds), p, "periodSeconds")...)
	errs = append(errs, notNegative(int64(pr.SuccessThreshold), p, "successThreshold")...)
	errs = append(errs, notNegative(int64(pr.FailureThreshold), p, "failureThreshold")...)
	if t := pr.TerminationGracePeriodSeconds; t != nil && *t <= 0 {
		errs = append(errs, field.Invalid(p.Child("terminationGracePeriodSeconds"), *t, "must be greater than 0"))
	}
	return errs
}

func notNegative(n int64, p *field.Path, name string) field.ErrorList {
	if n >= 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(p.Child(name), n, "must be greater than or equal to 0")}
}

// validateProbes checks the three probes of a container. Liveness and startup
// restart it at the first failure in a row, so one success must be enough;
// readiness restarts nothing, so a grace period means nothing there.
func validateProbes(c *corev1.Container, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if pr := c.LivenessProbe; pr != nil {
		errs = append(errs, validateProbe(pr, p.Child("livenessProbe"))...)
		errs = append(errs, oneSuccess(pr, p, "livenessProbe")...)
	}
	if pr := c.ReadinessProbe; pr != nil {
		errs = append(errs, validateProbe(pr, p.Child("readinessProbe"))...)
		if t := pr.TerminationGracePeriodSeconds; t != nil {
			errs = append(errs, field.Invalid(p.Child("readinessProbe", "terminationGracePeriodSeconds"), *t, "must not be set for readinessProbes"))
		}
	}
	if pr := c.StartupProbe; pr != nil {
		errs = append(errs, validateProbe(pr, p.Child("startupProbe"))...)
		errs = append(errs, oneSuccess(pr, p, "startupProbe")...)
	}
	return errs
}

func oneSuccess(pr *corev1.Probe, p *field.Path, name string) field.ErrorList {
	if pr.SuccessThreshold == 1 {
		return nil
	}
	return field.ErrorList{field.Invalid(p.Child(name, "successThreshold"), pr.SuccessThreshold, "must be 1")}
}
