package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

// sub runs a part of a test under the ids of what it shows.
func (u user) sub(ids string, run func(user)) {
	u.t.Run(ids, func(t *testing.T) {
		u := u
		u.t = t
		run(u)
	})
}

// workload is any kind with a template of pods that serve.
func workload(kind, name, spec string) string {
	version, selector := "apps/v1", "{matchLabels: {app: "+name+"}}"
	switch kind {
	case "ReplicationController":
		version, selector = "v1", "{app: "+name+"}"
	case "StatefulSet":
		spec += ", serviceName: none"
	}
	return fmt.Sprintf(`{apiVersion: %s, kind: %s, metadata: {name: %s}, spec: {%s, selector: %s,
		template: {metadata: {labels: {app: %s}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: '%s', args: [serve]}]}}}}`, version, kind, name, spec, selector, name, agent)
}

// TestReplicas: what Deployments, ReplicaSets and their elders do with pods.
func TestReplicas(t *testing.T) {
	t.Parallel()
	u := newUser(t, "replicas")
	u.sub("AP-83a8 a Deployment's scale", func(u user) { u.scales("Deployment", "deployments") })
	u.sub("AP-9a70 a ReplicaSet's scale", func(u user) { u.scales("ReplicaSet", "replicasets") })
	u.sub("AP-d0fb a ReplicationController's scale", func(u user) { u.scales("ReplicationController", "replicationcontrollers") })
	u.sub("AP-d050 a StatefulSet's scale", func(u user) { u.scales("StatefulSet", "statefulsets") })
	u.sub("AP-611d AP-a1af each pod of a ReplicaSet answers", func(u user) { u.answers("ReplicaSet", "rs") })
	u.sub("AP-a924 CL-1464 CL-8603 each pod of a ReplicationController answers", func(u user) { u.answers("ReplicationController", "rc") })
	u.sub("AP-6e31 a ReplicaSet adopts and releases", func(u user) { u.adopts("ReplicaSet", "ars") })
	u.sub("AP-d52c AP-6bc0 a ReplicationController adopts and releases", func(u user) { u.adopts("ReplicationController", "arc") })
	u.sub("AP-4bbc a Deployment recreates", recreates)
	u.sub("AP-e7d7 a Deployment adopts a ReplicaSet and rolls", adoptsSet)
	u.sub("AP-84b3 a ReplicationController against a quota", func(u user) {
		u = newUser(u.t, "rc-quota")
		u.run("create", "quota", "few", "--hard=pods=2")
		u.has("2", "quota/few", "{.status.hard.pods}")
		u.apply(workload("ReplicationController", "much", "replicas: 3"))
		failure := `{.status.conditions[?(@.type=="ReplicaFailure")].status}`
		u.has("True", "rc/much", failure)
		u.run("scale", "rc", "much", "--replicas=2")
		u.has("", "rc/much", failure)
	})
	u.sub("AP-0b02 a Deployment keeps no history", noHistory)
}

// scales writes the scale subresource by GET, PUT and PATCH.
func (u user) scales(kind, resource string) {
	name := "scale-" + strings.ToLower(kind)
	u.apply(strings.Replace(workload(kind, name, "replicas: 1"), "containers:", "nodeSelector: {no: such}, containers:", 1))
	client, group := api.AppsV1().RESTClient(), "/apis/apps/v1"
	if kind == "ReplicationController" {
		client, group = api.CoreV1().RESTClient(), "/api/v1"
	}
	path := fmt.Sprintf("%s/namespaces/%s/%s/%s/scale", group, u.namespace, resource, name)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		s := &autoscalingv1.Scale{}
		if err := client.Get().AbsPath(path).Do(u.t.Context()).Into(s); err != nil {
			return err
		}
		if s.Spec.Replicas != 1 {
			u.t.Errorf("spec %+v", s.Spec)
		}
		s.Spec.Replicas = 2
		return client.Put().AbsPath(path).Body(s).Do(u.t.Context()).Error()
	})
	if err != nil {
		u.t.Fatal(err)
	}
	u.has("2", resource+"/"+name, "{.spec.replicas}")
	if err := client.Patch(types.MergePatchType).AbsPath(path).Body([]byte(`{"spec":{"replicas":4}}`)).Do(u.t.Context()).Error(); err != nil {
		u.t.Fatal(err)
	}
	want := "4"
	if kind == "StatefulSet" {
		want = "1" // the first never gets ready
	}
	u.until("the status follows", func() error {
		s := &autoscalingv1.Scale{}
		err := client.Get().AbsPath(path).Do(u.t.Context()).Into(s)
		if err == nil && (fmt.Sprint(s.Status.Replicas) != want || s.Spec.Replicas != 4 || !strings.Contains(s.Status.Selector, "app="+name)) {
			err = fmt.Errorf("scale %+v %+v", s.Spec, s.Status)
		}
		return err
	})
	u.run("delete", resource, name)
}

// answers asks each pod who it is, by the API server's proxy, as replicas
// come and go.
func (u user) answers(kind, name string) {
	u.apply(workload(kind, name, "replicas: 2"))
	each := func(n int) {
		u.placed("app="+name, n, func([]string) bool { return true })
		for pod := range strings.FieldsSeq(u.get("pods -l app="+name, `{range .items[*]}{.metadata.name}/{.metadata.deletionTimestamp} {end}`)) {
			pod, stays := strings.CutSuffix(pod, "/")
			if !stays {
				continue
			}
			u.until(pod+" says its name", func() error {
				got, err := api.CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/" + u.namespace + "/pods/" + pod + ":8080/proxy/hostname").DoRaw(u.t.Context())
				if err == nil && string(got) != pod {
					err = fmt.Errorf("it says %q", got)
				}
				return err
			})
		}
	}
	each(2)
	u.run("scale", kind, name, "--replicas=1")
	each(1)
	u.run("scale", kind, name, "--replicas=2")
	each(2)
	u.run("patch", kind, name, "-p", `{"metadata":{"labels":{"patched":"yes"}},"spec":{"replicas":3}}`)
	each(3)
	u.has(name, kind+" -l patched=yes", "{.items[*].metadata.name}")
	u.run("delete", kind, name)
}

// adopts makes a pod first, and its owner then; a pod whose label goes is
// released and replaced.
func (u user) adopts(kind, name string) {
	u.run("run", name, "--image="+agent, "--labels=app="+name, "--overrides="+`{"spec":{"terminationGracePeriodSeconds":1}}`, "--", "serve")
	u.apply(workload(kind, name, "replicas: 1"))
	owner := `{.metadata.ownerReferences[?(@.controller==true)].name}`
	u.has(name, "pod/"+name, owner)
	u.has("1", kind+"/"+name, "{.status.replicas}")
	if pods := u.get("pods -l app="+name, "{.items[*].metadata.name}"); pods != name {
		u.t.Errorf("beside the adopted pod there are %s", pods)
	}
	u.run("label", "pod", name, "app=released", "--overwrite")
	u.has("", "pod/"+name, owner)
	u.placed("app="+name, 1, func([]string) bool { return true })
	u.run("delete", kind, name)
	u.run("delete", "pod", name, "--now")
}

func recreates(u user) {
	u.apply(workload("Deployment", "recreated", "replicas: 2, strategy: {type: Recreate}"))
	u.rolledOut("deployment/recreated")
	w, err := api.CoreV1().Pods(u.namespace).Watch(u.t.Context(), metav1.ListOptions{LabelSelector: "app=recreated"})
	if err != nil {
		u.t.Fatal(err)
	}
	defer w.Stop()
	u.run("set", "env", "deployment/recreated", "A=b")
	running := map[string]map[string]bool{}
	fresh := func() bool { return len(running) == 1 && len(running[""]) == 0 }
	for !fresh() || len(running["b"]) != 2 {
		e := u.event(w)
		p, ok := e.Object.(*corev1.Pod)
		if !ok {
			continue
		}
		of := ""
		if env := p.Spec.Containers[0].Env; len(env) > 0 {
			of = env[0].Value
		}
		if running[of] == nil {
			running[of] = map[string]bool{}
		}
		ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if running[of][p.Name] = true; ended || e.Type == "DELETED" {
			delete(running[of], p.Name)
		}
		if len(running[""]) == 0 {
			delete(running, "")
		}
		if len(running) > 1 {
			u.t.Fatalf("old and new pods at once: %v", running)
		}
	}
	u.run("delete", "deployment", "recreated")
}

// adoptsSet: a ReplicaSet that was there, of an odd revision, is rolled over.
func adoptsSet(u user) {
	u.apply(`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: old, labels: {app: rolled}, annotations: {deployment.kubernetes.io/revision: '3546343826724305832'}},
		spec: {replicas: 1, selector: {matchLabels: {app: rolled}}, template: {metadata: {labels: {app: rolled}}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: '` + agent + `', args: [serve, '9090']}]}}}}`)
	u.placed("app=rolled", 1, func([]string) bool { return true })
	u.apply(workload("Deployment", "rolled", "replicas: 1"))
	u.rolledOut("deployment/rolled")
	u.has("3546343826724305833", "deployment/rolled", `{.metadata.annotations.deployment\.kubernetes\.io/revision}`)
	u.has("rolled 0", "replicaset/old", "{.metadata.ownerReferences[0].name} {.status.replicas}")
	u.has("serve", "pods -l app=rolled", `{.items[*].spec.containers[0].args[*]}`)
	u.run("delete", "deployment", "rolled")
}

func noHistory(u user) {
	u.apply(workload("Deployment", "forgetful", "replicas: 1, revisionHistoryLimit: 0"))
	u.rolledOut("deployment/forgetful")
	first := u.get("replicasets -l app=forgetful", "{.items[*].metadata.name}")
	u.run("set", "env", "deployment/forgetful", "A=b")
	u.rolledOut("deployment/forgetful")
	u.until("the old set is gone", func() error {
		now, err := u.output("get", "replicasets", "-l", "app=forgetful", "-o", "jsonpath={.items[*].metadata.name}")
		if err == nil && (now == "" || strings.Contains(now, first) || len(strings.Fields(now)) != 1) {
			err = fmt.Errorf("sets are %s, the first was %s", now, first)
		}
		return err
	})
	u.run("delete", "deployment", "forgetful")
}

const daemonSet = `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent, labels: {app: agent}}, spec: {selector: {matchLabels: {app: agent}}, %s
	template: {metadata: {labels: {app: agent}}, spec: {%s terminationGracePeriodSeconds: 1, containers: [{name: c, image: '` + agent + `', args: [serve]}]}}}}`

func TestDaemonSets(t *testing.T) {
	t.Parallel()
	u := newUser(t, "daemon-sets")
	all := len(running.Members())
	everywhere := func(u user, n int) {
		u.t.Helper()
		u.placed("app=agent", n, func(nodes []string) bool {
			slices.Sort(nodes)
			return len(slices.Compact(nodes)) == n
		})
	}
	u.sub("AP-35d4 a pod on each node, healed", func(u user) {
		u.apply(fmt.Sprintf(daemonSet, "", ""))
		everywhere(u, all)
		u.run("delete", u.run("get", "pods", "-l", "app=agent", "-o", "name", "--field-selector=spec.nodeName="+running.Members()[0].Name))
		everywhere(u, all)
	})
	u.sub("AP-26e6 a pod that failed is replaced", func(u user) {
		p := u.get("pods -l app=agent", "{.items[0].metadata.name}")
		uid := u.get("pod/"+p, "{.metadata.uid}")
		patch := []byte(`{"status":{"phase":"Failed","reason":"E2E"}}`)
		if _, err := api.CoreV1().Pods(u.namespace).Patch(context.Background(), p, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
			u.t.Fatal(err)
		}
		u.until("the pod is another", func() error {
			if out, err := u.output("get", "pods", "-l", "app=agent", "-o", "jsonpath={.items[*].metadata.uid}"); err != nil || strings.Contains(out, uid) {
				return fmt.Errorf("pods are %s, %w", out, errNotYet)
			}
			return nil
		})
		everywhere(u, all)
	})
	u.sub("AP-36aa AP-c7c2 a new template makes a revision, and rolls", func(u user) {
		u.has("1", "controllerrevisions -l app=agent", "{.items[*].revision}")
		u.run("set", "env", "daemonset/agent", "A=b")
		u.rolledOut("daemonset/agent")
		u.until("two revisions", func() error {
			out, err := u.output("get", "controllerrevisions", "-l", "app=agent", "-o", "jsonpath={.items[*].revision}")
			if got := strings.Fields(out); err == nil && (len(got) != 2 || !slices.Contains(got, "2")) {
				err = fmt.Errorf("revisions are %s", out)
			}
			return err
		})
		u.has(strings.TrimSpace(strings.Repeat("b ", all)), "pods -l app=agent", "{.items[*].spec.containers[0].env[0].value}")
		r := u.get("controllerrevisions -l app=agent", "{.items[0].metadata.name}")
		u.run("label", "controllerrevision", r, "patched=yes")
		u.has(r, "controllerrevisions -l patched=yes", "{.items[*].metadata.name}")
		u.run("delete", "daemonset", "agent")
	})
	u.sub("AP-cbd9 only where a label is", func(u user) {
		a, b := running.Members()[0].Name, running.Members()[1].Name
		u.apply(fmt.Sprintf(daemonSet, "", "nodeSelector: {e2e-color: green},"))
		u.has("0", "daemonset/agent", "{.status.desiredNumberScheduled}")
		u.run("label", "node", a, "e2e-color=green")
		u.t.Cleanup(func() { u.run("label", "node", a, b, "e2e-color-") })
		on := func(node string) {
			u.placed("app=agent", 1, func(nodes []string) bool { return nodes[0] == node })
		}
		on(a)
		u.run("label", "node", a, "e2e-color=blue", "--overwrite")
		u.placed("app=agent", 0, func([]string) bool { return true })
		u.run("patch", "daemonset", "agent", "-p", `{"spec":{"template":{"spec":{"nodeSelector":{"e2e-color":"blue"}}}}}`)
		on(a)
		u.run("label", "node", b, "e2e-color=green")
		u.rolledOut("daemonset/agent")
		on(a)
	})
}
