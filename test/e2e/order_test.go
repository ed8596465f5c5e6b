package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// ordered is a set whose pods are ready once they are told.
const ordered = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: c
        image: ` + busybox + `
        command: [sleep, '100000']
        readinessProbe: {exec: {command: [test, -e, /ready]}, periodSeconds: 1}
`

// TestStatefulOrder: a set's pods are made one after the other is ready, and go
// one after the other is gone, the last first.
func TestStatefulOrder(t *testing.T) {
	t.Parallel()
	u := newUser(t, "ordered")
	u.apply(ordered)
	const apart = 3 * time.Second // timestamps have seconds
	for i := range 3 {
		pod := fmt.Sprintf("pod/db-%d", i)
		u.has("Running", pod, "{.status.phase}")
		time.Sleep(apart) // a pod that is made too early is made now: its timestamp tells
		told := time.Now().Truncate(time.Second)
		u.run("exec", fmt.Sprintf("db-%d", i), "--", "touch", "/ready")
		u.ready(pod)
		if i == 2 {
			break
		}
		next := fmt.Sprintf("db-%d", i+1)
		u.until(next+" is made", func() error { return u.try("get", "pod", next) })
		made, err := time.Parse(time.RFC3339, u.get("pod/"+next, "{.metadata.creationTimestamp}"))
		if err != nil || made.Before(told) {
			t.Errorf("%s was made at %s, before %s was ready, after %s; %v", next, made, pod, told, err)
		}
	}
	u.rolledOut("statefulset/db")
	pods := api.CoreV1().Pods(u.namespace)
	list, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: "app=db"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := pods.Watch(t.Context(), metav1.ListOptions{LabelSelector: "app=db", ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	u.run("scale", "statefulset/db", "--replicas=0")
	var seen []string
	tell := func(what string) {
		if !slices.Contains(seen, what) {
			seen = append(seen, what)
		}
	}
	for late := time.After(limit); !slices.Contains(seen, "db-0 is gone"); {
		select {
		case e := <-w.ResultChan():
			p, ok := e.Object.(*corev1.Pod)
			switch {
			case !ok:
				t.Fatalf("the watch says %v", e)
			case e.Type == watch.Deleted:
				tell(p.Name + " is gone")
			case p.DeletionTimestamp != nil:
				tell(p.Name + " goes")
			}
		case <-late:
			t.Fatalf("after %s: %v", limit, seen)
		}
	}
	if want := []string{"db-2 goes", "db-2 is gone", "db-1 goes", "db-1 is gone", "db-0 goes", "db-0 is gone"}; !slices.Equal(seen, want) {
		t.Errorf("pods went in the order %q", seen)
	}
}

// held is a Deployment whose pods stay until their finalizer goes.
func held(name string) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %[1]s, labels: {app: %[1]s}}, spec: {replicas: 2, selector: {matchLabels: {app: %[1]s}},
		template: {metadata: {labels: {app: %[1]s}, finalizers: [example.com/held]}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: web, image: '%[2]s'}]}}}}`, name, web)
}

// release takes the finalizer off a selector's pods.
func (u user) release(selector string) {
	u.t.Helper()
	for pod := range strings.FieldsSeq(u.get("pods -l "+selector, "{.items[*].metadata.name}")) {
		u.run("patch", "pod", pod, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	}
}

// kinds waits until the objects of a selector are of these kinds only, with
// how many there are of each.
func (u user) kinds(want, selector string) {
	u.t.Helper()
	u.until(fmt.Sprintf("of %s there are %q", selector, want), func() error {
		out, err := u.output("get", "deployments,replicasets,pods", "-l", selector, "-o", `jsonpath={range .items[*]}{.kind}{"\n"}{end}`)
		if err != nil {
			return err
		}
		count := map[string]int{}
		for kind := range strings.FieldsSeq(out) {
			count[kind]++
		}
		if got := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(count), "map["), "]"); got != want {
			return fmt.Errorf("there are %q", got)
		}
		return nil
	})
}

// TestCascade: what becomes of the owned when their owner goes, in each of the
// three ways.
func TestCascade(t *testing.T) {
	t.Parallel()
	u := newUser(t, "cascade")
	for _, name := range []string{"background", "foreground", "orphan"} {
		u.apply(held(name))
	}
	for _, name := range []string{"background", "foreground", "orphan"} {
		u.rolledOut("deployment/" + name)
	}
	going := func(selector string) {
		t.Helper()
		u.until("the pods of "+selector+" go", func() error {
			out, err := u.output("get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.deletionTimestamp}")
			if err == nil && len(strings.Fields(out)) != 2 {
				err = fmt.Errorf("going since %q", out)
			}
			return err
		})
	}
	u.sub("in the background owners go first", func(u user) {
		u.run("delete", "deployment", "background", "--cascade=background", "--wait=false")
		u.kinds("Pod:2", "app=background")
		going("app=background")
		u.release("app=background")
		u.kinds("", "app=background")
	})
	u.sub("in the foreground owners go last", func(u user) {
		u.run("delete", "deployment", "foreground", "--cascade=foreground", "--wait=false")
		going("app=foreground")
		u.has("foregroundDeletion foregroundDeletion", "deployments,replicasets -l app=foreground", "{.items[*].metadata.finalizers[*]}")
		u.kinds("Deployment:1 Pod:2 ReplicaSet:1", "app=foreground")
		u.release("app=foreground")
		u.kinds("", "app=foreground")
	})
	u.sub("orphans stay, and work", func(u user) {
		pods := u.get("pods -l app=orphan", "{.items[*].metadata.uid}")
		u.run("delete", "deployment", "orphan", "--cascade=orphan")
		u.has("", "replicasets -l app=orphan", "{.items[*].metadata.ownerReferences}")
		set := u.get("replicasets -l app=orphan", "{.items[*].metadata.name}")
		u.run("scale", "replicaset/"+set, "--replicas=3")
		u.has("3", "replicaset/"+set, "{.status.readyReplicas}")
		now := u.get("pods -l app=orphan", "{range .items[*]}{.metadata.uid}/{.metadata.deletionTimestamp} {end}")
		for uid := range strings.FieldsSeq(pods) {
			if !strings.Contains(now, uid+"/ ") && !strings.HasSuffix(now, uid+"/") {
				u.t.Errorf("pods were %s, and are %s", pods, now)
			}
		}
		u.run("delete", "replicaset", set, "--cascade=orphan")
		u.has("", "pods -l app=orphan", "{.items[*].metadata.ownerReferences}")
		u.has("", "pods -l app=orphan", "{.items[*].metadata.deletionTimestamp}")
		u.run("delete", "pods", "-l", "app=orphan", "--wait=false")
		u.release("app=orphan")
		u.kinds("", "app=orphan")
	})
}

// TestNamespaceEnds: a namespace goes with all that is in it, says what it
// waits for, and is empty when it is made again.
func TestNamespaceEnds(t *testing.T) {
	t.Parallel()
	u := newUser(t, "ends")
	u.run("create", "deployment", "web", "--image="+web, "--replicas=2")
	u.run("create", "configmap", "kept")
	u.run("patch", "configmap", "kept", "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/held"]}}`)
	u.run("create", "secret", "generic", "key", "--from-literal=key=one")
	u.rolledOut("deployment/web")
	u.run("delete", "namespace", "ends", "--wait=false")
	condition := func(kind string) string { return `{.status.conditions[?(@.type=="` + kind + `")].status}` }
	u.has("True", "namespace/ends", condition("NamespaceFinalizersRemaining"))
	u.has("Terminating True", "namespace/ends", "{.status.phase} "+condition("NamespaceContentRemaining"))
	u.until("what is not held is gone", func() error {
		out, err := u.output("get", "pods,deployments,replicasets,secrets,serviceaccounts", "-o", "name")
		if err == nil && out != "" {
			err = fmt.Errorf("there are %s", out)
		}
		return err
	})
	if err := refuses(u.try("create", "configmap", "late"), "because it is being terminated"); err != nil {
		t.Error(err)
	}
	if left, err := tasks("ends"); err != nil || len(left) > 0 {
		t.Errorf("processes of its pods are left: %v, %v", left, err)
	}
	u.run("patch", "configmap", "kept", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	u.until("the namespace is gone", func() error { return refuses(u.try("get", "namespace", "ends"), "not found") })
	u.run("create", "namespace", "ends")
	if out := u.run("get", "configmaps,secrets,deployments,pods", "-o", "name"); strings.Contains(out, "kept") || strings.Contains(out, "key") || strings.Contains(out, "web") {
		t.Errorf("a namespace that is made again has %s", out)
	}
}

// TestRolls: while a Deployment rolls, and rolls back, none of its Service's
// clients is refused, and there are never fewer pods than it says.
func TestRolls(t *testing.T) {
	t.Parallel()
	u := newUser(t, "rolls")
	u.apply(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: server}, spec: {replicas: 3, strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}, selector: {matchLabels: {app: server}},
		template: {metadata: {labels: {app: server}}, spec: {terminationGracePeriodSeconds: 60, containers: [{name: c, image: '` + agent + `', args: [serve],
			lifecycle: {preStop: {sleep: {seconds: 15}}}, readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1, timeoutSeconds: 60}}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: server}, spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}}`)
	u.rolledOut("deployment/server")
	address := u.get("service/server", "{.spec.clusterIP}") + ":80"
	for i := range running.Members() {
		u.until("the Service answers", func() error { _, err := fromNode(i, "http://"+address+"/hostname"); return err })
	}
	u.until("there are three endpoints", func() error {
		got, err := u.endpoints("server")
		if err == nil && strings.Count(got, "=true") != 3 {
			err = fmt.Errorf("they are %s", got)
		}
		return err
	})
	w, err := api.DiscoveryV1().EndpointSlices(u.namespace).Watch(t.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=server"})
	if err != nil {
		t.Fatal(err)
	}
	var calls []*caller
	for _, n := range running.Members() {
		calls = append(calls, call(t, n, "call", address))
	}
	var least int
	var seen []string
	watched := make(chan struct{})
	go func() { least, seen = fewest(w); close(watched) }()
	// versions are those of pods that stay: the others may take their time.
	versions := func() string {
		out := u.get("pods -l app=server", `{range .items[*]}{.metadata.deletionTimestamp}={.spec.containers[0].env[0].value}{"\n"}{end}`)
		var stay []string
		for line := range strings.Lines(out) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "="); ok {
				stay = append(stay, v)
			}
		}
		return strings.Join(stay, " ")
	}
	u.run("set", "env", "deployment/server", "VERSION=2")
	u.rolledOut("deployment/server")
	if now := versions(); now != "2 2 2" {
		t.Errorf("pods have the versions %q", now)
	}
	u.run("rollout", "undo", "deployment/server")
	u.rolledOut("deployment/server")
	u.until("the old pods are gone", func() error {
		out, err := u.output("get", "pods", "-l", "app=server", "-o", "jsonpath={.items[*].spec.containers[0].env[0].value}")
		if err == nil && out != "" {
			err = errNotYet
		}
		return err
	})
	for _, c := range calls {
		if words := c.end(t); !strings.Contains(words, "failed 0") {
			t.Errorf("%s: %s", c.name, words)
		}
	}
	w.Stop()
	if <-watched; least < 3 {
		t.Errorf("%d pods were ready at a time, expected 3 at least:\n%s", least, strings.Join(seen, "\n"))
	}
}

// fewest is how many endpoints of a Service were ready when there were fewest,
// and what they were over time.
func fewest(w watch.Interface) (least int, seen []string) {
	least = 1 << 20
	slices := map[string]int{}
	for e := range w.ResultChan() {
		s, ok := e.Object.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		var ready []string
		for _, p := range s.Endpoints {
			if *p.Conditions.Ready {
				ready = append(ready, p.TargetRef.Name)
			}
		}
		if slices[s.Name] = len(ready); e.Type == watch.Deleted {
			delete(slices, s.Name)
		}
		all := 0
		for _, n := range slices {
			all += n
		}
		least = min(least, all)
		seen = append(seen, fmt.Sprintf("%s %s of %s at %s: %v", e.Type, s.Name, s.ResourceVersion, time.Now().UTC().Format("15:04:05.000"), ready))
	}
	return least, seen
}
