package e2e

import (
	"fmt"
	"strings"
	"testing"
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
