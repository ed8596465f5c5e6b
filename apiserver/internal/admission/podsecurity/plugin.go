// Package podsecurity holds pods to the Pod Security Standards level that
// their namespace's labels name: refusing, warning, or leaving a note in the
// audit log.
package podsecurity

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// Plugin implements PodSecurity.
type Plugin struct {
	config     *Config
	reader     storage.Reader
	evaluator  policy.Evaluator
	namespaces *scheme.Resource
	pods       *scheme.Resource
}

// New makes the plugin. namespaces and pods are those of the table.
func New(c *Config, reader storage.Reader, namespaces, pods *scheme.Resource) (*Plugin, error) {
	e, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, fmt.Errorf("make the pod security checks: %w", err)
	}
	return &Plugin{config: c, reader: reader, evaluator: e, namespaces: namespaces, pods: pods}, nil
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "PodSecurity" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Validate implements admission.Validator.
func (p *Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	switch o := a.Object.(type) {
	case *corev1.Namespace:
		if a.Subresource == "" {
			return p.namespace(a, o)
		}
	case *corev1.Pod:
		return p.pod(a, o)
	default:
		if a.Subresource == "" {
			p.workload(a)
		}
	}
	return nil
}

// pod judges a new pod, and one whose images or ephemeral containers change:
// the rest of a spec cannot.
func (p *Plugin) pod(a *admission.Attributes, pod *corev1.Pod) error {
	if a.Subresource != "" && a.Subresource != "ephemeralcontainers" {
		return nil
	}
	rules, invalid := p.policy(a.Namespace)
	if invalid == nil && rules.FullyPrivileged() {
		return nil
	}
	if p.exempt(a, &pod.Spec) {
		return nil
	}
	if old, ok := a.Old.(*corev1.Pod); ok && !significant(pod, old) {
		return nil
	}
	return p.judge(a, rules, invalid, &pod.ObjectMeta, &pod.Spec, true)
}

// workload warns of templates whose pods would be refused; the template itself
// is let through, since its pods are judged when they come.
func (p *Plugin) workload(a *admission.Attributes) {
	template := templateOf(a.Object)
	if template == nil {
		return
	}
	rules, invalid := p.policy(a.Namespace)
	if invalid == nil && rules.Warn.Level == psa.LevelPrivileged && rules.Audit.Level == psa.LevelPrivileged {
		return
	}
	if p.exempt(a, &template.Spec) {
		return
	}
	_ = p.judge(a, rules, invalid, &template.ObjectMeta, &template.Spec, false) // refuses nothing
}

func templateOf(o runtime.Object) *corev1.PodTemplateSpec {
	switch o := o.(type) {
	case *corev1.PodTemplate:
		return &o.Template
	case *corev1.ReplicationController:
		return o.Spec.Template
	case *appsv1.ReplicaSet:
		return &o.Spec.Template
	case *appsv1.Deployment:
		return &o.Spec.Template
	case *appsv1.DaemonSet:
		return &o.Spec.Template
	case *appsv1.StatefulSet:
		return &o.Spec.Template
	case *batchv1.Job:
		return &o.Spec.Template
	case *batchv1.CronJob:
		return &o.Spec.JobTemplate.Spec.Template
	}
	return nil
}

// policy is what a namespace's labels ask for. Labels that cannot be read
// restrict.
func (p *Plugin) policy(namespace string) (rules psa.Policy, invalid error) {
	o, ok := p.reader.Get(p.namespaces, "", namespace)
	if !ok {
		return p.config.Defaults, nil
	}
	rules, errs := psa.PolicyToEvaluate(o.GetLabels(), p.config.Defaults)
	if len(errs) > 0 {
		invalid = errs.ToAggregate()
	}
	return rules, invalid
}

func (p *Plugin) exempt(a *admission.Attributes, spec *corev1.PodSpec) bool {
	e := &p.config.Exemptions
	reason := ""
	switch {
	case slices.Contains(e.Namespaces, a.Namespace):
		reason = "namespace"
	case slices.Contains(e.Usernames, a.User.Name):
		reason = "user"
	case p.exemptClass(spec):
		reason = "runtimeClass"
	default:
		return false
	}
	annotate(a, psa.ExemptionReasonAnnotationKey, reason)
	return true
}

func (p *Plugin) exemptClass(spec *corev1.PodSpec) bool {
	return spec.RuntimeClassName != nil && *spec.RuntimeClassName != "" && slices.Contains(p.config.Exemptions.RuntimeClasses, *spec.RuntimeClassName)
}

func annotate(a *admission.Attributes, key, value string) {
	a.Annotate(psa.AuditAnnotationPrefix+key, value)
}

// judge evaluates each mode; levels that several modes share, once.
func (p *Plugin) judge(a *admission.Attributes, rules psa.Policy, invalid error, meta *metav1.ObjectMeta, spec *corev1.PodSpec, enforce bool) error {
	if invalid != nil {
		annotate(a, "error", "Failed to parse policy: "+invalid.Error())
	}
	evaluate := p.evaluation(meta, spec)
	if enforce {
		annotate(a, psa.EnforcedPolicyAnnotationKey, rules.Enforce.String())
		if detail, ok := evaluate(rules.Enforce); !ok {
			p.audit(a, rules, evaluate)
			return a.Forbid(fmt.Errorf("violates PodSecurity %q: %s", rules.Enforce.String(), detail))
		}
	}
	p.audit(a, rules, evaluate)
	if detail, ok := evaluate(rules.Warn); !ok {
		a.Warn(fmt.Sprintf("would violate PodSecurity %q: %s", rules.Warn.String(), detail))
	}
	return nil
}

func (p *Plugin) audit(a *admission.Attributes, rules psa.Policy, evaluate func(psa.LevelVersion) (string, bool)) {
	if detail, ok := evaluate(rules.Audit); !ok {
		annotate(a, psa.AuditViolationsAnnotationKey, fmt.Sprintf("would violate PodSecurity %q: %s", rules.Audit.String(), detail))
	}
}

// evaluation remembers its answers.
func (p *Plugin) evaluation(meta *metav1.ObjectMeta, spec *corev1.PodSpec) func(psa.LevelVersion) (string, bool) {
	type answer struct {
		at     psa.LevelVersion
		detail string
		ok     bool
	}
	var answers []answer
	return func(at psa.LevelVersion) (string, bool) {
		for i := range answers {
			if answers[i].at == at {
				return answers[i].detail, answers[i].ok
			}
		}
		result := policy.AggregateCheckResults(p.evaluator.EvaluatePod(at, meta, spec))
		detail := ""
		if !result.Allowed {
			detail = result.ForbiddenDetail()
		}
		answers = append(answers, answer{at, detail, result.Allowed})
		return detail, result.Allowed
	}
}
