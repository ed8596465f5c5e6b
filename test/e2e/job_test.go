package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/cluster"
)

// job is a Job whose container runs a script.
func job(name, spec, policy, script string) string {
	return fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: %s}, spec: {%s, template: {spec: {restartPolicy: %s, terminationGracePeriodSeconds: 1,
		containers: [{name: c, image: '%s', command: [sh, -c, %q], volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, emptyDir: {}}]}}}}
---
`, name, spec, policy, busybox, script)
}

const indexed = "completionMode: Indexed, completions: 4, parallelism: 4"

// odd ends well at even indexes only.
const odd = "exit $((JOB_COMPLETION_INDEX % 2))"

func TestJobs(t *testing.T) {
	t.Parallel()
	u := newUser(t, "batch")
	u.apply(job("numbered", indexed, "Never", "echo $(hostname) $JOB_COMPLETION_INDEX") +
		job("each", indexed+", backoffLimitPerIndex: 1", "Never", odd) +
		job("many", indexed+", backoffLimitPerIndex: 0, maxFailedIndexes: 0", "Never", "[ $JOB_COMPLETION_INDEX != 1 ] && sleep 1000; exit 1") +
		job("local", "completions: 2, parallelism: 2", "OnFailure", "[ -e /v/again ] || { touch /v/again; exit 1; }") +
		job("all", indexed+", successPolicy: {rules: [{succeededIndexes: '0-3', succeededCount: 4}]}", "Never", "exit 0") +
		job("count", indexed+", successPolicy: {rules: [{succeededCount: 1}]}", "Never", "[ $JOB_COMPLETION_INDEX = 0 ] || sleep 1000") +
		job("deleted", "completions: 4, parallelism: 2", "Never", "sleep 1000"))
	reason := func(kind string) string { return `{.status.conditions[?(@.type=="` + kind + `")].reason}` }
	u.sub("AP-c614 each index once, and told", func(u user) {
		u.has("0-3", "job/numbered", "{.status.completedIndexes}")
		pods := strings.Fields(u.get("pods -l job-name=numbered", `{range .items[*]}{.metadata.annotations.batch\.kubernetes\.io/job-completion-index}/{.metadata.labels.batch\.kubernetes\.io/job-completion-index}/{.spec.hostname} {end}`))
		slices.Sort(pods)
		for i := range 4 {
			if want := fmt.Sprintf("%d/%d/numbered-%d", i, i, i); len(pods) != 4 || pods[i] != want {
				u.t.Errorf("pods are %q, expected %s", pods, want)
				continue
			}
			log := u.run("logs", "-l", fmt.Sprintf("job-name=numbered,batch.kubernetes.io/job-completion-index=%d", i))
			if want := fmt.Sprintf("numbered-%d %d", i, i); log != want {
				u.t.Errorf("pod %d says %q", i, log)
			}
		}
	})
	u.sub("AP-e5d1 a limit for each index", func(u user) {
		u.has("FailedIndexes", "job/each", reason("Failed"))
		u.has("1,3 0,2 4", "job/each", "{.status.failedIndexes} {.status.completedIndexes} {.status.failed}")
	})
	u.sub("AP-eaa3 too many failed indexes", func(u user) {
		u.has("MaxFailedIndexesExceeded", "job/many", reason("Failed"))
		u.has("", "pods -l job-name=many --field-selector=status.phase=Running", "{.items[*].metadata.name}")
	})
	u.sub("AP-2f85 restarted in its place", func(u user) {
		u.has("True", "job/local", `{.status.conditions[?(@.type=="Complete")].status}`)
		u.has("2", "job/local", "{.status.succeeded}{.status.failed}")
		u.has("1 1", "pods -l job-name=local", "{.items[*].status.containerStatuses[0].restartCount}")
	})
	u.sub("AP-b13a success of all", func(u user) {
		u.has("SuccessPolicy", "job/all", reason("SuccessCriteriaMet"))
		u.has("True", "job/all", `{.status.conditions[?(@.type=="Complete")].status}`)
	})
	u.sub("AP-1dd3 success of some", func(u user) {
		u.has("SuccessPolicy", "job/count", reason("SuccessCriteriaMet"))
		u.has("SuccessPolicy", "job/count", reason("Complete"))
		u.has("0", "job/count", "{.status.completedIndexes}")
		u.has("", "pods -l job-name=count --field-selector=status.phase=Running", "{.items[*].metadata.name}")
	})
	u.sub("AP-f112 deleted with its pods", func(u user) {
		u.has("2", "job/deleted", "{.status.active}")
		u.run("delete", "job", "deleted")
		u.has("", "pods -l job-name=deleted", "{.items[*].metadata.name}")
	})
	u.sub("AP-e9a1 disruptions do not count", evictedIndexes)
}

// evictedIndexes evicts the pod of each index once.
func evictedIndexes(u user) {
	u.apply(job("evicted", "completionMode: Indexed, completions: 2, parallelism: 2, backoffLimit: 0, podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: 'True'}]}]}",
		"Never", "trap 'exit 1' TERM; while [ ! -e /go ]; do sleep 0.1; done"))
	u.placed("job-name=evicted", 2, func([]string) bool { return true })
	first := strings.Fields(u.get("pods -l job-name=evicted", "{.items[*].metadata.name}"))
	for _, pod := range first {
		err := api.PolicyV1().Evictions(u.namespace).Evict(u.t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: u.namespace}})
		if err != nil {
			u.t.Fatal(err)
		}
	}
	u.placed("job-name=evicted", 2, func([]string) bool { return true })
	for _, pod := range strings.Fields(u.get("pods -l job-name=evicted", "{range .items[*]}{.metadata.name}/{.metadata.deletionTimestamp} {end}")) {
		if pod, stays := strings.CutSuffix(pod, "/"); stays && !slices.Contains(first, pod) {
			_, _ = u.output("exec", pod, "--", "touch", "/go") // the container may end before its touch does
		}
	}
	u.has("True", "job/evicted", `{.status.conditions[?(@.type=="Complete")].status}`)
	u.has("2", "job/evicted", "{.status.succeeded}{.status.failed}")
}

const cronJob = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: %s}
spec:
  schedule: '* * * * *'
  concurrencyPolicy: %s
  suspend: %t
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, terminationGracePeriodSeconds: 1, containers: [{name: c, image: ` + busybox + `, command: [sleep, '1000']}]}}}}
---
`

// TestCronJobs looks at two ticks of the clock.
func TestCronJobs(t *testing.T) {
	t.Parallel()
	u := newUser(t, "cron")
	u.apply(fmt.Sprintf(cronJob, "allow", "Allow", false) + fmt.Sprintf(cronJob, "forbid", "Forbid", false) + fmt.Sprintf(cronJob, "replace", "Replace", false) + fmt.Sprintf(cronJob, "suspended", "Allow", true))
	var first string
	for _, n := range []int{1, 2} {
		u.until(fmt.Sprintf("%d jobs at once", n), func() error {
			active, err := u.output("get", "cronjob", "allow", "-o", "jsonpath={.status.active[*].name}")
			if err == nil && len(strings.Fields(active)) < n {
				err = fmt.Errorf("active are %q", active)
			}
			return err
		})
		if n == 1 {
			u.until("the one to be replaced", func() (err error) {
				if first, err = u.output("get", "cronjob", "replace", "-o", "jsonpath={.status.active[*].name}"); first == "" {
					return errNotYet
				}
				return err
			})
		}
	}
	u.sub("AP-957b jobs at once are allowed", func(u user) {
		jobs := strings.Fields(u.get("cronjob/allow", "{.status.active[*].name}"))
		u.has("1 1", "jobs "+strings.Join(jobs[:2], " "), "{.items[*].status.active}")
	})
	u.sub("AP-9ef2 jobs at once are forbidden", func(u user) {
		jobs := 0
		for owner := range strings.FieldsSeq(u.get("jobs", "{.items[*].metadata.ownerReferences[0].name}")) {
			if owner == "forbid" {
				jobs++
			}
		}
		if active := strings.Fields(u.get("cronjob/forbid", "{.status.active[*].name}")); jobs != 1 || len(active) != 1 {
			u.t.Errorf("there are %d jobs, active are %v", jobs, active)
		}
	})
	u.sub("AP-48fc no jobs of the suspended", func(u user) {
		if owners := u.get("jobs", "{.items[*].metadata.ownerReferences[0].name}"); strings.Contains(owners, "suspended") {
			u.t.Errorf("jobs are of %s", owners)
		}
		u.has("", "cronjob/suspended", "{.status.active}{.status.lastScheduleTime}")
	})
	cluster.Eventually(t, "the first is replaced", func() error {
		now, err := u.output("get", "cronjob", "replace", "-o", "jsonpath={.status.active[*].name}")
		if err == nil && (now == first || len(strings.Fields(now)) != 1) {
			time.Sleep(time.Second)
			err = fmt.Errorf("it was %s, active are %s", first, now)
		}
		return err
	})
}
