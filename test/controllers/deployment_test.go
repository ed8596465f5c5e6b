package controllers

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "web:1"}]}
`

func rollout(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.kubectl(t, ns, "", "rollout", "status", "deployment/web", "--timeout=60s")
	// At no time more than maxSurge above or maxUnavailable below: 25 % of 4.
	stop := make(chan struct{})
	watched := make(chan error, 1)
	go func() { watched <- c.bounds(t, ns, 4, 1, 1, stop) }()
	for _, image := range []string{"web:2", "web:3"} {
		c.kubectl(t, ns, "", "set", "image", "deployment/web", "c="+image)
		c.kubectl(t, ns, "", "rollout", "status", "deployment/web", "--timeout=60s")
	}
	close(stop)
	if err := <-watched; err != nil {
		t.Error(err)
	}
	c.kubectl(t, ns, "", "rollout", "undo", "deployment/web", "--to-revision=1")
	c.kubectl(t, ns, "", "rollout", "status", "deployment/web", "--timeout=60s")
	d, err := c.AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Annotations["deployment.kubernetes.io/revision"]; got != "4" {
		t.Errorf("the revision after the undo is %s, want 4", got)
	}
	wantCondition(t, d, appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetAvailable")
	wantCondition(t, d, appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable")
	sets, err := c.AppsV1().ReplicaSets(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(sets.Items) != 3 {
		t.Errorf("%d replica sets, want one per template: 3", len(sets.Items))
	}
	for _, s := range sets.Items {
		image, want := s.Spec.Template.Spec.Containers[0].Image, int32(0)
		if image == "web:1" {
			want = 4
			if got := s.Annotations["deployment.kubernetes.io/revision-history"]; got != "1" {
				t.Errorf("revision-history of the set that came back is %q, want 1", got)
			}
		}
		if *s.Spec.Replicas != want {
			t.Errorf("the set of %s has %d replicas, want %d", image, *s.Spec.Replicas, want)
		}
	}
	c.event(t, ns, "web", "deployment-controller", "ScalingReplicaSet", "Scaled up replica set")
	// History beyond the limit goes.
	c.kubectl(t, ns, "", "patch", "deployment/web", "-p", `{"spec":{"revisionHistoryLimit":1}}`)
	eventually(t, "history of 1", func() error {
		l, err := c.AppsV1().ReplicaSets(ns).List(t.Context(), metav1.ListOptions{})
		if err == nil && len(l.Items) != 2 {
			err = fmt.Errorf("%d replica sets", len(l.Items))
		}
		return err
	})
}

// bounds watches that a rollout stays between size-down ready and size+up
// pods.
func (c *cluster) bounds(t *testing.T, ns string, size, up, down int, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		pods, err := c.pods(t.Context(), ns, "app=web")
		if err != nil {
			return err
		}
		alive, ready := 0, 0
		for i := range pods {
			p := &pods[i]
			if p.DeletionTimestamp != nil {
				continue
			}
			alive++
			for _, cond := range p.Status.Conditions {
				if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		if alive > size+up || ready < size-down {
			return fmt.Errorf("%d pods, %d ready: want at most %d and at least %d", alive, ready, size+up, size-down)
		}
	}
}

func wantCondition(t testing.TB, d *appsv1.Deployment, kind appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason string) {
	t.Helper()
	for _, c := range d.Status.Conditions {
		if c.Type == kind {
			if c.Status != status || c.Reason != reason {
				t.Errorf("condition %s is %s for %s, want %s for %s", kind, c.Status, c.Reason, status, reason)
			}
			return
		}
	}
	t.Errorf("there is no condition %s", kind)
}

func (c *cluster) deployment(t testing.TB, ns, what string, ok func(d *appsv1.Deployment) bool) *appsv1.Deployment {
	t.Helper()
	var last *appsv1.Deployment
	eventually(t, what, func() error {
		d, err := c.AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if err == nil && !ok(d) {
			err = fmt.Errorf("status %+v", d.Status)
		}
		last = d
		return err
	})
	return last
}

func paused(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.kubectl(t, ns, "", "rollout", "status", "deployment/web", "--timeout=60s")
	c.kubectl(t, ns, "", "rollout", "pause", "deployment/web")
	c.kubectl(t, ns, "", "set", "image", "deployment/web", "c=web:2")
	// Paused, it scales and does not roll.
	c.kubectl(t, ns, "", "scale", "deployment/web", "--replicas=6")
	d := c.deployment(t, ns, "6 replicas while paused", func(d *appsv1.Deployment) bool {
		return d.Status.ReadyReplicas == 6 && d.Status.ObservedGeneration == d.Generation
	})
	if d.Status.UpdatedReplicas != 0 {
		t.Errorf("%d pods were updated while paused", d.Status.UpdatedReplicas)
	}
	wantCondition(t, d, appsv1.DeploymentProgressing, corev1.ConditionUnknown, "DeploymentPaused")
	c.kubectl(t, ns, "", "rollout", "resume", "deployment/web")
	c.kubectl(t, ns, "", "rollout", "status", "deployment/web", "--timeout=60s")
	c.deployment(t, ns, "the rollout after the pause", func(d *appsv1.Deployment) bool { return d.Status.UpdatedReplicas == 6 && d.Status.Replicas == 6 })
}

// proportional: a rollout that is stuck grows old and new by their sizes.
func proportional(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.kubectl(t, ns, "", "patch", "deployment/web", "-p", `{"spec":{"replicas":10,"strategy":{"rollingUpdate":{"maxSurge":3,"maxUnavailable":2}}}}`)
	c.deployment(t, ns, "10 ready", func(d *appsv1.Deployment) bool { return d.Status.ReadyReplicas == 10 })
	c.kubectl(t, ns, "", "patch", "deployment/web", "-p", `{"spec":{"template":{"metadata":{"annotations":{"test/hold":""}}}}}`)
	c.sizes(t, ns, 8, 5)
	c.kubectl(t, ns, "", "scale", "deployment/web", "--replicas=30")
	// As in Kubernetes' documentation of proportional scaling: 8 and 5 of 13
	// become 33 together.
	c.sizes(t, ns, 20, 13)
}

// sizes wants replica sets of these sizes, the oldest first.
func (c *cluster) sizes(t testing.TB, ns string, want ...int32) {
	t.Helper()
	eventually(t, fmt.Sprintf("replica sets of %v", want), func() error {
		l, err := c.AppsV1().ReplicaSets(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		got := map[string]int32{}
		for _, s := range l.Items {
			got[s.Annotations["deployment.kubernetes.io/revision"]] = *s.Spec.Replicas
		}
		for i, n := range want {
			if got[fmt.Sprint(i+1)] != n {
				return fmt.Errorf("sizes by revision: %v", got)
			}
		}
		return nil
	})
}

// recreate: no pod of the new template before the last of the old has gone.
func recreate(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.kubectl(t, ns, "", "patch", "deployment/web", "-p", `{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}`)
	c.deployment(t, ns, "4 ready", func(d *appsv1.Deployment) bool { return d.Status.ReadyReplicas == 4 })
	mixed := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				mixed <- nil
				return
			default:
			}
			pods, err := c.pods(t.Context(), ns, "app=web")
			images := map[string]bool{}
			for i := range pods {
				images[pods[i].Spec.Containers[0].Image] = true
			}
			if err != nil || len(images) > 1 {
				mixed <- fmt.Errorf("pods of %v at once, error %v", images, err)
				return
			}
		}
	}()
	c.kubectl(t, ns, "", "set", "image", "deployment/web", "c=web:2")
	c.deployment(t, ns, "4 of the new", func(d *appsv1.Deployment) bool { return d.Status.UpdatedReplicas == 4 && d.Status.ReadyReplicas == 4 })
	close(stop)
	if err := <-mixed; err != nil {
		t.Error(err)
	}
}

func deadline(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.kubectl(t, ns, "", "patch", "deployment/web", "-p", `{"spec":{"progressDeadlineSeconds":2,"template":{"metadata":{"annotations":{"test/hold":""}}}}}`)
	d := c.deployment(t, ns, "the deadline", func(d *appsv1.Deployment) bool {
		for _, cond := range d.Status.Conditions {
			if cond.Type == appsv1.DeploymentProgressing && cond.Status == corev1.ConditionFalse {
				return true
			}
		}
		return false
	})
	wantCondition(t, d, appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded")
	if out, err := c.tryKubectl(t.Context(), ns, "", "rollout", "status", "deployment/web"); err == nil {
		t.Errorf("kubectl rollout status is content: %s", out)
	}
}

// adoption: a replica set takes pods that match, and lets go of those that
// don't any more.
func adoption(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"lonely","labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"web:1"}]}}`, "apply", "-f", "-")
	c.kubectl(t, ns, `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"rs"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},
		"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"web:1"}]}}}}`, "apply", "-f", "-")
	eventually(t, "the adoption", func() error {
		p, err := c.CoreV1().Pods(ns).Get(t.Context(), "lonely", metav1.GetOptions{})
		if err == nil && (metav1.GetControllerOf(p) == nil || metav1.GetControllerOf(p).Name != "rs") {
			err = fmt.Errorf("owners %v", p.OwnerReferences)
		}
		return err
	})
	c.count(t, ns, "app=web", 2)
	c.kubectl(t, ns, "", "label", "pod/lonely", "--overwrite", "app=other")
	eventually(t, "the release", func() error {
		p, err := c.CoreV1().Pods(ns).Get(t.Context(), "lonely", metav1.GetOptions{})
		if err == nil && metav1.GetControllerOf(p) != nil {
			err = fmt.Errorf("owners %v", p.OwnerReferences)
		}
		return err
	})
	c.count(t, ns, "app=web", 2)
}

// quota: what is refused is said, and made up for once there is room.
func quota(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	c.kubectl(t, ns, `{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"spec":{"hard":{"pods":"2"}}}`, "apply", "-f", "-")
	// Without a quota controller nobody else says what is used.
	c.kubectl(t, ns, "", "patch", "quota/q", "--subresource=status", "--type=merge", "-p", `{"status":{"hard":{"pods":"2"},"used":{"pods":"0"}}}`)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	d := c.deployment(t, ns, "the failure", func(d *appsv1.Deployment) bool {
		for _, cond := range d.Status.Conditions {
			if cond.Type == appsv1.DeploymentReplicaFailure && cond.Status == corev1.ConditionTrue {
				return true
			}
		}
		return false
	})
	wantCondition(t, d, appsv1.DeploymentReplicaFailure, corev1.ConditionTrue, "FailedCreate")
	c.count(t, ns, "app=web", 2)
	c.kubectl(t, ns, "", "patch", "quota/q", "-p", `{"spec":{"hard":{"pods":"10"}}}`)
	c.kubectl(t, ns, "", "patch", "quota/q", "--subresource=status", "--type=merge", "-p", `{"status":{"hard":{"pods":"10"}}}`)
	d = c.deployment(t, ns, "the recovery", func(d *appsv1.Deployment) bool { return d.Status.ReadyReplicas == 4 })
	for _, cond := range d.Status.Conditions {
		if cond.Type == appsv1.DeploymentReplicaFailure {
			t.Errorf("condition ReplicaFailure is still there: %s", cond.Message)
		}
	}
}
