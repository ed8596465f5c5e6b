package admissionregistration

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func TestRecorded(t *testing.T) {
	faults := recordedFaults(t)
	compile := func(e Expression) string { return faults[keyOf(e.Place, e.Text, len(e.Variables))] }
	observedtest.RunSequences(t, scheme.New(ResourcesWith(compile)), observedtest.Options{}, "admission.jsonl", "machinery-negotiation.jsonl")
}

// recordedFaults is what Kubernetes' compiler said about the expressions of
// the recordings: it shows that each is handed over at the right place and
// that its fault stands at the right place among the others.
func recordedFaults(t *testing.T) map[string]string {
	cases, err := observedtest.Load("admission.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	faults := map[string]string{}
	message := regexp.MustCompile(`(?s)^Invalid value: ("(?:[^"\\]|\\.)*"): (.*)$`)
	for _, c := range cases {
		for i := range c.Steps {
			if i >= len(c.Observed) || c.Observed[i].Code != 422 {
				continue
			}
			for _, cause := range causes(c.Observed[i].Body) {
				at, _ := cause["field"].(string)
				text, _ := cause["message"].(string)
				m := message.FindStringSubmatch(text)
				place, ok := placeOf(at)
				if m == nil || !ok || !strings.Contains(m[2], "compil") && !strings.Contains(m[2], "must evaluate") {
					continue
				}
				expression, err := strconv.Unquote(m[1])
				if err != nil {
					t.Fatal(err)
				}
				faults[keyOf(place, expression, variablesBefore(c.Steps[i].Body, at, place))] = m[2]
			}
		}
	}
	return faults
}

func keyOf(p Place, text string, variables int) string {
	return fmt.Sprint(p, "|", text, "|", variables)
}

func causes(status any) []map[string]any {
	s, _ := status.(map[string]any)
	d, _ := s["details"].(map[string]any)
	list, _ := d["causes"].([]any)
	var out []map[string]any
	for _, c := range list {
		out = append(out, c.(map[string]any))
	}
	return out
}

func placeOf(at string) (Place, bool) {
	for prefix, p := range map[string]Place{"webhooks[": WebhookMatchCondition, "spec.matchConditions": PolicyMatchCondition, "spec.variables": Variable,
		"spec.auditAnnotations": AuditAnnotation} {
		if strings.HasPrefix(at, prefix) {
			return p, true
		}
	}
	switch {
	case strings.HasSuffix(at, ".messageExpression"):
		return MessageExpression, true
	case strings.HasSuffix(at, ".applyConfiguration.expression"):
		return ApplyConfiguration, true
	case strings.HasSuffix(at, ".jsonPatch.expression"):
		return JSONPatch, true
	case strings.HasPrefix(at, "spec.validations"):
		return Validation, true
	}
	return "", false
}

func variablesBefore(body any, at string, p Place) int {
	switch p {
	case WebhookMatchCondition, PolicyMatchCondition:
		return 0
	case Variable:
		n, _ := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(at))
		return n
	}
	b, _ := body.(map[string]any)
	s, _ := b["spec"].(map[string]any)
	list, _ := s["variables"].([]any)
	return len(list)
}
