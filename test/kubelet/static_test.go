package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/test/kubelet/nodetest"
)

const manifest = `apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: kube-system, labels: {version: "%s"}}
spec:
  terminationGracePeriodSeconds: 1
  priorityClassName: system-node-critical
  containers:
  - {name: main, image: ` + nodetest.Agent + `, args: [serve, "8080"]}
`

func place(t *testing.T, n *nodetest.Node, name, version string) {
	t.Helper()
	path := filepath.Join(n.Manifests(), name+".yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, manifest, name, version), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
}

// running are the containers of a pod that run, by id, straight from the runtime.
func running(t *testing.T, n *nodetest.Node, pod string) []string {
	t.Helper()
	cri, conn, err := n.CRI()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	list, err := cri.ListContainers(context.Background(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{
		State:         &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING},
		LabelSelector: map[string]string{"io.kubernetes.pod.name": pod},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range list.Containers {
		ids = append(ids, c.Id)
	}
	return ids
}

// A static pod is shown by a mirror pod; it follows its manifest, not the API.
func TestStaticPod(t *testing.T) {
	t.Parallel()
	place(t, node, "static", "1")
	name := "static-" + node.Name
	pods := node.Client.CoreV1().Pods("kube-system")
	mirror := func(what string, f func(p *corev1.Pod) bool) (p *corev1.Pod) {
		t.Helper()
		until(t, what, func() (err error) {
			if p, err = pods.Get(t.Context(), name, metav1.GetOptions{}); err != nil {
				return err
			}
			if !f(p) {
				return fmt.Errorf("status %v", p.Status)
			}
			return nil
		})
		return p
	}
	p := mirror("mirror pod ready", ready)
	hash := p.Annotations["kubernetes.io/config.hash"]
	if p.Annotations["kubernetes.io/config.mirror"] != hash || hash == "" || p.Annotations["kubernetes.io/config.source"] != "file" || p.Annotations["kubernetes.io/config.seen"] == "" {
		t.Errorf("annotations %v", p.Annotations)
	}
	if len(p.OwnerReferences) != 1 || p.OwnerReferences[0].Kind != "Node" || p.OwnerReferences[0].Name != node.Name || !*p.OwnerReferences[0].Controller {
		t.Errorf("owners %v", p.OwnerReferences)
	}
	before := running(t, node, name)
	if len(before) != 1 {
		t.Fatalf("%d containers run", len(before))
	}
	// Deleting the mirror changes nothing: it is made again.
	if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	mirror("another mirror pod", func(have *corev1.Pod) bool { return have.UID != p.UID && ready(have) })
	if after := running(t, node, name); len(after) != 1 || after[0] != before[0] {
		t.Errorf("containers %v before, %v after", before, after)
	}
	// Another manifest is another pod: the old one ends first.
	place(t, node, "static", "2")
	mirror("changed mirror pod", func(p *corev1.Pod) bool {
		return p.Labels["version"] == "2" && p.Annotations["kubernetes.io/config.hash"] != hash && ready(p)
	})
	if after := running(t, node, name); len(after) != 1 || after[0] == before[0] {
		t.Errorf("containers %v before, %v after", before, after)
	}
	if err := os.Remove(filepath.Join(node.Manifests(), "static.yaml")); err != nil {
		t.Fatal(err)
	}
	until(t, "mirror pod gone", func() error {
		_, err := pods.Get(t.Context(), name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v", err)
		}
		if ids := running(t, node, name); len(ids) > 0 {
			return fmt.Errorf("containers run: %v", ids)
		}
		return nil
	})
}

// own starts a node that this test alone uses.
func own(t *testing.T, o nodetest.Options) *nodetest.Node {
	t.Helper()
	o.Containerd = *containerd
	n, err := nodetest.Start(o)
	t.Cleanup(func() {
		if t.Failed() && n != nil {
			t.Log(n.LastWords())
		}
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Static pods run without any API server: the control plane is made of them.
// A kubelet that is killed and started again leaves what runs alone.
func TestStandalone(t *testing.T) {
	n := own(t, nodetest.Options{Standalone: true})
	place(t, n, "alone", "1")
	name := "alone-" + n.Name
	var before []string
	until(t, "static pod runs", func() error {
		if before = running(t, n, name); len(before) != 1 {
			return fmt.Errorf("%d containers run", len(before))
		}
		return nil
	})
	for range 3 {
		n.KillKubelet()
		if err := n.StartKubelet(); err != nil {
			t.Fatal(err)
		}
		until(t, "kubelet answers", func() error {
			out, err := n.Command("curl", "-sf", "http://127.0.0.1:10248/healthz")
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	if after := running(t, n, name); len(after) != 1 || after[0] != before[0] {
		t.Errorf("containers %v before, %v after", before, after)
	}
	if strings.Contains(n.Log(), "panic") {
		t.Error(n.Log())
	}
}

// F20, F21: a kubelet that is killed again and again restarts no container,
// keeps probes' results, and ends what was deleted meanwhile with its grace.
func TestKubeletRestart(t *testing.T) {
	n := own(t, nodetest.Options{})
	pods := n.Client.CoreV1().Pods("default")
	many, kills := 30, 50
	if testing.Short() {
		many, kills = 5, 5
	}
	for i := range many {
		p := always(pod(fmt.Sprintf("keep-%d", i), "serve", "8080"))
		p.Spec.NodeName = n.Name
		p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 5, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"agent", "get", "http://127.0.0.1:8080/healthz"}}}, TimeoutSeconds: 60}
		if _, err := pods.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	allReady := func() error {
		list, err := pods.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if p := &list.Items[i]; strings.HasPrefix(p.Name, "keep-") && !ready(p) {
				return fmt.Errorf("%s: %v", p.Name, p.Status)
			}
		}
		return nil
	}
	until(t, "all ready", allReady)
	watch, err := pods.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	ids := map[string]string{}
	list, err := pods.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		ids[p.Name] = p.Status.ContainerStatuses[0].ContainerID
	}
	for range kills {
		n.KillKubelet()
		if err := n.StartKubelet(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(700 * time.Millisecond) // somewhere in its start
	}
	// While it is down, one pod is deleted and made again.
	n.KillKubelet()
	old, err := pods.Get(t.Context(), "keep-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	now := int64(0)
	if err := pods.Delete(t.Context(), "keep-0", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	next := always(pod("keep-0", "serve", "8080"))
	next.Spec.NodeName = n.Name
	if next, err = pods.Create(t.Context(), next, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := n.StartKubelet(); err != nil {
		t.Fatal(err)
	}
	until(t, "the new pod ready, the old one gone", func() error {
		p, err := pods.Get(t.Context(), "keep-0", metav1.GetOptions{})
		if err != nil || !ready(p) || p.UID != next.UID {
			return fmt.Errorf("%v %v", err, p.Status)
		}
		if ids := running(t, n, "keep-0"); len(ids) != 1 {
			return fmt.Errorf("containers %v run", ids)
		}
		if _, err := os.Stat(filepath.Join(n.Root(), "pods", string(old.UID))); !os.IsNotExist(err) {
			return fmt.Errorf("the old pod's directory is there")
		}
		return nil
	})
	until(t, "all ready", allReady)
	for i := 1; i < many; i++ {
		p, err := pods.Get(t.Context(), fmt.Sprintf("keep-%d", i), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if s := p.Status.ContainerStatuses[0]; s.ContainerID != ids[p.Name] || s.RestartCount != 0 {
			t.Errorf("%s was %s, is %s, restarted %d times", p.Name, ids[p.Name], s.ContainerID, s.RestartCount)
		}
	}
	for {
		select {
		case e := <-watch.ResultChan():
			if p, ok := e.Object.(*corev1.Pod); ok && strings.HasPrefix(p.Name, "keep-") && p.Name != "keep-0" && !ready(p) {
				t.Errorf("%s was unready meanwhile: %v", p.Name, p.Status)
			}
			continue
		default:
		}
		break
	}
}

// While the API server is down, pods live on and static ones start; what
// happened is reported when it is back.
func TestWithoutAPI(t *testing.T) {
	n := own(t, nodetest.Options{})
	pods := n.Client.CoreV1().Pods("default")
	p := always(pod("crashes", "sleep", "2"))
	p.Spec.NodeName = n.Name
	if _, err := pods.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "it runs", func() error {
		if ids := running(t, n, "crashes"); len(ids) != 1 {
			return fmt.Errorf("%v", ids)
		}
		return nil
	})
	n.StopAPI()
	place(t, n, "meanwhile", "1")
	until(t, "the static pod runs", func() error {
		if ids := running(t, n, "meanwhile-"+n.Name); len(ids) != 1 {
			return fmt.Errorf("%v", ids)
		}
		return nil
	})
	if err := n.StartAPI(); err != nil {
		t.Fatal(err)
	}
	until(t, "restarts are reported", func() error {
		p, err := pods.Get(t.Context(), "crashes", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s := p.Status.ContainerStatuses; len(s) == 0 || s[0].RestartCount < 1 {
			return fmt.Errorf("%v", p.Status)
		}
		_, err = n.Client.CoreV1().Pods("kube-system").Get(t.Context(), "meanwhile-"+n.Name, metav1.GetOptions{})
		return err
	})
}

// TestStaticPodPutBack: a manifest that is taken away and put back while its
// pod is still ending is run again.
func TestStaticPodPutBack(t *testing.T) {
	t.Parallel()
	text := strings.Replace(fmt.Sprintf(manifest, "back", "1"), `[serve, "8080"]`, "[stubborn]", 1)
	text = strings.Replace(text, "terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 4", 1)
	path, name := filepath.Join(node.Manifests(), "back.yaml"), "back-"+node.Name
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	isReady := func() error {
		p, err := node.Client.CoreV1().Pods("kube-system").Get(t.Context(), name, metav1.GetOptions{})
		if err == nil && !ready(p) {
			err = fmt.Errorf("status %v", p.Status)
		}
		return err
	}
	until(t, "the pod is ready", isReady)
	before := running(t, node, name)
	away := filepath.Join(filepath.Dir(node.Manifests()), "back-away.yaml") // on the same file system
	if err := os.Rename(path, away); err != nil {
		t.Fatal(err)
	}
	until(t, "the pod is being ended", func() error {
		events, err := node.Client.CoreV1().Events("kube-system").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=Killing,involvedObject.name=" + name})
		if err == nil && len(events.Items) == 0 {
			err = fmt.Errorf("nobody says so")
		}
		return err
	})
	if err := os.Rename(away, path); err != nil {
		t.Fatal(err)
	}
	until(t, "another container runs", func() error {
		if after := running(t, node, name); len(after) != 1 || slices.Equal(after, before) {
			return fmt.Errorf("containers were %v, and are %v", before, after)
		}
		return nil
	})
	until(t, "and is told to be ready", isReady)
}
