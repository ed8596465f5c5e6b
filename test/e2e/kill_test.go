package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xebec.dev/test/cluster"
)

// servers are what must not notice: two pods behind a Service, and a pod that
// holds a connection to it.
const servers = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  replicas: 2
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: server}}}]}}
      containers: [{name: c, image: ` + agent + `, args: [serve], readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}}]
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec: {selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: holder}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  containers: [{name: c, image: ` + agent + `, args: [hold, 'server:80']}]
`

// caller is the program of client/ on a node.
type caller struct {
	name string
	cmd  *exec.Cmd
	out  bytes.Buffer
}

func call(t *testing.T, n *cluster.Node, verb, address string) *caller {
	t.Helper()
	c := &caller{name: verb + " on " + n.Name, cmd: n.Command(context.Background(), clientProgram, verb, address)}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// end stops the caller and gives what it said.
func (c *caller) end(t *testing.T) string {
	t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // one that has ended is told by its words
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("%s: %v", c.name, err)
	}
	return c.out.String()
}

// process is one in a container, by its runtime; began is in clock ticks.
type process struct{ pid, began string }

// tasks are the running processes of a namespace's containers and sandboxes,
// as the nodes' runtimes know them.
func tasks(namespace string) (map[string]process, error) {
	found := map[string]process{}
	for _, n := range running.Members() {
		ctr := func(args ...string) (string, error) {
			out, err := exec.Command(filepath.Join(running.Bin, "ctr"), append([]string{"-a", n.Socket(), "-n", "k8s.io"}, args...)...).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("ctr %s on %s: %w: %s", strings.Join(args, " "), n.Name, err, out)
			}
			return string(out), err
		}
		ids, err := ctr("containers", "ls", "-q", `labels."io.kubernetes.pod.namespace"==`+namespace)
		if err != nil {
			return nil, err
		}
		list, err := ctr("tasks", "ls")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(list) {
			f := strings.Fields(line)
			if len(f) != 3 || f[2] != "RUNNING" || !strings.Contains(ids, f[0]) {
				continue
			}
			stat, err := os.ReadFile("/proc/" + f[1] + "/stat")
			if err != nil {
				continue // it has just ended
			}
			fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			found[f[0]] = process{f[1], fields[19]}
		}
	}
	return found, nil
}

// daemon is one to kill.
type daemon struct {
	name string
	node *cluster.Node
}

func (d daemon) String() string { return d.name + " of " + d.node.Name }

func (d daemon) pids(t *testing.T) []int {
	if d.name == "kubelet" || d.name == "containerd" {
		if pid := d.node.Pid(d.name); pid != 0 {
			return []int{pid}
		}
		return nil
	}
	return processes(t, d.node, d.name)
}

// kill ends a daemon's processes and waits until there are others.
func (d daemon) kill(t *testing.T) {
	t.Helper()
	old := d.pids(t)
	if len(old) == 0 {
		t.Errorf("no process of %s", d)
		return
	}
	for _, pid := range old {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("kill %s: %v", d, err)
		}
	}
	cluster.Eventually(t, d.String()+" runs again", func() error {
		now := d.pids(t)
		if len(now) == 0 {
			return errNotYet
		}
		for _, pid := range now {
			for _, o := range old {
				if pid == o {
					return fmt.Errorf("process %d is still there", pid)
				}
			}
		}
		return nil
	})
}

// TestKillDaemons kills each daemon in turn, with kill -9, while workloads are
// being created, calls are made and connections are open. Containers and
// connections do not notice; what was ordered is done once; then it is quiet.
func TestKillDaemons(t *testing.T) {
	u := newUser(t, "kills")
	u.apply(servers)
	u.rolledOut("deployment/server")
	u.ready("pod/holder")
	first, second := running.Members()[0], running.Members()[1]
	address := u.get("service/server", "{.spec.clusterIP}") + ":80"
	var before map[string]process
	u.until("the containers' processes", func() (err error) {
		before, err = tasks(u.namespace)
		if err == nil && len(before) != 6 {
			err = fmt.Errorf("there are %d, of 3 pods: %v", len(before), before)
		}
		return err
	})
	said := u.get("pods", containersOf)

	holds := []*caller{call(t, first, "hold", address), call(t, second, "hold", address)}
	calls := []*caller{call(t, first, "call", address), call(t, second, "call", address)}
	seen := watchPods(t, u.namespace)
	order := startLoad(t, u.namespace)
	names := first
	if len(processes(t, first, "coredns")) == 0 {
		names = second
	}
	victims := []daemon{{"kube-scheduler", first}, {"kube-controller-manager", first}, {"kube-proxy", first}, {"kube-proxy", second},
		{"kubelet", first}, {"kubelet", second}, {"coredns", names}, {"containerd", second}, {"containerd", first}, {"etcd", first}, {"kube-apiserver", first},
		{"kube-controller-manager", first}, {"kube-scheduler", first}}
	for _, d := range victims {
		done := order.progress()
		begun := time.Now()
		d.kill(t)
		// Load goes on over each kill, and the next comes in the middle of it.
		u.until("orders go on after the kill of "+d.String(), func() error {
			if now := order.progress(); now < done+3 {
				return fmt.Errorf("%d orders before, %d now", done, now)
			}
			return nil
		})
		t.Logf("%s was killed; orders went on after %s", d, time.Since(begun).Round(time.Millisecond))
	}
	order.stop()
	order.converged(u)
	for _, c := range append(holds, calls...) {
		words := c.end(t)
		if strings.Contains(words, "failed 0") || strings.Contains(words, "and no break") {
			t.Logf("%s: %s", c.name, last(words))
			continue
		}
		t.Errorf("%s: %s", c.name, words)
	}
	if phase, log := u.get("pod/holder", "{.status.phase}"), u.run("logs", "holder", "--tail=5"); phase != "Running" || !strings.Contains(log, "answers") {
		t.Errorf("the pod that holds a connection is %s: %s", phase, log)
	}
	u.until("the first containers' status is the same", func() error {
		if now := u.get("pods -l !ordered", containersOf); now != said {
			return fmt.Errorf("it was %s, and is %s", said, now)
		}
		return nil
	})
	after, err := tasks(u.namespace)
	if err != nil {
		t.Fatal(err)
	}
	for id, p := range before {
		if after[id] != p {
			t.Errorf("container %s was process %v, and is %v", id, p, after[id])
		}
	}
	for _, n := range running.Members() {
		u.named(n, address[:len(address)-len(":80")], "server.kills.svc.cluster.local.")
	}
	seen.check(t, order)
	onlyWanted(u)
	quiet(t)
}

// named waits until a name has an address, for who asks from a node.
func (u user) named(n *cluster.Node, want, name string) {
	u.t.Helper()
	u.until(fmt.Sprintf("%s is %s, seen from %s", name, want, n.Name), func() error {
		ctx, cancel := context.WithTimeout(u.t.Context(), 20*time.Second)
		defer cancel()
		out, err := n.Command(ctx, clientProgram, "name", "udp", "10.96.0.10", name).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			return fmt.Errorf("%w: %s", errNotYet, out)
		}
		return nil
	})
}

const containersOf = `{range .items[*]}{.metadata.name}={.status.containerStatuses[0].containerID},{.status.containerStatuses[0].state.running.startedAt},{.status.containerStatuses[0].restartCount} {end}`

func last(words string) string {
	lines := strings.Split(strings.TrimSpace(words), "\n")
	return lines[len(lines)-1]
}

// onlyWanted looks that runtimes run each running pod's containers, once, and
// nothing else.
func onlyWanted(u user) {
	u.t.Helper()
	u.until("runtimes run what the API says, once", func() error {
		// A sandbox for each pod.
		names, err := u.output("get", "pods", "-o", `jsonpath={range .items[?(@.status.phase=="Running")]}{.metadata.name} {.spec.containers[*].name} {end}`)
		if err != nil {
			return err
		}
		found, err := tasks(u.namespace)
		if want := len(strings.Fields(names)); err == nil && len(found) != want {
			err = fmt.Errorf("%d processes, of containers and sandboxes; expected %d", len(found), want)
		}
		return err
	})
}
