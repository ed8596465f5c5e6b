package bootstrapsigner

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/controller-manager/internal/golden"
)

// TestPlan reads lines "data KEY=VALUE" and "token NAME KEY=VALUE...".
func TestPlan(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		data := map[string]string{}
		var tokens []*corev1.Secret
		for _, line := range in {
			words := strings.Fields(line)
			switch words[0] {
			case "data":
				k, v, _ := strings.Cut(words[1], "=")
				data[k] = v
			case "token":
				s := &corev1.Secret{Data: map[string][]byte{}}
				s.Name = words[1]
				for _, w := range words[2:] {
					k, v, _ := strings.Cut(w, "=")
					s.Data[k] = []byte(v)
				}
				tokens = append(tokens, s)
			}
		}
		p, err := plan(data, slices.Values(tokens), now)
		if err != nil {
			return err.Error()
		}
		// What is planned, once done, needs nothing more.
		maps.Copy(data, p.Set)
		for _, k := range p.Remove {
			delete(data, k)
		}
		if again, err := plan(data, slices.Values(tokens), now); err != nil || len(again.Set)+len(again.Remove) > 0 {
			t.Errorf("the plan after the plan: %s, %v", again, err)
		}
		return p.String()
	})
}
