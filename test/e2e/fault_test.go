package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"xebec.dev/test/cluster"
)

// These tests break things that the others share, so they run by themselves.

// pods that have ended never come back; a deployment's do.
const evictable = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {kubernetes.io/os: linux}
      tolerations:
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 3}
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 3}
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      containers: [{name: web, image: ` + web + `, readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`

// placed waits until the deployment's pods run on nodes as wanted.
func (u user) placed(selector string, n int, check func(nodes []string) bool) {
	u.t.Helper()
	u.until(fmt.Sprintf("%d ready pods of %s where they should be", n, selector), func() error {
		out, err := u.output("get", "pods", "-l", selector, "-o", `jsonpath={range .items[*]}{.spec.nodeName}/{.status.conditions[?(@.type=="Ready")].status}/{.metadata.deletionTimestamp}{" "}{end}`)
		if err != nil {
			return err
		}
		var nodes []string
		for p := range strings.FieldsSeq(out) {
			if node, ok := strings.CutSuffix(p, "/True/"); ok {
				nodes = append(nodes, node)
			}
		}
		if len(nodes) != n || !check(nodes) {
			return fmt.Errorf("pods are %s", out)
		}
		return nil
	})
}

func TestDrain(t *testing.T) {
	u := newUser(t, "drain")
	u.apply(evictable)
	u.rolledOut("deployment/web")
	u.run("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1")
	u.has("1", "poddisruptionbudget/web", "{.status.disruptionsAllowed}")
	other, node := running.Members()[0].Name, running.Members()[1].Name
	u.run("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s")
	u.placed("app=web", 2, func(nodes []string) bool { return nodes[0] == other && nodes[1] == other })
	u.run("uncordon", node)
	u.has("", "node/"+node, "{.spec.taints}")
}

// TestNodeLost: a node falls silent; its pods are made elsewhere, and it may
// come back.
func TestNodeLost(t *testing.T) {
	u := newUser(t, "lost")
	other, lost := running.Members()[0], running.Members()[1]
	u.apply(evictable)
	u.placed("app=web", 2, func(nodes []string) bool { return nodes[0] != nodes[1] })
	if err := running.Cut(lost); err != nil {
		t.Fatal(err)
	}
	mended := false
	defer func() {
		if !mended {
			t.Log(running.Mend(lost))
		}
	}()
	u.has("Unknown", "node/"+lost.Name, `{.status.conditions[?(@.type=="Ready")].status}`)
	u.placed("app=web", 2, func(nodes []string) bool { return nodes[0] == other.Name && nodes[1] == other.Name })
	mended = true
	if err := running.Mend(lost); err != nil {
		t.Fatal(err)
	}
	u.has("True", "node/"+lost.Name, `{.status.conditions[?(@.type=="Ready")].status}`)
	u.has("", "node/"+lost.Name, "{.spec.taints}")
	// What it ran on while it was alone is gone for good.
	u.placed("app=web", 2, func([]string) bool { return true })
}

// processes of a cluster's node, by the name of their program.
func processes(t *testing.T, n *cluster.Node, program string) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, comm := range all {
		text, err := os.ReadFile(comm)
		if err != nil || strings.TrimSpace(string(text)) != program[:min(len(program), 15)] {
			continue
		}
		dir := filepath.Dir(comm)
		groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !strings.Contains(string(groups), n.NetNS) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
