package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestQuickStart is what the README tells a newcomer to type.
func TestQuickStart(t *testing.T) {
	t.Parallel()
	u := newUser(t, "quick")
	u.run("create", "deployment", "web", "--image="+web, "--port=8080")
	u.run("expose", "deployment", "web", "--port=80", "--target-port=8080")
	u.rolledOut("deployment/web")
	u.client("client")
	u.says("Hello from web-", "client", "timeout", "5", "wget", "-qO-", "http://web")
	u.says("Hello from web-", "client", "timeout", "5", "wget", "-qO-", "http://web.quick.svc.cluster.local")
	u.until("the log tells of it", func() error {
		log, err := u.output("logs", "deployment/web")
		if err == nil && !strings.Contains(log, "GET /") {
			err = fmt.Errorf("it is %q", log)
		}
		return err
	})
}

func TestDeployment(t *testing.T) {
	t.Parallel()
	u := newUser(t, "deployment")
	u.run("create", "deployment", "web", "--image="+web, "--replicas=3")
	u.rolledOut("deployment/web")
	u.run("set", "env", "deployment/web", "GREETING=Salut")
	u.rolledOut("deployment/web")
	u.has("Salut Salut Salut", "pods -l app=web", "{.items[*].spec.containers[0].env[0].value}")
	u.run("rollout", "undo", "deployment/web")
	u.rolledOut("deployment/web")
	u.has("", "pods -l app=web", "{.items[*].spec.containers[0].env[0].value}")
	// A rollout that can't succeed leaves the old pods in place.
	u.run("set", "image", "deployment/web", "web=xebec.dev/web:missing")
	u.until("the new pod says what is wrong", func() error {
		out, err := u.output("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}")
		if err == nil && !strings.Contains(out, "ErrImagePull") && !strings.Contains(out, "ImagePullBackOff") {
			err = fmt.Errorf("reasons are %q", out)
		}
		return err
	})
	u.has("3", "deployment/web", "{.status.availableReplicas}")
	u.run("rollout", "undo", "deployment/web")
	u.run("scale", "deployment/web", "--replicas=1")
	u.rolledOut("deployment/web")
	u.has("1", "deployment/web", "{.status.replicas}")
}

const statefulSet = `
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: http, port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
      - name: web
        image: ` + web + `
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
`

func TestStatefulSet(t *testing.T) {
	t.Parallel()
	u := newUser(t, "stateful")
	u.apply(statefulSet)
	u.rolledOut("statefulset/db")
	u.client("client")
	for i := range 2 {
		ip := u.get(fmt.Sprintf("pod/db-%d", i), "{.status.podIP}")
		u.says(ip, "client", "nslookup", fmt.Sprintf("db-%d.db.stateful.svc.cluster.local", i))
		u.says(fmt.Sprintf("Hello from db-%d", i), "client", "timeout", "5", "wget", "-qO-", fmt.Sprintf("http://db-%d.db:8080", i))
	}
	// A pod that goes comes back under its name.
	uid := u.get("pod/db-0", "{.metadata.uid}")
	u.run("delete", "pod", "db-0")
	u.rolledOut("statefulset/db")
	if u.get("pod/db-0", "{.metadata.uid}") == uid {
		t.Error("db-0 is the same pod")
	}
	u.run("scale", "statefulset/db", "--replicas=1")
	u.until("db-1 goes", func() error {
		if u.try("get", "pod", "db-1") == nil {
			return errNotYet
		}
		return nil
	})
	u.ready("pod/db-0")
}

func TestJob(t *testing.T) {
	t.Parallel()
	u := newUser(t, "jobs")
	u.apply(`
apiVersion: batch/v1
kind: Job
metadata: {name: count}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: ` + busybox + `, command: [sh, -c, 'echo index $JOB_COMPLETION_INDEX']}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: fails}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: ` + busybox + `, command: [sh, -c, 'exit 3']}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: '* * * * *'
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers: [{name: c, image: ` + busybox + `, command: [date]}]
`)
	u.run("wait", "--for=condition=Complete", "job/count", "--timeout="+limit.String())
	u.has("0-2", "job/count", "{.status.completedIndexes}")
	u.until("the job that fails", func() error { return u.try("wait", "--for=condition=Failed", "job/fails", "--timeout=1s") })
	u.has("BackoffLimitExceeded", "job/fails", `{.status.conditions[?(@.type=="Failed")].reason}`)
	u.until("the cron job's first job", func() error {
		out, err := u.output("get", "jobs", "-o", "jsonpath={range .items[*]}{.metadata.ownerReferences[0].name}={.status.succeeded} {end}")
		if err == nil && !strings.Contains(out, "tick=1") {
			err = fmt.Errorf("jobs %q", out)
		}
		return err
	})
}

func TestQuotaAndRights(t *testing.T) {
	t.Parallel()
	u := newUser(t, "limits")
	u.run("create", "quota", "few", "--hard=pods=2")
	u.run("create", "deployment", "web", "--image="+web, "--replicas=4")
	u.has("2", "quota/few", "{.status.used.pods}")
	u.has("2", "deployment/web", "{.status.readyReplicas}")
	u.until("the replica set says why", func() error {
		out, err := u.output("get", "events", "--field-selector=reason=FailedCreate", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, "exceeded quota: few") {
			err = fmt.Errorf("events %q", out)
		}
		return err
	})
	u.run("delete", "quota", "few")
	u.rolledOut("deployment/web")
	err := u.try("get", "secrets", "--as=system:serviceaccount:limits:default")
	if err == nil || !strings.Contains(err.Error(), `cannot list resource "secrets" in API group "" in the namespace "limits"`) {
		t.Errorf("a service account without rights: %v", err)
	}
}
