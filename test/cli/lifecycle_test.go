package cli

import (
	"fmt"
	"strings"
)

func scale(k kubectl) {
	k.in(web).run("create", "-f", "-")
	k.expect("deployment.apps/web scaled", "scale", "deploy", "web", "--replicas=5")
	k.contains(k.fails("scale", "deploy", "web", "--current-replicas=2", "--replicas=3"), "Expected replicas to be 2, was 5")
	k.run("scale", "deploy", "web", "--current-replicas=5", "--replicas=3")
	k.expect("3", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")
	k.contains(k.fails("scale", "deploy", "web", "--replicas=-3"), "--replicas=COUNT flag is required")
	k.contains(k.fails("scale", "cm", "kube-root", "--replicas=3"), "not found")
}

func rollout(k kubectl) {
	k.in(web).run("create", "-f", "-")
	uid := k.field("deploy/web", "{.metadata.uid}")
	// What the controller would keep of two revisions.
	for i, image := range []string{"nginx:0", "nginx:1"} {
		k.in(fmt.Sprintf(`
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: web-%d
  labels: {app: web, pod-template-hash: h%d}
  annotations: {deployment.kubernetes.io/revision: "%d"}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: %s, controller: true, blockOwnerDeletion: true}]
spec:
  replicas: 0
  selector: {matchLabels: {app: web, pod-template-hash: h%d}}
  template:
    metadata: {labels: {app: web, pod-template-hash: h%d}}
    spec: {containers: [{name: nginx, image: "%s"}]}
`, i, i, i+1, uid, i, i, image)).run("create", "-f", "-")
	}
	k.contains(k.run("rollout", "history", "deploy/web"), "REVISION  CHANGE-CAUSE", "1         <none>", "2         <none>")
	k.contains(k.run("rollout", "history", "deploy/web", "--revision=1"), "nginx:0")
	k.expect("deployment.apps/web rolled back", "rollout", "undo", "deploy/web", "--to-revision=1")
	k.expect("nginx:0", "get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	k.expect("deployment.apps/web paused", "rollout", "pause", "deploy/web")
	k.contains(k.fails("rollout", "restart", "deploy/web"), "can't restart paused deployment")
	k.expect("deployment.apps/web resumed", "rollout", "resume", "deploy/web")
	k.expect("deployment.apps/web restarted", "rollout", "restart", "deploy/web")
	k.contains(k.field("deploy/web", `{.spec.template.metadata.annotations}`), "kubectl.kubernetes.io/restartedAt")
	k.contains(k.fails("rollout", "status", "deploy/web", "--timeout=1s"), "timed out waiting for the condition")
	k.run("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", `{"status":{"observedGeneration":100,"replicas":2,"updatedReplicas":2,"readyReplicas":2,"availableReplicas":2}}`)
	k.contains(k.run("rollout", "status", "deploy/web"), `deployment "web" successfully rolled out`)
}

func deleteModes(k kubectl) {
	k.run("run", "p", "--image=busybox")
	k.expect(`pod "p" deleted from delete namespace`, "delete", "pod", "p")
	k.run("run", "p", "--image=busybox", "--overrides", `{"spec":{"nodeName":"nowhere"}}`)
	k.run("delete", "pod", "p", "--wait=false", "--grace-period=7")
	k.expect("7", "get", "pod", "p", "-o", "jsonpath={.metadata.deletionGracePeriodSeconds}")
	_, _, code := k.try("delete", "pod", "p", "--timeout=1s")
	if code == 0 {
		k.t.Error("a pod on a node went without its kubelet")
	}
	k.contains(k.run("delete", "pod", "p", "--grace-period=0", "--force"), `pod "p" force deleted`)
	k.contains(k.fails("get", "pod", "p"), "NotFound")
	for mode, want := range map[string]string{"foreground": `["foregroundDeletion"]`, "orphan": `["orphan"]`} {
		k.in(strings.Replace(web, "name: web\n", "name: "+mode+"\n", 1)).run("create", "-f", "-")
		k.run("delete", "deploy", mode, "--cascade="+mode, "--wait=false")
		k.expect(want, "get", "deploy", mode, "-o", "jsonpath={.metadata.finalizers}")
		if k.field("deploy/"+mode, "{.metadata.deletionTimestamp}") == "" {
			k.t.Errorf("--cascade=%s: no deletionTimestamp", mode)
		}
		k.run("patch", "deploy", mode, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
		k.contains(k.fails("get", "deploy", mode), "NotFound")
	}
	k.in(web).run("create", "-f", "-")
	k.run("delete", "deploy", "web", "--cascade=background")
	k.contains(k.fails("get", "deploy", "web"), "NotFound")
	// A finalizer keeps it until it is taken away.
	k.in(strings.Replace(settings, "labels:", "finalizers: [example.com/hold], labels:", 1)).run("create", "-f", "-")
	k.run("delete", "cm", "settings", "--wait=false")
	k.contains(k.in(settings).fails("create", "-f", "-"), "object is being deleted: configmaps \"settings\" already exists")
	k.run("patch", "cm", "settings", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	k.contains(k.fails("delete", "cm", "settings"), "NotFound")
	k.expect("", "delete", "cm", "settings", "--ignore-not-found")
	k.in(settings).run("create", "-f", "-")
	k.contains(k.run("delete", "cm", "settings", "--dry-run=server"), "(server dry run)")
	k.run("delete", "cm", "-l", "set=1")
	k.run("create", "cm", "one")
	k.run("create", "secret", "generic", "two")
	k.run("delete", "cm,secret", "--all")
	k.expect("", "get", "cm,secret", "-o", "name")
	k.in(settings).run("create", "-f", "-")
	k.contains(k.in(settings).run("delete", "-f", "-", "--now"), "deleted")
	k.contains(k.fails("delete", "--raw", "/api/v1/namespaces/"+k.namespace+"/configmaps/none"), "NotFound")
}

// deleteNamespace does by hand what the namespace's controller would do.
func deleteNamespace(k kubectl) {
	k.run("create", "namespace", "gone")
	gone := k.inNamespace("gone")
	gone.run("create", "cm", "a")
	k.run("delete", "namespace", "gone", "--wait=false")
	k.expect("Terminating", "get", "namespace", "gone", "-o", "jsonpath={.status.phase}")
	k.contains(gone.fails("create", "cm", "b"), `configmaps "b" is forbidden: unable to create new content in namespace gone because it is being terminated`)
	gone.run("delete", "cm", "--all")
	k.in(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"gone"},"spec":{"finalizers":[]}}`).run("replace", "--raw", "/api/v1/namespaces/gone/finalize", "-f", "-")
	k.contains(k.fails("get", "namespace", "gone"), "NotFound")
	k.contains(k.fails("delete", "namespace", "kube-system"), `namespaces "kube-system" is forbidden: this namespace may not be deleted`)
}

func wait(k kubectl) {
	k.in(web).run("create", "-f", "-")
	k.contains(k.run("wait", "--for=jsonpath={.spec.replicas}=2", "deploy/web"), "condition met")
	k.contains(k.fails("wait", "--for=condition=Available", "deploy/web", "--timeout=1s"), "timed out")
	k.contains(k.run("wait", "--for=create", "deploy/web"), "condition met")
	done := make(chan string)
	for _, args := range [][]string{
		{"wait", "--for=condition=Available", "deploy/web", "--timeout=60s"},
		{"wait", "--for=delete", "deploy/web", "--timeout=60s"},
		{"wait", "--for=create", "cm/later", "--timeout=60s"},
	} {
		go func() {
			out, errs, _ := k.try(args...)
			done <- out + errs
		}()
	}
	k.run("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", `{"status":{"conditions":[{"type":"Available","status":"True","reason":"r","message":"m"}]}}`)
	k.run("create", "cm", "later")
	k.contains(<-done+<-done, "deployment.apps/web condition met", "configmap/later condition met")
	k.run("delete", "deploy", "web")
	k.contains(<-done, "deployment.apps/web condition met")
}

func node(k kubectl) {
	k.in(`
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {kubernetes.io/hostname: n1, node-role.kubernetes.io/control-plane: ""}}
status:
  capacity: {cpu: "4", memory: 8Gi, pods: "110"}
  conditions: [{type: Ready, status: "True", reason: KubeletReady}]
  addresses: [{type: InternalIP, address: 192.0.2.1}]
  nodeInfo: {kubeletVersion: v1.37.2}
`).run("create", "-f", "-")
	k.contains(words(k.run("get", "node", "n1", "-o", "wide")), "n1 Ready control-plane", "v1.37.2 192.0.2.1 <none>")
	k.run("cordon", "n1")
	k.contains(k.run("get", "nodes"), "Ready,SchedulingDisabled")
	k.run("uncordon", "n1")
	k.expect("node/n1 tainted", "taint", "node", "n1", "k=v:NoSchedule")
	k.run("run", "p", "--image=busybox", "--overrides", `{"spec":{"nodeName":"n1"}}`)
	k.contains(words(k.run("describe", "node", "n1")), "k=v:NoSchedule", "Non-terminated Pods: (1 in total)", "Ready True")
	k.expect("node/n1 untainted", "taint", "node", "n1", "k-")
	k.contains(k.fails("drain", "n1", "--timeout=5s"), "declare no controller")
	k.contains(k.run("drain", "n1", "--force", "--grace-period=0", "--timeout=60s"), "evicting pod node/p", "node/n1 drained")
	k.contains(k.fails("get", "pod", "p"), "NotFound")
	k.run("delete", "node", "n1")
}
