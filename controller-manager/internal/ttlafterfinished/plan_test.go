package ttlafterfinished

import (
	"strconv"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/controller-manager/internal/golden"
)

// TestPlan reads lines "ttl SECONDS", "deleted" and "CONDITION STATUS AGO".
func TestPlan(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		j := &batchv1.Job{}
		for _, line := range in {
			words := strings.Fields(line)
			switch words[0] {
			case "ttl":
				n, _ := strconv.ParseInt(words[1], 10, 32)
				s := int32(n)
				j.Spec.TTLSecondsAfterFinished = &s
			case "deleted":
				j.DeletionTimestamp = &metav1.Time{Time: now}
			default:
				d, err := time.ParseDuration(words[2])
				if err != nil {
					t.Fatal(err)
				}
				j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{
					Type: batchv1.JobConditionType(words[0]), Status: corev1.ConditionStatus(words[1]), LastTransitionTime: metav1.NewTime(now.Add(-d)),
				})
			}
		}
		switch keep := plan(j, now); {
		case keep < 0:
			return "keep"
		case keep == 0:
			return "delete"
		default:
			return "keep for " + keep.String()
		}
	})
}
