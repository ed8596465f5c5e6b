package controllers

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/clientcmd"

	corev1 "k8s.io/api/core/v1"
)

// used is what a process has taken so far.
type used struct {
	cpu time.Duration
	rss int // bytes
}

// clockTick of /proc/PID/stat.
const clockTick = 10 * time.Millisecond

func usage(b *testing.B, pid int) used {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	// The name is in parentheses and may have spaces.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+2:]))
	number := func(i int) int {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	return used{cpu: time.Duration(number(11)+number(12)) * clockTick, rss: number(21) * os.Getpagesize()}
}

// follow counts the pods of a namespace as they come and go, and gives a
// function that waits for a number.
func follow(b *testing.B, c *cluster, ns string) func(want int) {
	b.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", c.server.Kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	w, err := metadata.NewForConfigOrDie(cfg).Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(ns).Watch(context.Background(), metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Stop)
	n := 0
	return func(want int) {
		late := time.After(2 * time.Minute)
		for n != want {
			select {
			case e, ok := <-w.ResultChan():
				switch {
				case !ok:
					b.Fatal("the watch has ended")
				case e.Type == watch.Added:
					n++
				case e.Type == watch.Deleted:
					n--
				}
			case <-late:
				b.Fatalf("%d pods after two minutes, want %d", n, want)
			}
		}
	}
}

// row is a line of the table: the median of the rounds.
type row struct {
	what       string
	took       []time.Duration
	goal       time.Duration
	cpu, ofAPI []time.Duration
}

func median(l []time.Duration) time.Duration {
	l = append([]time.Duration(nil), l...)
	sort.Slice(l, func(i, j int) bool { return l[i] < l[j] })
	return l[len(l)/2]
}

func (r *row) print() {
	took := median(r.took)
	text := fmt.Sprintf("%.2f s (goal %s)", took.Seconds(), r.goal)
	if took > r.goal {
		text = fmt.Sprintf("**%.2f s** (goal %s missed)", took.Seconds(), r.goal)
	}
	fmt.Printf("| %s | %s | %d ms | %d ms |\n", r.what, text, median(r.cpu).Milliseconds(), median(r.ofAPI).Milliseconds())
}

// BenchmarkControllers measures what issue and documentation promise: a
// Deployment scaled to 1,000 pods, and its deletion, without kubelets; then
// what the program takes when nothing happens. Run with -benchtime 5x: the
// table has medians.
func BenchmarkControllers(b *testing.B) {
	const pods, goal = 1000, 2 * time.Second
	c := newCluster(b)
	m := c.manage("-v=0")
	rows := []*row{
		{what: fmt.Sprintf("scale a Deployment to %d", pods), goal: goal},
		{what: "delete it in the background", goal: goal},
		{what: fmt.Sprintf("create a Deployment of %d", pods), goal: goal},
		{what: "delete it in the foreground", goal: goal},
	}
	measure := func(r *row, f func()) {
		cm, api := usage(b, m.cmd.Process.Pid), usage(b, c.server.PID())
		began := time.Now()
		f()
		r.took = append(r.took, time.Since(began))
		r.cpu = append(r.cpu, usage(b, m.cmd.Process.Pid).cpu-cm.cpu)
		r.ofAPI = append(r.ofAPI, usage(b, c.server.PID()).cpu-api.cpu)
	}
	b.ResetTimer()
	for range b.N {
		ns := c.namespace(b)
		wait := follow(b, c, ns)
		deployments := c.AppsV1().Deployments(ns)
		remove := func(how metav1.DeletionPropagation) {
			if err := deployments.Delete(b.Context(), "web", metav1.DeleteOptions{PropagationPolicy: &how}); err != nil {
				b.Fatal(err)
			}
			wait(0)
		}
		c.kubectl(b, ns, strings.Replace(web, "replicas: 4", "replicas: 0", 1), "apply", "-f", "-")
		c.deploymentSeen(b, ns)
		measure(rows[0], func() {
			patch := []byte(fmt.Sprintf(`{"spec":{"replicas":%d}}`, pods))
			if _, err := deployments.Patch(b.Context(), "web", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				b.Fatal(err)
			}
			wait(pods)
		})
		c.settled(b, ns, pods)
		measure(rows[1], func() { remove(metav1.DeletePropagationBackground) })
		measure(rows[2], func() {
			c.kubectl(b, ns, strings.Replace(web, "replicas: 4", fmt.Sprintf("replicas: %d", pods), 1), "apply", "-f", "-")
			wait(pods)
		})
		c.settled(b, ns, pods)
		measure(rows[3], func() { remove(metav1.DeletePropagationForeground) })
	}
	b.StopTimer()
	fmt.Printf("\n### Controllers, %d pods, no kubelets, medians of %d\n\n| what | time | CPU of the controller manager | of the API server with etcd |\n|---|---|---|---|\n", pods, b.N)
	for i, r := range rows {
		r.print()
		b.ReportMetric(median(r.took).Seconds(), []string{"scale-s", "delete-s", "create-s", "foreground-s"}[i])
	}
	c.idle(b, m)
}

func (c *cluster) deploymentSeen(b *testing.B, ns string) {
	eventually(b, "the deployment to be seen", func() error {
		d, err := c.AppsV1().Deployments(ns).Get(b.Context(), "web", metav1.GetOptions{})
		if err == nil && d.Status.ObservedGeneration != d.Generation {
			err = fmt.Errorf("generation %d of %d", d.Status.ObservedGeneration, d.Generation)
		}
		return err
	})
}

// settled waits until nothing is to be written any more.
func (c *cluster) settled(b *testing.B, ns string, pods int32) {
	eventually(b, "the status", func() error {
		d, err := c.AppsV1().Deployments(ns).Get(b.Context(), "web", metav1.GetOptions{})
		if err == nil && d.Status.Replicas != pods {
			err = fmt.Errorf("%d replicas", d.Status.Replicas)
		}
		return err
	})
}

// idle prints what the program takes when nothing happens.
func (c *cluster) idle(b *testing.B, m *manager) {
	m.kill()
	m = c.manage("-v=0")
	time.Sleep(5 * time.Second) // it starts
	const long = 20 * time.Second
	before := usage(b, m.cmd.Process.Pid)
	time.Sleep(long)
	after := usage(b, m.cmd.Process.Pid)
	fmt.Printf("\nIdle for %s: %.0f MB RSS, %.2f %% of a core.\n\n", long, float64(after.rss)/1e6, 100*float64(after.cpu-before.cpu)/float64(long))
}
