package apiregistration

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apiregistrationv1 "xebec.dev/api/apiregistration/v1"
	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func TestRecorded(t *testing.T) {
	observedtest.RunSequences(t, scheme.New(Resources()), observedtest.Options{
		Skip: map[string]string{"aggregation-flow/apiservice/group-missing": "exists from the start"},
	}, "aggregation-flow.jsonl", "machinery-negotiation.jsonl")
}

const base = `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1.example.com"},
	"spec":{"group":"example.com","version":"v1","groupPriorityMinimum":1,"versionPriority":1,"service":{"namespace":"n","name":"s"}}}`

func TestValidate(t *testing.T) {
	observedtest.Attempts(t, Resources()[0], base, []observedtest.Attempt{
		{Name: "most", Patch: `{"spec":{"groupPriorityMinimum":20000,"versionPriority":1000}}`},
		{Name: "insecure with a bundle", Patch: `{"spec":{"insecureSkipTLSVerify":true,"caBundle":"YQ=="}}`,
			Want: []string{`spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present`}},
		{Name: "core group", Patch: `{"metadata":{"name":"v1."},"spec":{"group":null}}`},
		{Name: "core group at another version", Patch: `{"metadata":{"name":"v2."},"spec":{"group":null,"version":"v2"}}`,
			Want: []string{`spec.group: Required value: only v1 may have an empty group and it better be legacy kube`}},
		{Name: "name with a slash", Patch: `{"metadata":{"name":"v1/x"},"spec":{}}`, Want: []string{
			`metadata.name: Invalid value: "v1/x": may not contain '/'`,
			"metadata.name: Invalid value: \"v1/x\": must be `spec.version+\".\"+spec.group`: \"v1.example.com\""}},
		{Name: "update", Old: base, Patch: `{"spec":{"versionPriority":0}}`,
			Want: []string{`spec.versionPriority: Invalid value: 0: must be positive and less than 1000`}},
		{Name: "status", Old: base, Subresource: "status", Patch: `{"spec":{"versionPriority":0},"status":{"conditions":[{"type":"A","status":"Maybe"}]}}`,
			Want: []string{`status.conditions[0].status: Unsupported value: "Maybe": supported values: "True", "False", "Unknown"`}},
	})
}

func TestLocal(t *testing.T) {
	s := &apiregistrationv1.APIService{}
	now := metav1.Now()
	prepareCreate(scheme.Context{Now: now}, s)
	if c := s.Status.Condition(apiregistrationv1.Available); c == nil || c.Status != "True" || c.Reason != "Local" || c.LastTransitionTime != now {
		t.Errorf("%+v", s.Status)
	}
}

func TestRow(t *testing.T) {
	now := metav1.Now()
	s := &apiregistrationv1.APIService{}
	s.CreationTimestamp = metav1.NewTime(now.Add(-time.Minute))
	s.Spec.Service = &apiregistrationv1.ServiceReference{Namespace: "n", Name: "s"}
	s.Status.Conditions = []apiregistrationv1.APIServiceCondition{{Type: "Available", Status: "False", Reason: "R"}}
	if got := row(s, now); got[1] != "n/s" || got[2] != "False (R)" || got[3] != "60s" {
		t.Errorf("%v", got)
	}
	s.Spec.Service, s.Status.Conditions = nil, nil
	if got := row(s, now); got[1] != "Local" || got[2] != "Unknown" {
		t.Errorf("%v", got)
	}
	s.Status.Conditions = []apiregistrationv1.APIServiceCondition{apiregistrationv1.LocalAvailable(now)}
	if got := row(s, now); got[2] != "True" {
		t.Errorf("%v", got)
	}
}
