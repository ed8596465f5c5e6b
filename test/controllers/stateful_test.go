package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func statefulSet(name, extra string) string {
	return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":%q},"spec":{"replicas":3,"serviceName":"svc",
		"selector":{"matchLabels":{"app":"db"}},"template":{"metadata":{"labels":{"app":"db"}},"spec":{"containers":[{"name":"c","image":"db:1"}]}}%s}}`, name, extra)
}

func (c *cluster) stateful(t testing.TB, ns, what string, ok func(s *appsv1.StatefulSet) bool) *appsv1.StatefulSet {
	t.Helper()
	var last *appsv1.StatefulSet
	eventually(t, what, func() error {
		s, err := c.AppsV1().StatefulSets(ns).Get(t.Context(), "db", metav1.GetOptions{})
		if err == nil && !ok(s) {
			err = fmt.Errorf("status %+v", s.Status)
		}
		last = s
		return err
	})
	return last
}

func (c *cluster) podNames(t testing.TB, ns, selector string) []string {
	t.Helper()
	pods, err := c.pods(t.Context(), ns, selector)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range pods {
		out = append(out, pods[i].Name)
	}
	slices.Sort(out)
	return out
}

// statefulOrder: each pod waits for those below it, and goes before them.
func statefulOrder(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	set := strings.Replace(statefulSet("db", ""), `"metadata":{"labels"`, `"metadata":{"annotations":{"test/unready":""},"labels"`, 1)
	c.kubectl(t, ns, set, "apply", "-f", "-")
	for i := range 3 {
		name := fmt.Sprintf("db-%d", i)
		eventually(t, name, func() error {
			p, err := c.CoreV1().Pods(ns).Get(t.Context(), name, metav1.GetOptions{})
			if err == nil && p.Status.Phase != corev1.PodRunning {
				err = fmt.Errorf("phase %s", p.Status.Phase)
			}
			return err
		})
		always(t, "only "+name+" and those below", 200*time.Millisecond, func() error {
			if names := c.podNames(t, ns, "app=db"); len(names) != i+1 {
				return fmt.Errorf("pods %v", names)
			}
			return nil
		})
		c.kubectl(t, ns, "", "annotate", "pod/"+name, "test/unready-")
	}
	s := c.stateful(t, ns, "3 ready", func(s *appsv1.StatefulSet) bool {
		return s.Status.ReadyReplicas == 3 && s.Status.AvailableReplicas == 3
	})
	if s.Status.CurrentRevision == "" || s.Status.CurrentRevision != s.Status.UpdateRevision || s.Status.CurrentReplicas != 3 || s.Status.UpdatedReplicas != 3 {
		t.Errorf("status %+v", s.Status)
	}
	p, err := c.CoreV1().Pods(ns).Get(t.Context(), "db-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Spec.Hostname != "db-1" || p.Spec.Subdomain != "svc" || p.Labels["statefulset.kubernetes.io/pod-name"] != "db-1" ||
		p.Labels["apps.kubernetes.io/pod-index"] != "1" || p.Labels["controller-revision-hash"] != s.Status.UpdateRevision {
		t.Errorf("identity: hostname %s, subdomain %s, labels %v", p.Spec.Hostname, p.Spec.Subdomain, p.Labels)
	}
	c.event(t, ns, "db", "statefulset-controller", "SuccessfulCreate", "create Pod db-0 in StatefulSet db successful")
	c.kubectl(t, ns, "", "delete", "pod/db-1", "--wait=false")
	eventually(t, "db-1 again", func() error {
		again, err := c.CoreV1().Pods(ns).Get(t.Context(), "db-1", metav1.GetOptions{})
		if err == nil && again.UID == p.UID {
			err = fmt.Errorf("the old one is still there")
		}
		return err
	})
	c.kubectl(t, ns, "", "annotate", "pod/db-1", "test/unready-")
	c.kubectl(t, ns, "", "scale", "statefulset/db", "--replicas=1")
	eventually(t, "db-0 alone", func() error {
		if names := c.podNames(t, ns, "app=db"); !slices.Equal(names, []string{"db-0"}) {
			return fmt.Errorf("pods %v", names)
		}
		return nil
	})
	c.event(t, ns, "db", "statefulset-controller", "SuccessfulDelete", "delete Pod db-2 in StatefulSet db successful")
}

// statefulRoll: a partition holds pods back; undo brings the old revision
// again. AP-a8fe
func statefulRoll(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, statefulSet("db", `,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}}`), "apply", "-f", "-")
	first := c.stateful(t, ns, "3 ready", func(s *appsv1.StatefulSet) bool { return s.Status.ReadyReplicas == 3 })
	c.kubectl(t, ns, "", "set", "image", "statefulset/db", "c=db:2")
	s := c.stateful(t, ns, "one updated", func(s *appsv1.StatefulSet) bool {
		return s.Status.UpdatedReplicas == 1 && s.Status.ReadyReplicas == 3 && s.Status.CurrentReplicas == 2
	})
	if s.Status.CurrentRevision != first.Status.CurrentRevision || s.Status.UpdateRevision == s.Status.CurrentRevision {
		t.Errorf("revisions: current %s, update %s, before %s", s.Status.CurrentRevision, s.Status.UpdateRevision, first.Status.CurrentRevision)
	}
	// A pod below the partition comes back as it was.
	c.kubectl(t, ns, "", "delete", "pod/db-0", "--wait=false")
	c.stateful(t, ns, "db-0 back", func(s *appsv1.StatefulSet) bool { return s.Status.ReadyReplicas == 3 })
	eventually(t, "db-0 of the old image", func() error {
		p, err := c.CoreV1().Pods(ns).Get(t.Context(), "db-0", metav1.GetOptions{})
		if err == nil && p.Spec.Containers[0].Image != "db:1" {
			err = fmt.Errorf("image %s", p.Spec.Containers[0].Image)
		}
		return err
	})
	c.kubectl(t, ns, "", "patch", "statefulset/db", "-p", `{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}`)
	c.kubectl(t, ns, "", "rollout", "status", "statefulset/db", "--timeout=60s")
	c.kubectl(t, ns, "", "rollout", "undo", "statefulset/db")
	c.kubectl(t, ns, "", "rollout", "status", "statefulset/db", "--timeout=60s")
	s = c.stateful(t, ns, "the undo", func(s *appsv1.StatefulSet) bool { return s.Status.CurrentRevision == s.Status.UpdateRevision })
	if s.Status.UpdateRevision != first.Status.UpdateRevision {
		t.Errorf("after the undo the revision is %s, was %s", s.Status.UpdateRevision, first.Status.UpdateRevision)
	}
	l, err := c.AppsV1().ControllerRevisions(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(l.Items) != 2 {
		t.Errorf("%d revisions, want 2; %v", len(l.Items), err)
	}
}

func statefulParallel(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	set := strings.Replace(statefulSet("db", `,"podManagementPolicy":"Parallel"`), `"metadata":{"labels"`, `"metadata":{"annotations":{"test/hold":""},"labels"`, 1)
	c.kubectl(t, ns, set, "apply", "-f", "-")
	c.count(t, ns, "app=db", 3) // though none is ready
	c.kubectl(t, ns, "", "scale", "statefulset/db", "--replicas=0")
	c.count(t, ns, "app=db", 0)
}

func statefulClaims(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, statefulSet("db", `,"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Delete","whenDeleted":"Retain"},
		"volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Mi"}}}}]`), "apply", "-f", "-")
	c.stateful(t, ns, "3 ready", func(s *appsv1.StatefulSet) bool { return s.Status.ReadyReplicas == 3 })
	p, err := c.CoreV1().Pods(ns).Get(t.Context(), "db-2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == "data" && v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == "data-db-2"
	}) {
		t.Errorf("volumes %+v", p.Spec.Volumes)
	}
	claims := func(want ...string) {
		t.Helper()
		eventually(t, fmt.Sprintf("claims %v", want), func() error {
			l, err := c.CoreV1().PersistentVolumeClaims(ns).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return err
			}
			var got []string
			for _, x := range l.Items {
				// The protection of claims is another controller's.
				if x.DeletionTimestamp == nil {
					got = append(got, x.Name)
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				return fmt.Errorf("there are %v", got)
			}
			return nil
		})
	}
	claims("data-db-0", "data-db-1", "data-db-2")
	c.kubectl(t, ns, "", "scale", "statefulset/db", "--replicas=1")
	claims("data-db-0")
	c.kubectl(t, ns, "", "delete", "statefulset/db")
	c.count(t, ns, "app=db", 0)
	claims("data-db-0")
}

func replicationController(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"ReplicationController","metadata":{"name":"rc"},"spec":{"replicas":2,"selector":{"app":"rc"},
		"template":{"metadata":{"labels":{"app":"rc"}},"spec":{"containers":[{"name":"c","image":"x"}]}}}}`, "apply", "-f", "-")
	c.count(t, ns, "app=rc", 2)
	eventually(t, "ready", func() error {
		rc, err := c.CoreV1().ReplicationControllers(ns).Get(t.Context(), "rc", metav1.GetOptions{})
		if err == nil && (rc.Status.ReadyReplicas != 2 || rc.Status.FullyLabeledReplicas != 2 || rc.Status.ObservedGeneration != rc.Generation) {
			err = fmt.Errorf("status %+v", rc.Status)
		}
		return err
	})
	c.kubectl(t, ns, "", "scale", "rc/rc", "--replicas=1")
	c.count(t, ns, "app=rc", 1)
	c.event(t, ns, "rc", "replication-controller", "SuccessfulCreate", "Created pod: rc-")
	c.kubectl(t, ns, "", "delete", "rc/rc")
	c.count(t, ns, "app=rc", 0)
}

func daemonSet(extra string) string {
	return `{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"name":"agent"},"spec":{"selector":{"matchLabels":{"app":"agent"}}` + extra + `,
		"template":{"metadata":{"labels":{"app":"agent"}},"spec":{"nodeSelector":{"kubernetes.io/hostname":"n1"},"containers":[{"name":"c","image":"agent:1"}]}}}}`
}

func (c *cluster) daemon(t testing.TB, ns, what string, ok func(s *appsv1.DaemonSet) bool) *appsv1.DaemonSet {
	t.Helper()
	var last *appsv1.DaemonSet
	eventually(t, what, func() error {
		s, err := c.AppsV1().DaemonSets(ns).Get(t.Context(), "agent", metav1.GetOptions{})
		if err == nil && !ok(s) {
			err = fmt.Errorf("status %+v", s.Status)
		}
		last = s
		return err
	})
	return last
}

// daemons: a pod on each node that is meant, with the tolerations of daemons;
// updates one at a time; history.
func daemons(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, daemonSet(""), "apply", "-f", "-")
	c.daemon(t, ns, "one available", func(s *appsv1.DaemonSet) bool {
		return s.Status.NumberAvailable == 1 && s.Status.DesiredNumberScheduled == 1
	})
	c.kubectl(t, ns, "", "patch", "daemonset/agent", "-p", `{"spec":{"template":{"spec":{"nodeSelector":null}}}}`)
	s := c.daemon(t, ns, "three available", func(s *appsv1.DaemonSet) bool {
		return s.Status.NumberAvailable == 3 && s.Status.UpdatedNumberScheduled == 3 && s.Status.ObservedGeneration == s.Generation
	})
	if s.Status.CurrentNumberScheduled != 3 || s.Status.NumberReady != 3 || s.Status.NumberMisscheduled != 0 || s.Status.NumberUnavailable != 0 {
		t.Errorf("status %+v", s.Status)
	}
	pods, err := c.pods(t.Context(), ns, "app=agent")
	if err != nil {
		t.Fatal(err)
	}
	nodes := map[string]bool{}
	for _, p := range pods {
		nodes[p.Spec.NodeName] = true
		if !slices.ContainsFunc(p.Spec.Tolerations, func(x corev1.Toleration) bool {
			return x.Key == corev1.TaintNodeUnreachable && x.Effect == corev1.TaintEffectNoExecute && x.TolerationSeconds == nil
		}) {
			t.Errorf("tolerations of %s: %+v", p.Name, p.Spec.Tolerations)
		}
	}
	if len(nodes) != 3 {
		t.Errorf("pods are on %v", nodes)
	}
	c.kubectl(t, ns, "", "set", "image", "daemonset/agent", "c=agent:2")
	c.kubectl(t, ns, "", "rollout", "status", "daemonset/agent", "--timeout=60s")
	c.kubectl(t, ns, "", "rollout", "undo", "daemonset/agent")
	c.kubectl(t, ns, "", "rollout", "status", "daemonset/agent", "--timeout=60s")
	c.event(t, ns, "agent", "daemonset-controller", "SuccessfulCreate", "Created pod: agent-")
	// A pod that has failed is replaced.
	pods, err = c.pods(t.Context(), ns, "app=agent")
	if err != nil {
		t.Fatal(err)
	}
	c.kubectl(t, ns, "", "patch", "pod/"+pods[0].Name, "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"Failed"}}`)
	c.event(t, ns, "agent", "daemonset-controller", "FailedDaemonPod", "Found failed daemon pod "+ns+"/"+pods[0].Name)
	c.daemon(t, ns, "three again", func(s *appsv1.DaemonSet) bool { return s.Status.NumberAvailable == 3 })
}

// daemonSurge: the new pod is ready before the old one goes.
func daemonSurge(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, daemonSet(`,"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}`), "apply", "-f", "-")
	c.daemon(t, ns, "one available", func(s *appsv1.DaemonSet) bool { return s.Status.NumberAvailable == 1 })
	c.kubectl(t, ns, "", "patch", "daemonset/agent", "-p", `{"spec":{"template":{"metadata":{"annotations":{"test/unready":""}}}}}`)
	c.count(t, ns, "app=agent", 2)
	always(t, "two pods", 300*time.Millisecond, func() error {
		if names := c.podNames(t, ns, "app=agent"); len(names) != 2 {
			return fmt.Errorf("pods %v", names)
		}
		return nil
	})
	pods, err := c.pods(t.Context(), ns, "app=agent")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if _, unready := p.Annotations[unreadyKey]; unready {
			c.kubectl(t, ns, "", "annotate", "pod/"+p.Name, "test/unready-")
		}
	}
	c.count(t, ns, "app=agent", 1)
	c.daemon(t, ns, "the update", func(s *appsv1.DaemonSet) bool {
		return s.Status.UpdatedNumberScheduled == 1 && s.Status.NumberAvailable == 1
	})
}
