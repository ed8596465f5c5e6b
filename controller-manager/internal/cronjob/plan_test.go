package cronjob

import (
	"strconv"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/controller-manager/internal/golden"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	out, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPlan reads lines "schedule …", "made TIME", "last TIME", "zone NAME",
// "policy NAME", "deadline SECONDS", "suspended", "active NAME", "job NAME
// START [Complete|Failed]" and "now TIME". A job called c-MINUTE was made here.
func TestPlan(t *testing.T) {
	golden.Run(t, "testdata/plan.txt", func(t *testing.T, in []string) string {
		utc, keep := "UTC", int32(1)
		c := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "c"}, Spec: batchv1.CronJobSpec{TimeZone: &utc, SuccessfulJobsHistoryLimit: &keep, FailedJobsHistoryLimit: &keep}}
		var jobs []*batchv1.Job
		var now time.Time
		for _, line := range in {
			w := strings.Fields(line)
			rest := strings.TrimSpace(strings.TrimPrefix(line, w[0]))
			switch w[0] {
			case "schedule":
				c.Spec.Schedule = rest
			case "made":
				c.CreationTimestamp.Time = at(t, w[1])
			case "last":
				c.Status.LastScheduleTime = &metav1.Time{Time: at(t, w[1])}
			case "zone":
				c.Spec.TimeZone = &w[1]
			case "policy":
				c.Spec.ConcurrencyPolicy = batchv1.ConcurrencyPolicy(w[1])
			case "deadline":
				n, err := strconv.ParseInt(w[1], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				c.Spec.StartingDeadlineSeconds = &n
			case "suspended":
				yes := true
				c.Spec.Suspend = &yes
			case "active":
				c.Status.Active = append(c.Status.Active, corev1.ObjectReference{Name: w[1], UID: types.UID(w[1])})
			case "job":
				jobs = append(jobs, job(t, w[1:]))
			case "now":
				now = at(t, w[1])
			}
		}
		return plan(c, jobs, now).String()
	})
}

func job(t *testing.T, w []string) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: w[0], UID: types.UID(w[0])}}
	if strings.HasPrefix(w[0], "c-") {
		j.Annotations = map[string]string{scheduledAt: w[1]}
	}
	j.Status.StartTime = &metav1.Time{Time: at(t, w[1])}
	if len(w) > 2 {
		j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobConditionType(w[2]), Status: corev1.ConditionTrue}}
		j.Status.CompletionTime = &metav1.Time{Time: j.Status.StartTime.Add(time.Minute)}
	}
	return j
}

// every is a schedule of one moment a step.
type every time.Duration

func (e every) Next(t time.Time) time.Time { return t.Truncate(time.Duration(e)).Add(time.Duration(e)) }

func TestLatest(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 30, 0, time.UTC)
	for _, c := range []struct {
		step    time.Duration
		since   time.Duration // before now
		ago     time.Duration // of the answer; -1 for none
		missedN int
	}{
		{time.Minute, 20 * time.Second, -1, 0},
		{time.Minute, 91 * time.Second, 30 * time.Second, 2},
		{time.Minute, 10 * 365 * 24 * time.Hour, 30 * time.Second, manyMissed + 1},
		{time.Hour, 10 * 365 * 24 * time.Hour, 30 * time.Second, manyMissed + 1},
		{40 * 24 * time.Hour, 10 * 365 * 24 * time.Hour, 0, 0},
	} {
		s := every(c.step)
		got, missed := latest(s, now.Add(-c.since), now)
		if c.ago == 0 { // a slow schedule: the rule itself
			if got.IsZero() || got.After(now) || !s.Next(got).After(now) {
				t.Errorf("every %v: %v", c.step, got)
			}
			continue
		}
		if c.ago < 0 != got.IsZero() || c.ago > 0 && now.Sub(got) != c.ago || missed != c.missedN {
			t.Errorf("every %v since %v: %v, %d missed", c.step, c.since, got, missed)
		}
	}
}

// TestScheduledTimestamp: the moment in a job's annotation is in the cron job's
// time zone, and in UTC when it has none, wherever this program runs.
func TestScheduledTimestamp(t *testing.T) {
	berlin := "Europe/Berlin"
	zone, err := time.LoadLocation(berlin)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, zone)
	for want, name := range map[string]*string{"2026-07-01T12:00:00+02:00": &berlin, "2026-07-01T10:00:00Z": nil} {
		c := &batchv1.CronJob{Spec: batchv1.CronJobSpec{TimeZone: name}}
		if got := newJob(c, at).Annotations[scheduledAt]; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
