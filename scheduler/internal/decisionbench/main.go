// Command decisionbench measures decisions alone: queue, decision, assumption
// and the bookkeeping around them, with bindings that succeed at once and are
// confirmed as the watch would. It prints a Markdown table.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/config"
	"xebec.dev/scheduler/internal/feed"
	"xebec.dev/scheduler/internal/loop"
	"xebec.dev/scheduler/internal/plugins/podtopologyspread"
	"xebec.dev/scheduler/workload"
)

func main() {
	nodes := flag.Int("nodes", 5000, "nodes of each case")
	only := flag.String("run", "", "run only cases whose name contains this")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this file")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Println("| workload | nodes | init pods | measured | pods/s | pods per CPU s | CPU µs per pod |\n|---|---|---|---|---|---|---|")
	for _, c := range workload.Cases(*nodes) {
		if !strings.Contains(c.Name, *only) {
			continue
		}
		d, cpu, err := run(&c)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.Name, err)
			os.Exit(1)
		}
		pods := float64(c.Measured)
		fmt.Printf("| %s | %d | %d | %d | %.0f | %.0f | %.1f |\n", c.Name, c.Nodes, c.Init, c.Measured, pods/d.Seconds(), pods/cpu.Seconds(), float64(cpu.Microseconds())/pods)
	}
}

// sink binds at once and confirms, as the watch would.
type sink struct {
	l     *loop.Loop
	bound int
}

func (s *sink) Bind(p *corev1.Pod, node string, done func(error)) {
	s.bound++
	done(nil)
	now := *p
	now.Spec.NodeName = node
	s.l.Post(func() { s.l.PodChanged(feed.Change[*corev1.Pod]{Old: p, New: &now}) })
}
func (s *sink) PatchStatus(_ *corev1.Pod, _ []byte, done func(error)) { done(nil) }
func (s *sink) Delete(p *corev1.Pod, done func(error)) {
	done(nil)
	s.l.Post(func() { s.l.PodChanged(feed.Change[*corev1.Pod]{Old: p}) })
}
func (s *sink) Record(*corev1.Pod, string, string, string, string, string) {
}

func run(c *workload.Case) (elapsed, cpu time.Duration, err error) {
	cfg, err := config.Load("")
	if err != nil {
		return 0, 0, err
	}
	owners := podtopologyspread.NewOwners()
	for _, s := range c.Services {
		owners.Services.Apply([]feed.Change[*corev1.Service]{{New: s}})
	}
	profiles, err := config.Profiles(cfg, config.Deps{Owners: owners})
	if err != nil {
		return 0, 0, err
	}
	s := &sink{}
	s.l = loop.New(cache.New(), profiles, s, s, loop.Options{Seed: 1})
	s.l.Lead(true)
	for _, n := range c.NodeList() {
		s.l.NodeChanged(feed.Change[*corev1.Node]{New: n})
	}
	if err := s.all(c.InitPod, c.Init); err != nil {
		return 0, 0, fmt.Errorf("init: %w", err)
	}
	// What made the nodes and pods is not measured, nor is its garbage.
	runtime.GC()
	debug.FreeOSMemory()
	pods := make([]*corev1.Pod, c.Measured)
	for i := range pods {
		pods[i] = c.Pod(i)
	}
	began, before := time.Now(), cpuTime()
	err = s.all(func(i int) *corev1.Pod { return pods[i] }, c.Measured)
	return time.Since(began), cpuTime() - before, err
}

// cpuTime of the process, collector and all: what counts on a busy machine.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (s *sink) all(pod func(int) *corev1.Pod, n int) error {
	s.bound = 0
	for i := range n {
		s.l.PodChanged(feed.Change[*corev1.Pod]{New: pod(i)})
	}
	for s.l.Step() {
	}
	if s.bound < n {
		return fmt.Errorf("%d of %d pods bound", s.bound, n)
	}
	return nil
}
