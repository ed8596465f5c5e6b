package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// controlPlane are the static pods of the first node.
var controlPlane = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}

// takePlane ends the control plane, as an administrator would; the function
// brings it back.
func takePlane(t *testing.T) (back func()) {
	t.Helper()
	first := running.Members()[0]
	from, to := first.Path("/etc/kubernetes/manifests"), first.Path("/etc/kubernetes/manifests-away")
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	move := func(from, to string) {
		t.Helper()
		for _, name := range controlPlane {
			if err := os.Rename(filepath.Join(from, name+".yaml"), filepath.Join(to, name+".yaml")); err != nil {
				t.Error(err)
			}
		}
	}
	move(from, to)
	gone := false
	back = func() {
		if !gone {
			gone = true
			move(to, from)
		}
	}
	t.Cleanup(back)
	for deadline := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		var left []string
		for _, name := range controlPlane {
			if len(processes(t, first, name)) > 0 {
				left = append(left, name)
			}
		}
		if len(left) == 0 {
			return back
		}
		if time.Now().After(deadline) {
			t.Fatalf("without their manifests these run: %v", left)
		}
	}
}

// TestPlaneAway: without any control plane what runs goes on: connections,
// new ones, names, restarts of what crashes or is ill. When it is back nothing
// was made twice.
func TestPlaneAway(t *testing.T) {
	u := newUser(t, "plane")
	u.apply(servers + `
---
apiVersion: v1
kind: Pod
metadata: {name: crashes}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: ` + busybox + `, command: [sleep, '100000']}
  - name: ill
    image: ` + busybox + `
    command: [sh, -c, 'touch /well; exec sleep 100000']
    startupProbe: {exec: {command: [test, -e, /well]}, periodSeconds: 1, failureThreshold: 1000, timeoutSeconds: 60}
    livenessProbe: {exec: {command: [test, -e, /well]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 60}
`)
	u.rolledOut("deployment/server")
	u.ready("pod/holder", "pod/crashes")
	first, second := running.Members()[0], running.Members()[1]
	service := u.get("service/server", "{.spec.clusterIP}")
	pods := u.get("pods", "{range .items[*]}{.metadata.name}={.metadata.uid} {end}")
	before, err := tasks(u.namespace)
	if err != nil {
		t.Fatal(err)
	}
	victim := strings.TrimPrefix(u.get("pod/crashes", `{.status.containerStatuses[?(@.name=="c")].containerID}`), "containerd://")
	ill := strings.TrimPrefix(u.get("pod/crashes", `{.status.containerStatuses[?(@.name=="ill")].containerID}`), "containerd://")
	if before[victim].pid == "" || before[ill].pid == "" {
		t.Fatalf("containers %s and %s are not among %v", victim, ill, before)
	}
	u.until("the Service answers on both nodes", func() error {
		for i := range 2 {
			if _, err := fromNode(i, "http://"+service+"/hostname"); err != nil {
				return err
			}
		}
		return nil
	})
	callers := []*caller{call(t, first, "hold", service+":80"), call(t, second, "hold", service+":80"), call(t, first, "call", service+":80"), call(t, second, "call", service+":80")}

	back := takePlane(t)
	if err := u.try("get", "pods", "--request-timeout=5s"); err == nil {
		t.Error("the API answers without a control plane")
	}
	pid, err := strconv.Atoi(before[victim].pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove("/proc/" + before[ill].pid + "/root/well"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	u.until("what crashed and what was ill run again", func() error {
		now, err := tasks(u.namespace)
		if err == nil && (now[victim].pid != "" || now[ill].pid != "" || len(now) != len(before)) {
			err = fmt.Errorf("processes were %v, and are %v", before, now)
		}
		return err
	})
	u.named(first, "10.96.0.1", "kubernetes.default.svc.cluster.local.")
	u.named(second, service, "server.plane.svc.cluster.local.")
	back()
	u.until("the API answers", func() error { return u.try("get", "--raw=/readyz") })
	for _, n := range []string{first.Name, second.Name} {
		u.has("True", "node/"+n, readyOf)
	}
	for _, c := range callers {
		words := c.end(t)
		if !strings.Contains(words, "failed 0") && !strings.Contains(words, "and no break") {
			t.Errorf("%s: %s", c.name, words)
			continue
		}
		t.Logf("%s: %s", c.name, last(words))
	}
	u.has("1 1", "pod/crashes", "{.status.containerStatuses[*].restartCount}")
	// New work is taken, and the old is what it was.
	u.run("scale", "deployment/server", "--replicas=1")
	u.run("scale", "deployment/server", "--replicas=2")
	u.rolledOut("deployment/server")
	now := u.get("pods", "{range .items[*]}{.metadata.name}={.metadata.uid} {end}")
	for pod := range strings.FieldsSeq(pods) {
		if !strings.HasPrefix(pod, "server-") && !strings.Contains(now, pod) {
			t.Errorf("pods were %s, and are %s", pods, now)
		}
	}
	onlyWanted(u)
}
