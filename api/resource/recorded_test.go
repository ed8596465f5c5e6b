package resource

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"xebec.dev/api/observedtest"
	"xebec.dev/api/scheme"
)

func TestRecorded(t *testing.T) {
	faults := recordedFaults(t)
	compile := func(expression string, _ bool) *Fault {
		// Its answer does not show the expression.
		if strings.Contains(expression, "all(g,") {
			return &Fault{TooCostly: true}
		}
		if f, ok := faults[expression]; ok {
			return &Fault{Message: f}
		}
		return nil
	}
	observedtest.RunSequences(t, scheme.New(ResourcesWith(compile)), observedtest.Options{
		Skip: map[string]string{"resource-claims/template/admin": "needs the namespace's labels"},
	}, "resource-claims.jsonl", "machinery-negotiation.jsonl")
}

// recordedFaults is what Kubernetes' compiler said about the expressions of
// the recordings: it shows that faults stand at the right place.
func recordedFaults(t *testing.T) map[string]string {
	cases, err := observedtest.Load("resource-claims.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	faults := map[string]string{}
	message := regexp.MustCompile(`(?s)^Invalid value: ("(?:[^"\\]|\\.)*"): (.*)$`)
	for _, c := range cases {
		for _, o := range c.Observed {
			status, _ := o.Body.(map[string]any)
			details, _ := status["details"].(map[string]any)
			causes, _ := details["causes"].([]any)
			for _, cause := range causes {
				cause := cause.(map[string]any)
				at, _ := cause["field"].(string)
				text, _ := cause["message"].(string)
				if m := message.FindStringSubmatch(text); m != nil && strings.HasSuffix(at, ".cel.expression") {
					expression, err := strconv.Unquote(m[1])
					if err != nil {
						t.Fatal(err)
					}
					faults[expression] = m[2]
				}
			}
		}
	}
	return faults
}
