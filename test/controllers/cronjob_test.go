package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cron is a cron job whose jobs' pods end with a code, or run when exit is empty.
func cron(name, exit, extra string) string {
	annotations := ""
	if exit != "" {
		annotations = fmt.Sprintf(`"annotations":{"test/exit":%q}`, exit)
	}
	return fmt.Sprintf(`{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":%q},"spec":{%s"jobTemplate":{"spec":{"template":{"metadata":{%s},
		"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"x"}]}}}}}}`, name, extra, annotations)
}

// last is a patch that says when a cron job has last had a job: it is late
// from then on, and nobody waits for a minute.
func last(at time.Time) string {
	return fmt.Sprintf(`{"status":{"lastScheduleTime":%q}}`, at.UTC().Format(time.RFC3339))
}

func (c *cluster) cron(t testing.TB, ns, name, what string, ok func(*batchv1.CronJob) bool) *batchv1.CronJob {
	t.Helper()
	var now *batchv1.CronJob
	eventually(t, what, func() (err error) {
		if now, err = c.BatchV1().CronJobs(ns).Get(t.Context(), name, metav1.GetOptions{}); err == nil && !ok(now) {
			err = fmt.Errorf("status %+v", now.Status)
		}
		return err
	})
	return now
}

// noEvent looks that nobody has said a thing of an object.
func (c *cluster) noEvent(t testing.TB, ns, object, reason string) {
	t.Helper()
	l, err := c.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l.Items {
		if e.InvolvedObject.Name == object && e.Reason == reason {
			t.Errorf("event of %s: %s: %s", object, e.Reason, e.Message)
		}
	}
}

// cronJobs: one that has missed moments makes a job for the latest, once, in
// its time zone; what is active is listed until it ends.
func cronJobs(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	// Once a day, at a minute of Tokyo's that was some hours ago.
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	moment := time.Now().Add(-5 * time.Hour).In(tokyo).Truncate(time.Minute)
	c.kubectl(t, ns, cron("daily", "", fmt.Sprintf(`"schedule":"%d %d * * *","timeZone":"Asia/Tokyo",`, moment.Minute(), moment.Hour())), "create", "-f", "-")
	c.kubectl(t, ns, "", "patch", "cronjob/daily", "--subresource=status", "--type=merge", "-p", last(moment.Add(-time.Hour)))
	name := fmt.Sprintf("daily-%d", moment.Unix()/60)
	now := c.cron(t, ns, "daily", "the missed job", func(k *batchv1.CronJob) bool { return len(k.Status.Active) == 1 })
	if now.Status.Active[0].Name != name || !now.Status.LastScheduleTime.Time.Equal(moment) {
		t.Errorf("active is %s, last scheduled %s; want %s at %s", now.Status.Active[0].Name, now.Status.LastScheduleTime, name, moment)
	}
	j, err := c.BatchV1().Jobs(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if at := j.Annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"]; at != moment.Format(time.RFC3339) || !strings.HasSuffix(at, "+09:00") {
		t.Errorf("the job says that its moment was %q", at)
	}
	c.event(t, ns, "daily", "cronjob-controller", "SuccessfulCreate", "Created job "+name)
	c.kubectl(t, ns, "", "delete", "job", name)
	c.event(t, ns, "daily", "cronjob-controller", "MissingJob", "Active job went missing: "+name)
	c.cron(t, ns, "daily", "nothing is active", func(k *batchv1.CronJob) bool { return len(k.Status.Active) == 0 })

	// Too many missed, too late, and suspended.
	c.kubectl(t, ns, cron("many", "0", `"schedule":"*/2 * * * *","concurrencyPolicy":"Forbid",`), "create", "-f", "-")
	c.kubectl(t, ns, "", "patch", "cronjob/many", "--subresource=status", "--type=merge", "-p", last(time.Now().Add(-12*time.Hour)))
	c.event(t, ns, "many", "cronjob-controller", "TooManyMissedTimes", "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
	c.event(t, ns, "many", "cronjob-controller", "SawCompletedJob", ", condition: Complete")
	c.cron(t, ns, "many", "its success", func(k *batchv1.CronJob) bool { return k.Status.LastSuccessfulTime != nil && len(k.Status.Active) == 0 })
	c.kubectl(t, ns, cron("late", "0", fmt.Sprintf(`"schedule":"%d %d * * *","timeZone":"Asia/Tokyo","startingDeadlineSeconds":60,`, moment.Minute(), moment.Hour())), "create", "-f", "-")
	c.kubectl(t, ns, cron("rests", "0", `"schedule":"* * * * *","suspend":true,`), "create", "-f", "-")
	for _, name := range []string{"late", "rests"} {
		c.kubectl(t, ns, "", "patch", "cronjob/"+name, "--subresource=status", "--type=merge", "-p", last(time.Now().Add(-24*time.Hour)))
	}
	// Of two that run at once the policy says what becomes.
	for policy, reason := range map[string]string{"Forbid": "JobAlreadyActive", "Replace": "SuccessfulDelete"} {
		name := strings.ToLower(policy)
		c.kubectl(t, ns, cron(name, "", fmt.Sprintf(`"schedule":"%d %d * * *","timeZone":"Asia/Tokyo","concurrencyPolicy":%q,`, moment.Minute(), moment.Hour(), policy)), "create", "-f", "-")
		c.kubectl(t, ns, "", "patch", "cronjob/"+name, "--subresource=status", "--type=merge", "-p", last(moment.Add(-time.Hour)))
		first := c.cron(t, ns, name, "the first job", func(k *batchv1.CronJob) bool { return len(k.Status.Active) == 1 }).Status.Active[0].Name
		// An hour later by another schedule.
		later := moment.Add(time.Hour)
		c.kubectl(t, ns, "", "patch", "cronjob/"+name, "--type=merge", "-p", fmt.Sprintf(`{"spec":{"schedule":"%d %d * * *"}}`, later.Minute(), later.Hour()))
		c.event(t, ns, name, "cronjob-controller", reason, "")
		if policy == "Forbid" {
			if k := c.cron(t, ns, name, "one job", func(k *batchv1.CronJob) bool { return len(k.Status.Active) == 1 }); k.Status.Active[0].Name != first {
				t.Errorf("%s: active is %s, was %s", policy, k.Status.Active[0].Name, first)
			}
			continue
		}
		c.cron(t, ns, name, "the second job instead", func(k *batchv1.CronJob) bool { return len(k.Status.Active) == 1 && k.Status.Active[0].Name != first })
	}
	for _, name := range []string{"late", "rests"} {
		if k := c.cron(t, ns, name, "no job", func(k *batchv1.CronJob) bool { return len(k.Status.Active) == 0 }); time.Since(k.Status.LastScheduleTime.Time) < 23*time.Hour {
			t.Errorf("%s has had a job: %+v", name, k.Status)
		}
	}
	for _, name := range []string{"daily", "many", "forbid", "replace"} {
		c.noEvent(t, ns, name, "UnexpectedJob")
	}
}
