package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/test/cluster"
)

// A failure that comes once in a hundred runs is found from what its first
// sight has left, or never. So a test that fails tells at once what the API says
// of its pods, what the kubelets believe of them, what their runtimes run, and
// what the daemons have said; later tests would write over it.

// failed tells the state of the namespace of a test that has failed.
func (u user) failed() {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var b strings.Builder
	fmt.Fprintf(&b, "the test failed; at %s the state of namespace %s is\n", time.Now().UTC().Format(time.RFC3339Nano), u.namespace)
	for _, what := range [][]string{{"get", "all", "-o", "wide"}, {"get", "events", "--sort-by=.lastTimestamp"}, {"get", "nodes", "-o", "wide"}} {
		out, err := u.output(what...)
		section(&b, "kubectl "+strings.Join(what, " "), out, err)
	}
	u.pods(ctx, &b)
	found, err := tasks(u.namespace)
	section(&b, "processes of containers and sandboxes, by their runtimes", fmt.Sprint(found), err)
	for _, n := range running.Members() {
		u.node(ctx, &b, n)
	}
	u.t.Log(b.String())
}

func section(b *strings.Builder, title, text string, err error) {
	fmt.Fprintf(b, "== %s\n%s\n", title, strings.TrimRight(text, "\n"))
	if err != nil {
		fmt.Fprintln(b, "but:", err)
	}
}

// pods tells all of those that are not ready.
func (u user) pods(ctx context.Context, b *strings.Builder) {
	list, err := api.CoreV1().Pods(u.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		section(b, "pods", "", err)
		return
	}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil && readyPod(&p) {
			continue
		}
		for i := range p.ManagedFields { // who wrote when is worth a look, what is not
			p.ManagedFields[i].FieldsV1 = nil
		}
		text, err := yaml.Marshal(p)
		section(b, "pod "+p.Name, string(text), err)
	}
}

func readyPod(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// node tells what a node's kubelet believes and does, and what daemons said.
func (u user) node(ctx context.Context, b *strings.Builder, n *cluster.Node) {
	raw, err := api.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/" + n.Name + "/proxy/pods").DoRaw(ctx)
	var believed corev1.PodList
	if err == nil {
		err = yaml.Unmarshal(raw, &believed)
	}
	var pods strings.Builder
	for _, p := range believed.Items {
		if p.Namespace == u.namespace {
			fmt.Fprintf(&pods, "%s %s phase %s, ready %t, deleted %v\n", p.Name, p.UID, p.Status.Phase, readyPod(&p), p.DeletionTimestamp)
		}
	}
	section(b, "pods, as the kubelet of "+n.Name+" knows them", pods.String(), err)
	raw, err = api.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/"+n.Name+"/proxy/debug/pprof/goroutine").Param("debug", "1").DoRaw(ctx)
	section(b, "what the kubelet of "+n.Name+" does", string(raw), err)
	const lines = 60
	for _, daemon := range []string{"kubelet", "containerd", "supervisor"} {
		tail(b, n.Log(daemon), lines, u.namespace)
	}
	logs, err := filepath.Glob(n.Path("/var/log/pods/kube-system_*/*/*.log"))
	if err != nil {
		section(b, "logs of "+n.Name, "", err)
	}
	for _, path := range logs {
		tail(b, path, lines/2, u.namespace)
	}
}

// tail tells the last lines of a file, and before them as many that have a word.
func tail(b *strings.Builder, path string, lines int, word string) {
	raw, err := os.ReadFile(path)
	all := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	from := max(0, len(all)-lines)
	var named []string
	for _, line := range all[:from] {
		if strings.Contains(line, word) {
			named = append(named, line)
		}
	}
	named = named[max(0, len(named)-lines):]
	section(b, fmt.Sprintf("%s: %d lines with %q, then the last", path, len(named), word), strings.Join(append(named, all[from:]...), "\n"), err)
}
