package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"xebec.dev/test/cluster"
)

// everywhere is a server on each node, in pods' network and in nodes'.
const everywhere = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: pods}
spec:
  selector: {matchLabels: {app: pods}}
  template:
    metadata: {labels: {app: pods}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: ` + agent + `, args: [serve]}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: hosts}
spec:
  selector: {matchLabels: {app: hosts}}
  template:
    metadata: {labels: {app: hosts}}
    spec: {terminationGracePeriodSeconds: 1, hostNetwork: true, containers: [{name: c, image: ` + agent + `, args: [serve, '18090', '18091']}]}
`

// TestThirdNode: a node joins, everybody reaches everybody, its power fails and
// its pods are made elsewhere; it comes back and takes part again.
func TestThirdNode(t *testing.T) {
	u := newUser(t, "third")
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	third, err := running.AddNode(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Import(ctx, clientArchive, third); err != nil {
		t.Fatal(err)
	}
	u.has("True", "node/"+third.Name, readyOf)
	u.apply(everywhere)
	u.rolledOut("daemonset/pods")
	u.rolledOut("daemonset/hosts")
	u.reachable(len(running.Members()))

	u.apply(strings.Replace(evictable, "replicas: 2", "replicas: 3", 1))
	u.placed("app=web", 3, func(nodes []string) bool { return slices.Contains(nodes, third.Name) })
	u.apply(strings.Replace(statefulOn(third), "NAME", "kept", 1))
	u.ready("pod/kept-0")
	kept := u.get("pod/kept-0", "{.metadata.uid}")
	if err := third.Kill(); err != nil {
		t.Fatal(err)
	}
	booted := false
	defer func() {
		if !booted {
			t.Log(third.Boot(context.Background()))
		}
	}()
	u.has("Unknown", "node/"+third.Name, readyOf)
	u.until("the node's taints", func() error {
		out, err := u.output("get", "node", third.Name, "-o", `jsonpath={range .spec.taints[*]}{.key}:{.effect} {end}`)
		if err == nil && (!strings.Contains(out, "node.kubernetes.io/unreachable:NoSchedule") || !strings.Contains(out, "node.kubernetes.io/unreachable:NoExecute")) {
			err = fmt.Errorf("they are %q", out)
		}
		return err
	})
	u.placed("app=web", 3, func(nodes []string) bool { return !slices.Contains(nodes, third.Name) })
	// Nobody knows that the pod has ended: one of its name is not made again.
	if now := u.get("pod/kept-0", "{.metadata.uid}"); now != kept {
		t.Errorf("a stateful set's pod of a node that is silent was %s, and is %s", kept, now)
	}
	booted = true
	if err := third.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	u.has("True", "node/"+third.Name, readyOf)
	u.has("", "node/"+third.Name, "{.spec.taints}")
	u.rolledOut("daemonset/pods")
	u.rolledOut("daemonset/hosts")
	u.rolledOut("statefulset/kept")
	u.reachable(len(running.Members()))
	onlyWanted(u)
	u.sub("a taint keeps pods away that do not tolerate it", func(u user) { keptAway(u, third) })
	u.sub("NO-df14 a taint that goes in time evicts nobody", func(u user) { taken(u, third) })
}

// keptAway taints a node; who is there stays, who comes goes elsewhere or waits.
func keptAway(u user, n *cluster.Node) {
	place := "nodeSelector: {kubernetes.io/hostname: " + n.Name + "},"
	u.apply(server("stays", "app: stays", place))
	u.ready("pod/stays")
	u.run("taint", "node", n.Name, "e2e-keep=yes:NoSchedule")
	u.apply(server("waits", "app: waits", place) + server("may", "app: may", place+" tolerations: [{key: e2e-keep, operator: Equal, value: 'yes', effect: NoSchedule}],"))
	u.ready("pod/may")
	others := len(running.Members()) - 1
	u.pends("waits", fmt.Sprintf("0/%d nodes are available: 1 node(s) had untolerated taint(s), %d node(s) didn't match Pod's node affinity/selector.", others+1, others))
	u.has("Running", "pod/stays", "{.status.phase}{.metadata.deletionTimestamp}")
	u.run("taint", "node", n.Name, "e2e-keep-")
	u.ready("pod/waits")
}

// taken taints a node, and takes the taint away before a pod's time is up.
func taken(u user, n *cluster.Node) {
	u.apply(server("tolerates", "app: tolerates", "nodeName: "+n.Name+", tolerations: [{key: e2e-evict, operator: Exists, effect: NoExecute, tolerationSeconds: 8}],") +
		server("does-not", "app: does-not", "nodeName: "+n.Name+","))
	u.ready("pod/tolerates", "pod/does-not")
	tainted := time.Now()
	u.run("taint", "node", n.Name, "e2e-evict=yes:NoExecute")
	u.until("who does not tolerate it is evicted", func() error { return refuses(u.try("get", "pod", "does-not"), "not found") })
	u.run("taint", "node", n.Name, "e2e-evict-")
	if late := time.Since(tainted); late > 8*time.Second {
		u.t.Logf("the taint was there for %s: this machine was too busy to see that it goes in time", late)
		return
	}
	time.Sleep(10 * time.Second) // past the pod's time: what does not happen has no event to wait for
	u.has("Running", "pod/tolerates", "{.status.phase}{.metadata.deletionTimestamp}")
}

const readyOf = `{.status.conditions[?(@.type=="Ready")].status}`

// statefulOn is a set of one pod that its node's silence does not end.
func statefulOn(n *cluster.Node) string {
	return `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: NAME}, spec: {serviceName: none, selector: {matchLabels: {app: kept}}, template: {metadata: {labels: {app: kept}},
		spec: {nodeSelector: {kubernetes.io/hostname: ` + n.Name + `}, terminationGracePeriodSeconds: 1,
			tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}], containers: [{name: c, image: '` + agent + `', args: [serve]}]}}}}`
}

// reachable asks every pod from every pod and from every node's network, over
// TCP and UDP.
func (u user) reachable(nodes int) {
	u.t.Helper()
	list := func(app string) (names, addresses []string) {
		u.placed("app="+app, nodes, func([]string) bool { return true })
		for p := range strings.FieldsSeq(u.get("pods -l app="+app, `{range .items[*]}{.metadata.name}={.status.podIP}={.metadata.deletionTimestamp} {end}`)) {
			if w := strings.Split(p, "="); w[2] == "" {
				names, addresses = append(names, w[0]), append(addresses, w[1])
			}
		}
		return names, addresses
	}
	pods, addresses := list("pods")
	hosts, _ := list("hosts")
	for _, c := range []struct {
		id, verb, prefix, suffix string
		from                     []string
	}{
		{"NE-973a pod to pod over TCP", "get", "http://", ":8080/hostname", pods},
		{"NE-6346 pod to pod over UDP", "udp", "", ":8081", pods},
		{"NE-e359 node to pod over TCP", "get", "http://", ":8080/hostname", hosts},
		{"NE-9853 node to pod over UDP", "udp", "", ":8081", hosts},
	} {
		u.sub(c.id, func(u user) {
			args := []string{"/bin/client", c.verb}
			for _, a := range addresses {
				args = append(args, c.prefix+a+c.suffix)
			}
			for _, from := range c.from {
				for _, pod := range pods {
					u.says(pod, from, args...)
				}
			}
		})
	}
}

// TestKubeletAway: while a node's kubelet does not run, pods are deleted and
// made; containers go on. When it is back it does both.
func TestKubeletAway(t *testing.T) {
	u := newUser(t, "away")
	n := running.Members()[1]
	place := "nodeName: " + n.Name + ","
	u.apply(server("old", "app: old", place))
	u.ready("pod/old")
	before, err := tasks(u.namespace)
	if err != nil || len(before) != 2 {
		t.Fatalf("processes of the pod: %v, %v", before, err)
	}
	if err := n.Order("stop", "kubelet"); err != nil {
		t.Fatal(err)
	}
	started := false
	start := func() {
		if err := n.Order("start", "kubelet"); err != nil {
			t.Error(err)
		}
		started = true
	}
	defer func() {
		if !started {
			start()
		}
	}()
	u.run("delete", "pod", "old", "--wait=false")
	u.apply(server("new", "app: new", place))
	if now, err := tasks(u.namespace); err != nil || len(now) != 2 {
		t.Errorf("without a kubelet, processes were %v, and are %v, %v", before, now, err)
	}
	if u.get("pod/old", "{.metadata.deletionTimestamp}") == "" || u.get("pod/new", "{.status.phase}") != "Pending" {
		t.Error("the pods are not as they were left")
	}
	start()
	u.ready("pod/new")
	u.until("the old pod is gone", func() error { return refuses(u.try("get", "pod", "old"), "not found") })
	onlyWanted(u)
	after, err := tasks(u.namespace)
	if err != nil {
		t.Fatal(err)
	}
	for id := range before {
		if p, there := after[id]; there {
			t.Errorf("process %v of the old pod is there", p)
		}
	}
}
