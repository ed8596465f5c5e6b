// Package pressure shows what a node does when it runs short of memory or of
// disk: which pod goes and what is said about it, and which images go.
package pressure

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/test/kubelet/nodetest"
)

// Sizes in MiB. All pods together may have podMemory; the kubelet's directory
// and the images each have a file system of their own.
const (
	podMemory  = 600
	memoryLeft = 250 // below which pods are evicted
	rootSize   = 200
	diskLeft   = 80
	imageSize  = 300
	imagesLeft = 60
)

func memory(t *testing.T) int64 {
	t.Helper()
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	var kilo int64
	if _, err := fmt.Sscanf(string(raw), "MemTotal: %d kB", &kilo); err != nil {
		t.Fatal(err)
	}
	return kilo << 10
}

func start(t *testing.T) *nodetest.Node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests run containers: run them as root")
	}
	config := fmt.Sprintf(`systemReserved: {memory: "%d"}
evictionHard: {memory.available: %dMi, nodefs.available: %dMi, imagefs.available: %dMi}
evictionPressureTransitionPeriod: 10s
`, memory(t)-podMemory<<20, memoryLeft, diskLeft, imagesLeft)
	n, err := nodetest.Start(nodetest.Options{
		Config: config, RootSize: fmt.Sprintf("%dm", rootSize), ImageSize: fmt.Sprintf("%dm", imageSize), Controllers: []string{"--controllers=node-lifecycle-controller"},
	})
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

func TestPressure(t *testing.T) {
	n := start(t)
	create(t, n, pod(n, "modest", "wait"))
	running(t, n, "modest")
	t.Run("memory", func(t *testing.T) { short(t, n, memoryShort) })
	t.Run("disk", func(t *testing.T) { short(t, n, diskShort) })
	t.Run("images", func(t *testing.T) { images(t, n) })
	p := get(t, n, "modest")
	if p.Status.Phase != corev1.PodRunning || p.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the modest pod: %v", p.Status)
	}
}

func pod(n *nodetest.Node, name string, args ...string) *corev1.Pod {
	grace, no := int64(1), false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{
			NodeName: n.Name, TerminationGracePeriodSeconds: &grace, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{Name: "main", Image: nodetest.Agent, Args: args, ImagePullPolicy: corev1.PullNever}},
		},
	}
}

func create(t *testing.T, n *nodetest.Node, p *corev1.Pod) {
	t.Helper()
	if _, err := n.Client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, n *nodetest.Node, name string) *corev1.Pod {
	t.Helper()
	p, err := n.Client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func running(t *testing.T, n *nodetest.Node, name string) {
	t.Helper()
	nodetest.Until(t, "pod "+name+" runs", func() error {
		if p := get(t, n, name); p.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("%v", p.Status)
		}
		return nil
	})
}

// shortage is what a pod does to the node, and what the node says.
type shortage struct {
	name      string
	greedy    func(*nodetest.Node) *corev1.Pod
	message   string // a regular expression
	condition corev1.NodeConditionType
	reasons   [2]string // of the condition, false and true
	taint     string
}

var memoryShort = shortage{
	name: "greedy-memory",
	greedy: func(n *nodetest.Node) *corev1.Pod {
		return pod(n, "greedy-memory", "memory", fmt.Sprint(podMemory-memoryLeft+100))
	},
	message: `^The node was low on resource: memory\. Threshold quantity: 250Mi, available: \d+Ki\. ` +
		`Container main was using \d+Ki, request is 0, has larger consumption of memory\. $`,
	condition: corev1.NodeMemoryPressure, reasons: [2]string{"KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"}, taint: corev1.TaintNodeMemoryPressure,
}

var diskShort = shortage{
	name: "greedy-disk",
	greedy: func(n *nodetest.Node) *corev1.Pod {
		p := pod(n, "greedy-disk", "fill", "/data/file", fmt.Sprint(rootSize-diskLeft+20))
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		return p
	},
	message:   `^The node was low on resource: ephemeral-storage\. Threshold quantity: 80Mi, available: \d+Ki\. `,
	condition: corev1.NodeDiskPressure, reasons: [2]string{"KubeletHasNoDiskPressure", "KubeletHasDiskPressure"}, taint: corev1.TaintNodeDiskPressure,
}

func short(t *testing.T, n *nodetest.Node, s shortage) {
	node := func() *corev1.Node {
		t.Helper()
		out, err := n.Client.CoreV1().Nodes().Get(t.Context(), n.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	is := func(want corev1.ConditionStatus, reason string, tainted bool) {
		t.Helper()
		nodetest.Until(t, fmt.Sprintf("%s=%s", s.condition, want), func() error {
			now := node()
			i := slices.IndexFunc(now.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == s.condition })
			has := slices.ContainsFunc(now.Spec.Taints, func(x corev1.Taint) bool { return x.Key == s.taint && x.Effect == corev1.TaintEffectNoSchedule })
			if i < 0 || now.Status.Conditions[i].Status != want || now.Status.Conditions[i].Reason != reason || has != tainted {
				return fmt.Errorf("conditions %v, taints %v", now.Status.Conditions, now.Spec.Taints)
			}
			return nil
		})
	}
	is(corev1.ConditionFalse, s.reasons[0], false)
	// The condition may be short-lived: it is watched for before it comes.
	pressed := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), nodetest.Patience)
	defer cancel()
	w, err := n.Client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{ResourceVersion: node().ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	go func() { pressed <- seen(w.ResultChan(), s) }()

	create(t, n, s.greedy(n))
	var p *corev1.Pod
	nodetest.Until(t, "the greedy pod is evicted", func() error {
		if p = get(t, n, s.name); p.Status.Phase != corev1.PodFailed {
			return fmt.Errorf("%v", p.Status)
		}
		return nil
	})
	if p.Status.Reason != "Evicted" || !regexp.MustCompile(s.message).MatchString(p.Status.Message) {
		t.Errorf("reason %q, message %q", p.Status.Reason, p.Status.Message)
	}
	disrupted := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason == corev1.PodReasonTerminationByKubelet && c.Message == p.Status.Message
	})
	if !disrupted {
		t.Errorf("conditions %v", p.Status.Conditions)
	}
	nodetest.Until(t, "the event", func() error {
		list, err := n.Client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=Evicted,involvedObject.name=" + s.name})
		if err == nil && (len(list.Items) != 1 || list.Items[0].Message != p.Status.Message || list.Items[0].Type != corev1.EventTypeWarning) {
			err = fmt.Errorf("events %v", list.Items)
		}
		return err
	})
	if err := <-pressed; err != nil {
		t.Error(err)
	}
	// What the pod held is free again, and so is the node.
	if err := n.Client.CoreV1().Pods("default").Delete(t.Context(), s.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	is(corev1.ConditionFalse, s.reasons[0], false)
}

// seen waits for the node under pressure.
func seen(changes <-chan watch.Event, s shortage) error {
	var condition, taint bool
	for e := range changes {
		n, ok := e.Object.(*corev1.Node)
		if !ok {
			return fmt.Errorf("the watch says %v", e.Object)
		}
		condition = condition || slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == s.condition && c.Status == corev1.ConditionTrue && c.Reason == s.reasons[1]
		})
		taint = taint || slices.ContainsFunc(n.Spec.Taints, func(x corev1.Taint) bool { return x.Key == s.taint })
		if condition && taint {
			return nil
		}
	}
	return fmt.Errorf("condition %s seen: %t; taint %s seen: %t", s.condition, condition, s.taint, taint)
}

// images: when their file system fills up, those that nobody uses go, and no
// pod has to; those in use and the sandboxes' stay.
func images(t *testing.T, n *nodetest.Node) {
	const port = 5057
	registry, err := n.Registry(port, "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close() }) // the node goes too
	p := pod(n, "once", "echo", "done")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = registry.Address+"/once:1", corev1.PullIfNotPresent
	create(t, n, p)
	nodetest.Until(t, "pod once is done", func() error {
		if p := get(t, n, "once"); p.Status.Phase != corev1.PodSucceeded {
			return fmt.Errorf("%v", p.Status)
		}
		return nil
	})
	if err := n.Client.CoreV1().Pods("default").Delete(t.Context(), "once", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	cri, conn, err := n.CRI()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	names := func() []string {
		list, err := runtimeapi.NewImageServiceClient(conn).ListImages(t.Context(), &runtimeapi.ListImagesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, i := range list.Images {
			out = append(out, i.RepoTags...)
		}
		slices.Sort(out)
		return out
	}
	if have := names(); !slices.Contains(have, registry.Address+"/once:1") {
		t.Fatalf("images %v", have)
	}
	nodetest.Until(t, "no container of it", func() error {
		list, err := cri.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{LabelSelector: map[string]string{"io.kubernetes.pod.name": "once"}}})
		if err == nil && len(list.Containers) > 0 {
			err = fmt.Errorf("there are %v", list.Containers)
		}
		return err
	})
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Join(n.Dir, "root"), &st); err != nil {
		t.Fatal(err)
	}
	const missing = 10 << 20 // less than the image that nobody uses takes
	filler := int64(st.Bavail)*st.Bsize - imagesLeft<<20 + missing
	if err := os.WriteFile(filepath.Join(n.Dir, "root", "filler"), make([]byte, filler), 0o600); err != nil {
		t.Fatal(err)
	}
	nodetest.Until(t, "the unused image is removed", func() error {
		if have := names(); !slices.Equal(have, []string{nodetest.Agent, nodetest.Pause}) {
			return fmt.Errorf("images %v", have)
		}
		return nil
	})
}
