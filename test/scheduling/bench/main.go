// Command bench measures scheduling end to end: pods created over REST with a
// real kube-apiserver and etcd until all are bound, for the workloads by which
// schedulers are compared. It prints a Markdown table with pods per second and
// the processor time per pod over the three processes, and a second one of
// decisions alone.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/scheduler/workload"
	"xebec.dev/test/scheduling/plant"
)

type options struct {
	root, only, profiles string
	nodes                int
	decisions, ends      bool
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", "..", "the tree's root, with bin/")
	flag.StringVar(&o.only, "run", "", "run only workloads whose name contains this")
	flag.IntVar(&o.nodes, "nodes", 5000, "nodes of each workload; pods are in proportion")
	flag.BoolVar(&o.decisions, "decisions", true, "measure decisions alone")
	flag.BoolVar(&o.ends, "end-to-end", true, "measure end to end")
	flag.StringVar(&o.profiles, "profiles", "", "a directory for the scheduler's CPU profiles")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.decisions {
		fmt.Print("### Decisions alone\n\n")
		c := exec.CommandContext(ctx, "go", "run", "./internal/decisionbench", "-nodes", strconv.Itoa(o.nodes), "-run", o.only)
		c.Dir, c.Stdout, c.Stderr = filepath.Join(o.root, "scheduler"), os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("decisions: %w", err)
		}
		fmt.Println()
	}
	if !o.ends {
		return nil
	}
	fmt.Print("### End to end: created over REST, bound in etcd\n\n| workload | nodes | init pods | measured | pods/s | CPU ms per pod | apiserver | etcd | scheduler |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range workload.Cases(o.nodes) {
		if !strings.Contains(c.Name, o.only) || c.Evicts {
			continue
		}
		r, err := measure(ctx, o, &c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		per := func(d time.Duration) float64 { return d.Seconds() * 1000 / float64(c.Measured) }
		fmt.Printf("| %s | %d | %d | %d | %.0f | %.2f | %.2f | %.2f | %.2f |\n", c.Name, c.Nodes, c.Init, c.Measured,
			float64(c.Measured)/r.elapsed.Seconds(), per(r.apiserver+r.etcd+r.scheduler), per(r.apiserver), per(r.etcd), per(r.scheduler))
	}
	return nil
}

type result struct{ elapsed, apiserver, etcd, scheduler time.Duration }

func measure(ctx context.Context, o options, c *workload.Case) (r result, err error) {
	dir, err := os.MkdirTemp("", "schedbench")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	bin, err := filepath.Abs(filepath.Join(o.root, "bin"))
	if err != nil {
		return r, err
	}
	p, err := plant.Start(plant.Options{Bin: bin, Dir: dir})
	if err != nil {
		return r, err
	}
	defer p.Stop()
	to, err := p.NewCreator()
	if err != nil {
		return r, err
	}
	if err := prepare(ctx, to, c); err != nil {
		return r, err
	}
	if err := to.All(ctx, "/api/v1/namespaces/sched-0/pods", c.Init, func(i int) scheme.Object { return fresh(c.InitPod(i)) }); err != nil {
		return r, err
	}
	if err := scheduled(ctx, p, c.Init); err != nil {
		return r, err
	}
	if o.profiles != "" {
		defer profile(p, filepath.Join(o.profiles, c.Name+".pprof"))()
	}
	before := cpu(p)
	began := time.Now()
	if err := to.All(ctx, "/api/v1/namespaces/sched-1/pods", c.Measured, func(i int) scheme.Object { return fresh(c.Pod(i)) }); err != nil {
		return r, err
	}
	if err := scheduled(ctx, p, c.Init+c.Measured); err != nil {
		return r, err
	}
	after := cpu(p)
	r = result{time.Since(began), after.apiserver - before.apiserver, after.etcd - before.etcd, after.scheduler - before.scheduler}
	return r, check(ctx, p, c)
}

func cpu(p *plant.Plant) result {
	return result{0, p.APIServer.CPU(), p.Etcd.CPU(), p.Scheduler.CPU()}
}

// fresh is a pod as a client creates it.
func fresh(p *corev1.Pod) *corev1.Pod {
	p.UID, p.Status = "", corev1.PodStatus{}
	return p
}

func prepare(ctx context.Context, to *plant.Creator, c *workload.Case) error {
	if err := to.Namespaces(ctx, "sched-0", "sched-1"); err != nil {
		return err
	}
	for _, s := range c.Services {
		s.UID = ""
		if err := to.All(ctx, "/api/v1/namespaces/"+s.Namespace+"/services", 1, func(int) scheme.Object { return s }); err != nil {
			return err
		}
	}
	nodes := c.NodeList()
	return to.All(ctx, "/api/v1/nodes", len(nodes), func(i int) scheme.Object {
		nodes[i].UID = ""
		return nodes[i]
	})
}

// scheduled waits until the scheduler has bound so many pods.
func scheduled(ctx context.Context, p *plant.Plant, want int) error {
	last, since := -1, time.Now()
	for {
		n, err := attempts(p)
		if err != nil {
			return err
		}
		if n >= want {
			return nil
		}
		if n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > 2*time.Minute {
			return fmt.Errorf("%d of %d pods scheduled, and no more for two minutes\n%s", n, want, p.Scheduler.Log())
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// attempts is how many pods the scheduler says it has bound.
func attempts(p *plant.Plant) (int, error) {
	resp, err := plant.Insecure.Get(p.SchedulerURL() + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("scheduler's metrics: %s", resp.Status)
	}
	total := 0.0
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "scheduler_schedule_attempts_total{") && strings.Contains(line, `result="scheduled"`) {
			v, err := strconv.ParseFloat(line[strings.LastIndex(line, " ")+1:], 64)
			if err != nil {
				return 0, err
			}
			total += v
		}
	}
	return int(total), nil
}

// check asks the API server whether every pod has a node, and none too many.
func check(ctx context.Context, p *plant.Plant, c *workload.Case) error {
	api, err := p.Client()
	if err != nil {
		return err
	}
	defer api.Close()
	pods, _, err := client.List[*corev1.Pod](ctx, api, client.Selection{}, client.ReadOptions{Fields: []string{"spec.nodeName"}})
	if err != nil {
		return err
	}
	on := map[string]int{}
	for _, pod := range pods {
		on[pod.Spec.NodeName]++
	}
	if on[""] > 0 || len(pods) != c.Init+c.Measured {
		return fmt.Errorf("%d of %d pods have no node", on[""], len(pods))
	}
	for node, n := range on {
		if n > 40 { // of 100m on 4 CPUs
			return fmt.Errorf("node %s has %d pods", node, n)
		}
	}
	return nil
}

// profile records the scheduler's CPU profile until the returned function is
// called, or for half a minute.
func profile(p *plant.Plant, path string) func() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := (&http.Client{Transport: plant.Insecure.Transport}).Get(p.SchedulerURL() + "/debug/pprof/profile?seconds=8")
		if err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
			return
		}
		defer resp.Body.Close()
		f, err := os.Create(path)
		if err == nil {
			_, err = io.Copy(f, resp.Body)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "profile:", err)
		}
	}()
	return func() { <-done }
}
