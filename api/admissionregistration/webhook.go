package admissionregistration

import (
	"fmt"
	"slices"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/check"
	"xebec.dev/api/scheme"
	"xebec.dev/api/webhook"
)

const maxTimeoutSeconds = 30

// reviewVersions are the versions of AdmissionReview that can be sent.
var reviewVersions = []string{"v1", "v1beta1"}

// hook is what validating and mutating webhooks have in common.
type hook struct {
	name              string
	clientConfig      *admissionregistrationv1.WebhookClientConfig
	rules             []admissionregistrationv1.RuleWithOperations
	failurePolicy     **admissionregistrationv1.FailurePolicyType
	matchPolicy       **admissionregistrationv1.MatchPolicyType
	namespaceSelector **metav1.LabelSelector
	objectSelector    **metav1.LabelSelector
	sideEffects       *admissionregistrationv1.SideEffectClass
	timeoutSeconds    **int32
	versions          []string
	conditions        []admissionregistrationv1.MatchCondition
}

func hookOfValidating(w *admissionregistrationv1.ValidatingWebhook) hook {
	return hook{w.Name, &w.ClientConfig, w.Rules, &w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector,
		w.SideEffects, &w.TimeoutSeconds, w.AdmissionReviewVersions, w.MatchConditions}
}

func hookOfMutating(w *admissionregistrationv1.MutatingWebhook) hook {
	return hook{w.Name, &w.ClientConfig, w.Rules, &w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector,
		w.SideEffects, &w.TimeoutSeconds, w.AdmissionReviewVersions, w.MatchConditions}
}

func hooksOfValidating(c *admissionregistrationv1.ValidatingWebhookConfiguration) []hook {
	hooks := make([]hook, len(c.Webhooks))
	for i := range c.Webhooks {
		hooks[i] = hookOfValidating(&c.Webhooks[i])
	}
	return hooks
}

func hooksOfMutating(c *admissionregistrationv1.MutatingWebhookConfiguration) []hook {
	hooks := make([]hook, len(c.Webhooks))
	for i := range c.Webhooks {
		hooks[i] = hookOfMutating(&c.Webhooks[i])
	}
	return hooks
}

func (v validator) validatingWebhookHooks() scheme.Hooks[admissionregistrationv1.ValidatingWebhookConfiguration] {
	return scheme.Hooks[admissionregistrationv1.ValidatingWebhookConfiguration]{
		Default: defaultValidatingWebhooks,
		ValidateCreate: func(c *admissionregistrationv1.ValidatingWebhookConfiguration) field.ErrorList {
			return v.validateWebhooks(hooksOfValidating(c), nil, tolerated{})
		},
		ValidateUpdate: func(c, old *admissionregistrationv1.ValidatingWebhookConfiguration) field.ErrorList {
			hooks, before := hooksOfValidating(c), hooksOfValidating(old)
			return v.validateWebhooks(hooks, nil, toleratedOf(hooks, before))
		},
		SpecChanged: func(c, old *admissionregistrationv1.ValidatingWebhookConfiguration) bool {
			return !apiequality.Semantic.DeepEqual(c.Webhooks, old.Webhooks)
		},
	}
}

func (v validator) mutatingWebhookHooks() scheme.Hooks[admissionregistrationv1.MutatingWebhookConfiguration] {
	return scheme.Hooks[admissionregistrationv1.MutatingWebhookConfiguration]{
		Default: defaultMutatingWebhooks,
		ValidateCreate: func(c *admissionregistrationv1.MutatingWebhookConfiguration) field.ErrorList {
			return v.validateWebhooks(hooksOfMutating(c), reinvocation(c), tolerated{})
		},
		ValidateUpdate: func(c, old *admissionregistrationv1.MutatingWebhookConfiguration) field.ErrorList {
			hooks, before := hooksOfMutating(c), hooksOfMutating(old)
			return v.validateWebhooks(hooks, reinvocation(c), toleratedOf(hooks, before))
		},
		SpecChanged: func(c, old *admissionregistrationv1.MutatingWebhookConfiguration) bool {
			return !apiequality.Semantic.DeepEqual(c.Webhooks, old.Webhooks)
		},
	}
}

func reinvocation(c *admissionregistrationv1.MutatingWebhookConfiguration) func(i int, path *field.Path) field.ErrorList {
	return func(i int, path *field.Path) field.ErrorList {
		policy := c.Webhooks[i].ReinvocationPolicy
		if policy == nil {
			return nil
		}
		return check.OneOf(path.Child("reinvocationPolicy"), *policy, admissionregistrationv1.IfNeededReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy)
	}
}

// toleratedOf looks at the webhooks before: what they have may stay.
func toleratedOf(hooks, before []hook) tolerated {
	t := tolerated{expressions: map[string]bool{}, conditions: len(hooks) == len(before)}
	names := map[string]bool{}
	for i, b := range before {
		t.labelValues = t.labelValues || badLabelValues(*b.namespaceSelector, *b.objectSelector)
		t.sideEffects = t.sideEffects || b.sideEffects == nil || !noSideEffects(*b.sideEffects)
		t.versions = t.versions || !slices.ContainsFunc(b.versions, isReviewVersion)
		t.names = t.names || names[b.name]
		names[b.name] = true
		t.conditions = t.conditions && apiequality.Semantic.DeepEqual(hooks[i].conditions, b.conditions)
		for _, c := range b.conditions {
			t.expressions[c.Expression] = true
		}
	}
	return t
}

func noSideEffects(c admissionregistrationv1.SideEffectClass) bool {
	return c == admissionregistrationv1.SideEffectClassNone || c == admissionregistrationv1.SideEffectClassNoneOnDryRun
}

func isReviewVersion(v string) bool { return slices.Contains(reviewVersions, v) }

func (v validator) validateWebhooks(hooks []hook, more func(int, *field.Path) field.ErrorList, t tolerated) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i, h := range hooks {
		path := field.NewPath("webhooks").Index(i)
		errs = append(errs, v.validateWebhook(h, func() field.ErrorList {
			if more == nil {
				return nil
			}
			return more(i, path)
		}, t, path)...)
		errs = append(errs, validateReviewVersions(h.versions, t, path.Child("admissionReviewVersions"))...)
		if h.name != "" && !t.names {
			if names[h.name] {
				errs = append(errs, field.Duplicate(path.Child("name"), h.name))
			}
			names[h.name] = true
		}
	}
	return errs
}

func (v validator) validateWebhook(h hook, more func() field.ErrorList, t tolerated, path *field.Path) field.ErrorList {
	errs := validation.IsFullyQualifiedName(path.Child("name"), h.name)
	for i := range h.rules {
		errs = append(errs, validateRuleWithOperations(&h.rules[i], path.Child("rules").Index(i))...)
	}
	if p := *h.failurePolicy; p != nil {
		errs = append(errs, check.OneOf(path.Child("failurePolicy"), *p, admissionregistrationv1.Fail, admissionregistrationv1.Ignore)...)
	}
	if p := *h.matchPolicy; p != nil {
		errs = append(errs, check.OneOf(path.Child("matchPolicy"), *p, admissionregistrationv1.Equivalent, admissionregistrationv1.Exact)...)
	}
	errs = append(errs, validateSideEffects(h.sideEffects, t, path.Child("sideEffects"))...)
	if s := *h.timeoutSeconds; s != nil && (*s < 1 || *s > maxTimeoutSeconds) {
		errs = append(errs, field.Invalid(path.Child("timeoutSeconds"), *s, fmt.Sprintf("the timeout value must be between 1 and %d seconds", maxTimeoutSeconds)))
	}
	if s := *h.namespaceSelector; s != nil {
		errs = append(errs, metavalidation.ValidateLabelSelector(s, t.selectors(), path.Child("namespaceSelector"))...)
	}
	if s := *h.objectSelector; s != nil {
		errs = append(errs, metavalidation.ValidateLabelSelector(s, t.selectors(), path.Child("objectSelector"))...)
	}
	errs = append(errs, more()...)
	errs = append(errs, validateClientConfig(h.clientConfig, path.Child("clientConfig"))...)
	if !t.conditions {
		errs = append(errs, v.validateMatchConditions(h.conditions, Expression{Place: WebhookMatchCondition}, t, path.Child("matchConditions"))...)
	}
	return errs
}

func validateSideEffects(c *admissionregistrationv1.SideEffectClass, t tolerated, path *field.Path) field.ErrorList {
	supported := []admissionregistrationv1.SideEffectClass{admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.SideEffectClassNoneOnDryRun}
	if c == nil {
		if t.sideEffects {
			return nil
		}
		return field.ErrorList{field.Required(path, "must specify one of None, NoneOnDryRun")}
	}
	if t.sideEffects {
		supported = append(supported, admissionregistrationv1.SideEffectClassSome, admissionregistrationv1.SideEffectClassUnknown)
	}
	return check.OneOf(path, *c, supported...)
}

func validateClientConfig(c *admissionregistrationv1.WebhookClientConfig, path *field.Path) field.ErrorList {
	switch {
	case (c.URL == nil) == (c.Service == nil):
		return field.ErrorList{field.Required(path, "exactly one of url or service is required")}
	case c.URL != nil:
		return webhook.ValidateURL(path.Child("url"), *c.URL)
	}
	port := int32(defaultServicePort)
	if c.Service.Port != nil {
		port = *c.Service.Port
	}
	return webhook.ValidateService(path.Child("service"), c.Service.Namespace, c.Service.Name, c.Service.Path, port)
}

func validateReviewVersions(versions []string, t tolerated, path *field.Path) field.ErrorList {
	if len(versions) == 0 {
		return field.ErrorList{field.Required(path, "must specify one of v1, v1beta1")}
	}
	var errs field.ErrorList
	for i, version := range versions {
		if slices.Contains(versions[:i], version) {
			errs = append(errs, field.Invalid(path.Index(i), version, "duplicate version"))
			continue
		}
		errs = append(errs, check.Messages(path.Index(i), version, validation.IsDNS1035Label(version))...)
	}
	if !t.versions && !slices.ContainsFunc(versions, isReviewVersion) {
		errs = append(errs, field.Invalid(path, versions, "must include at least one of v1, v1beta1"))
	}
	return errs
}
