package e2e

import (
	"fmt"
	"strings"
	"testing"
)

func TestPlacement(t *testing.T) {
	t.Parallel()
	u := newUser(t, "placement")
	a, b := running.Members()[0].Name, running.Members()[1].Name
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
	u.apply(
		fmt.Sprintf(pod, "by-node", "x", "nodeSelector: {kubernetes.io/hostname: "+b+"}") +
			fmt.Sprintf(pod, "apart-1", "apart", "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {group: apart}}}]}}") +
			fmt.Sprintf(pod, "apart-2", "apart", "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {group: apart}}}]}}") +
			fmt.Sprintf(pod, "apart-3", "apart", "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {group: apart}}}]}}"))
	u.ready("pod/by-node")
	u.has(b, "pod/by-node", "{.spec.nodeName}")
	u.until("two of three find a node, and the third says why not", func() error {
		out, err := u.output("get", "pods", "-l", "group=apart", "-o", `jsonpath={range .items[*]}{.spec.nodeName}:{.status.conditions[?(@.type=="PodScheduled")].message}{"\n"}{end}`)
		if err != nil {
			return err
		}
		if !strings.Contains(out, a+":") || !strings.Contains(out, b+":") || !strings.Contains(out, ":0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.") {
			return fmt.Errorf("pods are at %s", out)
		}
		return nil
	})
	// Room is made by a pod that goes.
	u.run("delete", "pods", "-l", "group=apart", "--field-selector=spec.nodeName="+a)
	u.until("the third has a node", func() error {
		out, err := u.output("get", "pods", "-l", "group=apart", "-o", "jsonpath={.items[*].spec.nodeName}")
		if err == nil && len(strings.Fields(out)) != 2 {
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
