package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlacement(t *testing.T) {
	t.Parallel()
	u := newUser(t, "placement")
	all := running.Members()
	a, b := all[0].Name, all[1].Name
	const pod = `
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {group: %s}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: ` + web + `}]
  %s
---
`
	manifest := fmt.Sprintf(pod, "by-node", "x", "nodeSelector: {kubernetes.io/hostname: "+b+"}")
	for i := range len(all) + 1 {
		manifest += fmt.Sprintf(pod, fmt.Sprintf("apart-%d", i), "apart", "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {group: apart}}}]}}")
	}
	u.apply(manifest)
	u.ready("pod/by-node")
	u.sub("AR-e0a1 two nodes that take pods", func(u user) {
		free := 0
		nodes, err := api.CoreV1().Nodes().List(u.t.Context(), metav1.ListOptions{})
		if err != nil {
			u.t.Fatal(err)
		}
		for _, n := range nodes.Items {
			ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
				return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
			})
			if ready && !n.Spec.Unschedulable && len(n.Spec.Taints) == 0 {
				free++
			}
		}
		if free < 2 {
			u.t.Errorf("there are %d", free)
		}
	})
	u.has(b, "pod/by-node", "{.spec.nodeName}")
	why := fmt.Sprintf(":0/%d nodes are available: %d node(s) didn't match pod anti-affinity rules.", len(all), len(all))
	u.until("all but one find a node, and that one says why not", func() error {
		out, err := u.output("get", "pods", "-l", "group=apart", "-o", `jsonpath={range .items[*]}{.spec.nodeName}:{.status.conditions[?(@.type=="PodScheduled")].message}{"\n"}{end}`)
		if err != nil {
			return err
		}
		for _, n := range all {
			if !strings.Contains(out, n.Name+":") {
				err = fmt.Errorf("none at %s: pods are at %s", n.Name, out)
			}
		}
		if err == nil && !strings.Contains(out, why) {
			err = fmt.Errorf("pods are at %s", out)
		}
		if err != nil {
			return err
		}
		return nil
	})
	// Room is made by a pod that goes.
	u.run("delete", "pods", "-l", "group=apart", "--field-selector=spec.nodeName="+a)
	u.until("the last has a node", func() error {
		out, err := u.output("get", "pods", "-l", "group=apart", "-o", "jsonpath={.items[*].spec.nodeName}")
		if err == nil && len(strings.Fields(out)) != len(all) {
			err = fmt.Errorf("they are at %q", out)
		}
		return err
	})
}

// TestThresholds: a cluster of tests is not short of a disk that has room for
// it, however large the disk is.
func TestThresholds(t *testing.T) {
	t.Parallel()
	u := user{t: t, namespace: "default"}
	for _, n := range running.Members() {
		config := u.run("get", "--raw", "/api/v1/nodes/"+n.Name+"/proxy/configz")
		for _, want := range []string{`"nodefs.available":"100Mi"`, `"imagefs.available":"100Mi"`} {
			if !strings.Contains(config, want) {
				t.Errorf("node %s: no %s in %s", n.Name, want, config)
			}
		}
	}
}

// TestAttraction: where pods go that like a node, or one another, or not too
// many of their own.
func TestAttraction(t *testing.T) {
	t.Parallel()
	u := newUser(t, "attraction")
	a, b := running.Members()[0].Name, running.Members()[1].Name
	pod := func(name, labels, spec string) string {
		return fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {%s}}, spec: {terminationGracePeriodSeconds: 1, %s containers: [{name: c, image: '%s'}]}}\n---\n", name, labels, spec, web)
	}
	on := func(operator, node string) string {
		return "{matchExpressions: [{key: kubernetes.io/hostname, operator: " + operator + ", values: [" + node + "]}]}"
	}
	required := func(operator, node string) string {
		return "nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [" + on(operator, node) + "]}}"
	}
	preferred := func(node string) string {
		return "nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: " + on("In", node) + "}]}"
	}
	beside := func(label string) string {
		return "podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {" + label + "}}}]}"
	}
	const few = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {few: 'yes'}}}],"
	u.apply(pod("anchor", "role: anchor", "nodeName: "+b+",") + pod("first", "few: 'yes'", "nodeName: "+a+",") + pod("second", "few: 'yes'", "nodeName: "+a+","))
	u.ready("pod/anchor", "pod/first", "pod/second")
	u.apply(pod("must", "role: x", "affinity: {"+required("In", b)+"},") + pod("must-not", "role: x", "affinity: {"+required("NotIn", b)+"},") +
		pod("likes", "role: x", "affinity: {"+preferred(b)+"},") +
		// What is required goes before what is liked.
		pod("beside", "role: x", "affinity: {"+preferred(a)+", "+beside("role: anchor")+"},") + pod("lonely", "role: x", "affinity: {"+beside("role: nobody")+"},") +
		pod("third", "few: 'yes'", few+" affinity: {"+preferred(a)+"},") + pod("fourth", "few: 'yes'", few+" affinity: {"+preferred(a)+"},"))
	u.ready("pod/must", "pod/must-not", "pod/likes", "pod/beside", "pod/third", "pod/fourth")
	for name, at := range map[string]string{"must": b, "likes": b, "beside": b} {
		u.has(at, "pod/"+name, "{.spec.nodeName}")
	}
	for name, not := range map[string]string{"must-not": b, "third": a, "fourth": a} {
		if now := u.get("pod/"+name, "{.spec.nodeName}"); now == not {
			t.Errorf("pod %s is on %s", name, now)
		}
	}
	// Other tests have nodes of their own meanwhile.
	u.until("lonely says why it pends", func() error {
		why := fmt.Sprintf("%d node(s) didn't match pod affinity rules", len(running.Members()))
		out, err := u.output(getArgs("pod/lonely", `{.status.conditions[?(@.type=="PodScheduled")].status} {.status.conditions[?(@.type=="PodScheduled")].message}`)...)
		if err == nil && !(strings.HasPrefix(out, "False 0/") && strings.Contains(out, why)) {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	})
}

// pends waits until a pod says why it has no node.
func (u user) pends(pod, why string) {
	u.t.Helper()
	u.until(pod+" pends: "+why, func() error {
		out, err := u.output(getArgs("pod/"+pod, `{.spec.nodeName} {.status.conditions[?(@.type=="PodScheduled")].status} {.status.conditions[?(@.type=="PodScheduled")].message}`)...)
		if err == nil && !strings.HasPrefix(out, "False "+why) && !strings.HasPrefix(out, " False "+why) {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	})
}

func TestPreemption(t *testing.T) {
	t.Parallel()
	u := newUser(t, "preemption")
	n := running.Members()[1].Name
	u.run("create", "priorityclass", "urgent", "--value=1000")
	t.Cleanup(func() { u.run("delete", "priorityclass", "urgent") })
	u.run("patch", "node", n, "--subresource=status", "-p", `{"status":{"capacity":{"example.com/seat":"1"},"allocatable":{"example.com/seat":"1"}}}`)
	const pod = `
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  priorityClassName: %q
  terminationGracePeriodSeconds: 1
  containers: [{name: web, image: ` + web + `, resources: {requests: {example.com/seat: 1}, limits: {example.com/seat: 1}}}]
`
	u.apply(fmt.Sprintf(pod, "low", ""))
	u.ready("pod/low")
	u.apply(fmt.Sprintf(pod, "high", "urgent"))
	u.ready("pod/high")
	if err := u.try("get", "pod", "low"); err == nil {
		t.Error("the pod of low priority is still there")
	}
	u.until("an event says so", func() error {
		out, err := u.output("get", "events", "--field-selector=reason=Preempted", "-o", "jsonpath={.items[*].involvedObject.name}")
		if err == nil && !strings.Contains(out, "low") {
			err = fmt.Errorf("events of %q", out)
		}
		return err
	})
}

// TestLimits: what a namespace's limits make of pods.
func TestLimits(t *testing.T) {
	t.Parallel()
	u := newUser(t, "limit-range")
	u.sub("SC-f745 defaults, and what is too much", func(u user) {
		limits := func(low string) string {
			return `{apiVersion: v1, kind: LimitRange, metadata: {name: limits}, spec: {limits: [{type: Container, min: {cpu: ` + low + `, memory: 4Mi}, max: {cpu: 500m, memory: 500Mi}, default: {cpu: 300m, memory: 300Mi}, defaultRequest: {cpu: 100m, memory: 20Mi}}]}}`
		}
		u.apply(limits("50m"))
		pod := func(name, resources string) string {
			return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {nodeSelector: {no: such}, terminationGracePeriodSeconds: 0, containers: [{name: c, image: c, resources: {%s}}]}}`, name, resources)
		}
		u.apply(pod("none", ""))
		u.has("100m 20Mi 300m 300Mi", "pod/none", "{.spec.containers[0].resources.requests.cpu} {.spec.containers[0].resources.requests.memory} {.spec.containers[0].resources.limits.cpu} {.spec.containers[0].resources.limits.memory}")
		u.apply(pod("some", "limits: {cpu: 200m}"))
		u.has("200m 20Mi 200m 300Mi", "pod/some", "{.spec.containers[0].resources.requests.cpu} {.spec.containers[0].resources.requests.memory} {.spec.containers[0].resources.limits.cpu} {.spec.containers[0].resources.limits.memory}")
		for name, c := range map[string]struct{ resources, says string }{
			"much":   {"limits: {cpu: 600m}", "maximum cpu usage per Container is 500m, but limit is 600m"},
			"little": {"requests: {cpu: 10m}", "minimum cpu usage per Container is 50m, but request is 10m"},
		} {
			if err := refuses(u.in(pod(name, c.resources)).try("create", "-f", "-"), c.says); err != nil {
				u.t.Error(err)
			}
		}
		u.apply(limits("5m"))
		u.until("the new limits hold", func() error { return u.in(pod("little", "requests: {cpu: 10m}")).try("create", "-f", "-") })
		u.run("delete", "limitrange", "limits")
		u.until("no limits hold", func() error { return u.in(pod("much", "limits: {cpu: 600m}")).try("create", "-f", "-") })
	})
	u.sub("SC-bfa9 a critical pod of the system comes first", func(u user) {
		n := running.Members()[0].Name
		u.run("patch", "node", n, "--subresource=status", "-p", `{"status":{"capacity":{"example.com/throne":"1"},"allocatable":{"example.com/throne":"1"}}}`)
		pod := func(name, namespace, class string) string {
			return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: %s}, spec: {priorityClassName: %q, terminationGracePeriodSeconds: 1,
				containers: [{name: web, image: '%s', resources: {requests: {example.com/throne: 1}, limits: {example.com/throne: 1}}}]}}`, name, namespace, class, web)
		}
		u.apply(pod("usual", u.namespace, ""))
		u.ready("pod/usual")
		system := u
		system.namespace = "kube-system"
		system.apply(pod("critical", "kube-system", "system-cluster-critical"))
		system.ready("pod/critical")
		u.until("the other is gone", func() error { return refuses(u.try("get", "pod", "usual"), "not found") })
		system.run("delete", "pod", "critical", "--now")
	})
}
