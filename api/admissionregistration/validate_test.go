package admissionregistration

import (
	"strings"
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func resourceOf(plural string) scheme.Resource {
	r, _ := scheme.New(Resources()).Resource("admissionregistration.k8s.io", plural)
	return *r
}

const rules = `"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"resources":["pods"],"operations":["CREATE"]}]}`

func TestValidatingPolicy(t *testing.T) {
	observedtest.Attempts(t, resourceOf("validatingadmissionpolicies"), `{"metadata":{"name":"p"},"spec":{`+rules+`,"validations":[{"expression":"true"}]}}`, []observedtest.Attempt{
		{Name: "param kind", Patch: `{"spec":{"paramKind":{"apiVersion":"A_b/v1","kind":"K"}}}`, Want: []string{
			"spec.paramKind.apiVersion: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"}},
		{Name: "long audit expression", Patch: `{"spec":{"auditAnnotations":[{"key":"a","valueExpression":"'` + strings.Repeat("x", 5*1024) + `'"}]}}`,
			Want: []string{"spec.auditAnnotations[0].valueExpression: Required value: must not exceed 5120 bytes in length"}},
		{Name: "one key twice", Patch: `{"spec":{"auditAnnotations":[{"key":"a","valueExpression":"'x'"},{"key":"a","valueExpression":"'y'"}]}}`,
			Want: []string{`spec.auditAnnotations[1].key: Duplicate value: "a"`}},
		{Name: "reserved word", Patch: `{"spec":{"variables":[{"name":"in","expression":"1"}]}}`,
			Want: []string{`spec.variables[0].name: Invalid value: "in": must be a valid CEL identifier`}},
		{Name: "status", Old: `{}`, Subresource: "status", Patch: `{"status":{"typeChecking":{"expressionWarnings":[{"fieldRef":"","warning":""}]}}}`, Want: []string{
			"status.typeChecking.expressionWarnings[0].warning: Required value", "status.typeChecking.expressionWarnings[0].fieldRef: Required value"}},
	})
}

func TestBinding(t *testing.T) {
	observedtest.Attempts(t, resourceOf("validatingadmissionpolicybindings"), `{"spec":{"policyName":"p","validationActions":["Deny"]}}`, []observedtest.Attempt{
		{Name: "deny and warn", Patch: `{"spec":{"validationActions":["Deny","Warn"]}}`, Want: []string{
			`spec.validationActions: Invalid value: ["Deny","Warn"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)`}},
	})
}

func TestMutatingPolicy(t *testing.T) {
	observedtest.Attempts(t, resourceOf("mutatingadmissionpolicies"), `{"spec":{`+rules+`,"reinvocationPolicy":"Never"}}`, []observedtest.Attempt{
		{Name: "no patch type", Patch: `{"spec":{"mutations":[{}]}}`, Want: []string{"spec.mutations[0].patchType: Required value"}},
		{Name: "no patch", Patch: `{"spec":{"mutations":[{"patchType":"ApplyConfiguration"}]}}`,
			Want: []string{"spec.mutations[0].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration"}},
	})
}

func TestWebhooks(t *testing.T) {
	hook := func(more string) string {
		return `{"webhooks":[{"name":"a.b.c","clientConfig":{"url":"https://a"},"sideEffects":"None","admissionReviewVersions":["v1"]` + more + `}]}`
	}
	observedtest.Attempts(t, resourceOf("validatingwebhookconfigurations"), ``, []observedtest.Attempt{
		{Name: "scope", Patch: hook(`,"rules":[{"apiGroups":[""],"apiVersions":["v1"],"resources":["pods"],"operations":["CREATE"],"scope":"Some"}]`),
			Want: []string{`webhooks[0].rules[0].scope: Unsupported value: "Some": supported values: "*", "Cluster", "Namespaced"`}},
		{Name: "selector", Patch: hook(`,"objectSelector":{"matchExpressions":[{"key":"a","operator":"In"}]}`),
			Want: []string{"webhooks[0].objectSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"}},
		{Name: "condition without name", Patch: hook(`,"matchConditions":[{"expression":"true"}]`),
			Want: []string{"webhooks[0].matchConditions[0].name: Required value"}},
	})
}

func TestStoredExpressions(t *testing.T) {
	var stored []bool
	compile := func(e Expression) string {
		stored = append(stored, e.Stored)
		return ""
	}
	r, _ := scheme.New(ResourcesWith(compile)).Resource("admissionregistration.k8s.io", "validatingadmissionpolicies")
	observedtest.Attempts(t, *r, `{"metadata":{"name":"p"},"spec":{`+rules+`}}`, []observedtest.Attempt{
		{Name: "update", Old: `{"spec":{"validations":[{"expression":"true"}]}}`, Patch: `{"spec":{"validations":[{"expression":"true"},{"expression":"false"}]}}`},
	})
	if len(stored) != 3 || stored[0] || !stored[1] || stored[2] {
		t.Errorf("stored: %v", stored)
	}
}
