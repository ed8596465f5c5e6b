package resourcequota

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/api/quota"
	"xebec.dev/controller-manager/internal/golden"
	"xebec.dev/controller-manager/internal/podtest"
)

// TestPlan reads lines "hard NAME=N...", "status NAME=USED/HARD...", "used
// NAME=N...", "count NAME=N..." and "charged AGO".
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		o := observed{quota: &corev1.ResourceQuota{}, used: quota.Amounts{}, counts: map[corev1.ResourceName]int64{}, quiet: time.Hour}
		s := &o.quota.Status
		o.quota.Spec.Hard, s.Hard, s.Used = quota.Amounts{}, quota.Amounts{}, quota.Amounts{}
		for _, line := range in {
			words, pairs := golden.Fields(line)
			for k, v := range pairs {
				name := corev1.ResourceName(k)
				switch words[0] {
				case "hard":
					if k != "hard" {
						o.quota.Spec.Hard[name] = resource.MustParse(v)
					}
				case "status":
					if used, hard, ok := strings.Cut(v, "/"); ok {
						s.Used[name], s.Hard[name] = resource.MustParse(used), resource.MustParse(hard)
					}
				case "used":
					if k != "used" {
						o.used[name] = resource.MustParse(v)
					}
				case "count":
					if k != "count" {
						o.counts[name] = int64(podtest.Int(t, v))
					}
				}
			}
			if words[0] == "charged" {
				d, err := time.ParseDuration(words[1])
				if err != nil {
					t.Fatal(err)
				}
				o.quiet = d
			}
		}
		return plan(o).String()
	})
}

func TestCounter(t *testing.T) {
	q := &corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Hard: quota.Amounts{
		"pods": {}, "count/pods": {}, "secrets": {}, "count/deployments.apps": {}, "requests.cpu": {}, "gold.storageclass.storage.k8s.io/requests.storage": {},
	}}}
	got := map[string]bool{}
	for _, r := range counted(q) {
		got[r] = true
	}
	if len(got) != 3 || !got["pods"] || !got["secrets"] || !got["deployments.apps"] {
		t.Errorf("counted %v", got)
	}
}
