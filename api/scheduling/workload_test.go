package scheduling

import (
	"testing"

	"k8s.io/api/scheduling/v1alpha3"
	"k8s.io/api/scheduling/v1beta1"

	"xebec.dev/api/observedtest"
)

func TestWorkload(t *testing.T) {
	const base = `{"apiVersion":"scheduling.k8s.io/v1beta1","kind":"Workload","metadata":{"name":"a","namespace":"n"},
		"spec":{"podGroupTemplates":[{"name":"w","schedulingPolicy":{"gang":{"minCount":3}}}]}}`
	template := func(s string) string { return `{"spec":{"podGroupTemplates":[` + s + `]}}` }
	observedtest.Attempts(t, workloads(), base, []observedtest.Attempt{
		{Name: "fine", Patch: `{}`},
		{Name: "nothing", Patch: `{"spec":{"podGroupTemplates":null}}`,
			Want: []string{"spec: Invalid value: \"\": must specify one of: `compositePodGroupTemplates`, `podGroupTemplates`"}},
		{Name: "gang of none", Patch: template(`{"name":"w","schedulingPolicy":{"gang":{"minCount":-1}}}`),
			Want: []string{`spec.podGroupTemplates[0].schedulingPolicy.gang.minCount: Invalid value: -1: must be greater than or equal to 1`}},
		{Name: "two policies", Patch: template(`{"name":"w","schedulingPolicy":{"basic":{},"gang":{"minCount":1}}}`),
			Want: []string{"spec.podGroupTemplates[0].schedulingPolicy: Invalid value: \"{`basic`, `gang`}\": must specify exactly one of: `basic`, `gang`"}},
		{Name: "twice", Patch: template(`{"name":"w","schedulingPolicy":{"basic":{}}},{"name":"w","schedulingPolicy":{"basic":{}}}`),
			Want: []string{`spec.podGroupTemplates[1]: Duplicate value: {"name":"w","schedulingPolicy":{"basic":{}},"schedulingConstraints":null}`}},
		{Name: "priorities", Patch: template(`{"name":"w","schedulingPolicy":{"basic":{}},"priority":1000000001,"preemptionPolicy":"Maybe"}`), Want: []string{
			`spec.podGroupTemplates[0].priority: Invalid value: 1000000001: must be less than or equal to 1000000000`,
			`spec.podGroupTemplates[0].preemptionPolicy: Unsupported value: "Maybe": supported values: "Never", "PreemptLowerPriority"`}},
		{Name: "empty composite", Patch: `{"spec":{"podGroupTemplates":null,"compositePodGroupTemplates":[{"name":"c","schedulingPolicy":{"basic":{}}}]}}`,
			Want: []string{`spec.compositePodGroupTemplates[0]: Required value: at least one of podGroupTemplates and compositePodGroupTemplates must be set`}},
		{Name: "scales", Old: base, Patch: template(`{"name":"w","schedulingPolicy":{"gang":{"minCount":4}}}`)},
		{Name: "another policy", Old: base, Patch: template(`{"name":"w","schedulingPolicy":{"basic":{}}}`), Want: []string{
			`spec.podGroupTemplates[0].schedulingPolicy.basic: Invalid value: null: field is immutable`,
			`spec.podGroupTemplates[0].schedulingPolicy.gang: Invalid value: null: field cannot be cleared once set`}},
		{Name: "another template", Old: base, Patch: template(`{"name":"x","schedulingPolicy":{"basic":{}}}`), Want: []string{
			`spec.podGroupTemplates[0]: Forbidden: item may not be added`, `spec.podGroupTemplates: Forbidden: item may not be removed`}},
	})
}

func TestPodGroup(t *testing.T) {
	const base = `{"apiVersion":"scheduling.k8s.io/v1beta1","kind":"PodGroup","metadata":{"name":"a","namespace":"n"},
		"spec":{"workloadRef":{"workloadName":"a.b","templateName":"w"},"schedulingPolicy":{"basic":{}}}}`
	observedtest.Attempts(t, podGroups(), base, []observedtest.Attempt{
		{Name: "fine", Patch: `{"spec":{"resourceClaims":[{"name":"c","resourceClaimName":"d"}]}}`},
		{Name: "claims", Patch: `{"spec":{"resourceClaims":[{"name":"C","resourceClaimName":"d","resourceClaimTemplateName":"e"}]}}`, Want: []string{
			`spec.resourceClaims[0].name: Invalid value: "C": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
			"spec.resourceClaims[0]: Invalid value: \"{`resourceClaimName`, `resourceClaimTemplateName`}\": must specify exactly one of: `resourceClaimName`, `resourceClaimTemplateName`"}},
		{Name: "parent without a workload", Patch: `{"spec":{"workloadRef":null,"parentCompositePodGroupName":"p"}}`,
			Want: []string{`spec.workloadRef: Required value: must be set when parentCompositePodGroupName is set`}},
		{Name: "another workload", Old: base, Patch: `{"spec":{"workloadRef":{"workloadName":"c"}}}`,
			Want: []string{`spec.workloadRef: Invalid value: null: field is immutable`}},
		{Name: "status", Old: base, Subresource: "status", Patch: `{"spec":{"workloadRef":null},"status":{"resourceClaimStatuses":[{"name":"a"},{"name":"a"}]}}`,
			Want: []string{`status.resourceClaimStatuses[1]: Duplicate value: {"name":"a"}`}},
	})
}

func TestCompositePodGroup(t *testing.T) {
	const base = `{"apiVersion":"scheduling.k8s.io/v1alpha3","kind":"CompositePodGroup","metadata":{"name":"a","namespace":"n"},
		"spec":{"workloadRef":{"workloadName":"a","templateName":"w"},"schedulingPolicy":{"gang":{"minGroupCount":2}}}}`
	observedtest.Attempts(t, compositePodGroups(), base, []observedtest.Attempt{
		{Name: "fine", Patch: `{}`},
		{Name: "no workload", Patch: `{"spec":{"workloadRef":null}}`, Want: []string{`spec.workloadRef: Required value`}},
		{Name: "another size", Old: base, Patch: `{"spec":{"schedulingPolicy":{"gang":{"minGroupCount":3}}}}`,
			Want: []string{`spec.schedulingPolicy: Invalid value: null: field is immutable`}},
	})
}

func TestRulesFit(t *testing.T) {
	if missing := rules.Missing(v1beta1.Workload{}, v1beta1.PodGroup{}, v1alpha3.CompositePodGroup{}); len(missing) > 0 {
		t.Errorf("no such fields: %q", missing)
	}
}
