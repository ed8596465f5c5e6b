package apiextensions

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func TestRecorded(t *testing.T) {
	skip := map[string]string{}
	for id, reason := range map[string]string{
		"lifecycle/names-conflict":           "two definitions at once",
		"lifecycle/names-conflict-cleared":   "two definitions at once",
		"validation/schema-default-unpruned": "needs pruning",
	} {
		skip["crd/"+id] = reason
	}
	for _, id := range []string{"crd/lifecycle/table", "machinery-negotiation/table/crd"} {
		skip[id] = "v1.37: tables of definitions have more columns"
	}
	for _, id := range []string{"cel/libs", "cel/libs-ok", "validation/root-cel-labels", "validation/schema-cel-cost",
		"validation/schema-cel-int", "validation/schema-cel-msgexpr-bad", "validation/schema-cel-msgexpr-syntax",
		"validation/schema-cel-oldself-atomic", "validation/schema-cel-syntax", "validation/schema-cel-type",
		"validation/schema-cel-unknown-field"} {
		skip["crd/"+id] = "needs a CEL compiler"
	}
	observedtest.RunSequences(t, scheme.New(Resources()), observedtest.Options{Skip: skip, Settle: establish},
		"crd.jsonl", "machinery-negotiation.jsonl")
}

// establish is what the controllers do with a definition without conflicts.
func establish(obj runtime.Object) {
	d := obj.(*apiextensionsv1.CustomResourceDefinition)
	d.Status.AcceptedNames = d.Spec.Names
	d.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{
		{Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue, Reason: "NoConflicts",
			Message: "no conflicts found", LastTransitionTime: d.CreationTimestamp},
		{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue, Reason: "InitialNamesAccepted",
			Message: "the initial names have been accepted", LastTransitionTime: d.CreationTimestamp},
	}
}
