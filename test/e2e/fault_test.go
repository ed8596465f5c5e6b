package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// TestDrain: a budget keeps a node from being drained, and when there is room,
// no longer. Evictions ask the API, whoever asks for them.
func TestDrain(t *testing.T) {
	u := newUser(t, "drain")
	u.apply(evictable)
	u.rolledOut("deployment/web")
	u.run("create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=2")
	u.has("0 2 2 2", "poddisruptionbudget/web", "{.status.disruptionsAllowed} {.status.currentHealthy} {.status.desiredHealthy} {.status.expectedPods}")
	other, node := running.Members()[0].Name, running.Members()[1].Name
	pods := u.get("pods -l app=web --field-selector=spec.nodeName="+node, "{.items[*].metadata.name}")
	drain := []string{"drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--pod-selector=app=web"}
	err := u.try(append(drain, "--timeout=3s")...)
	if err == nil || !strings.Contains(err.Error(), "Cannot evict pod as it would violate the pod's disruption budget.") {
		t.Errorf("a drain against the budget: %v", err)
	}
	pod := strings.Fields(pods)[0]
	err = api.PolicyV1().Evictions(u.namespace).Evict(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: u.namespace}})
	if !apierrors.IsTooManyRequests(err) || !apierrors.HasStatusCause(err, policyv1.DisruptionBudgetCause) {
		t.Errorf("an eviction against the budget: %v", err)
	}
	if now := u.get("pods -l app=web --field-selector=spec.nodeName="+node, "{.items[*].metadata.name}"); now != pods {
		t.Errorf("pods on %s were %s, and are %s", node, pods, now)
	}
	u.run("patch", "poddisruptionbudget", "web", "-p", `{"spec":{"minAvailable":1}}`)
	u.sub("AP-da60 what a budget allows", func(u user) {
		u.has("1 2 1 2", "poddisruptionbudget/web", "{.status.disruptionsAllowed} {.status.currentHealthy} {.status.desiredHealthy} {.status.expectedPods}")
	})
	// One at a time: the other must be ready elsewhere first.
	u.run(append(drain, "--timeout=90s")...)
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
