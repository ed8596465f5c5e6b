// Command bench measures how long pods take to start: the kubelet's, from
// their creation in the API to the status Running there, beside those of a
// bare program that makes the same calls to the same container runtime in the
// same run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"xebec.dev/test/kubelet/nodetest"
)

var (
	single     = flag.Int("single", 20, "pods started one at a time, of each kind")
	total      = flag.Int("total", 100, "pods started in parallel, of each kind")
	parallel   = flag.Int("parallel", 8, "pods started at once")
	rounds     = flag.Int("rounds", 2, "rounds of the parallel part; the best counts")
	containerd = flag.String("containerd", "", "the containerd to run, that of bin/ or the machine's by default")
	profile    = flag.String("profile", "", "a file for a CPU profile of the kubelet while it starts pods in parallel")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// starter starts a pod and waits until it runs, and removes it again.
type starter interface {
	start(ctx context.Context, name string) error
	remove(ctx context.Context, name string) error
}

func run() (err error) {
	n, err := nodetest.Start(nodetest.Options{Containerd: *containerd, Config: "maxPods: 500\n", Args: []string{"-v=0"}})
	defer func() {
		if stop := n.Stop(); err == nil {
			err = stop
		}
	}()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	kubelet, err := newKubelet(ctx, n)
	if err != nil {
		return err
	}
	raw, err := newRaw(ctx, n, kubelet)
	if err != nil {
		return err
	}
	defer raw.close()
	m, err := newMeter(n)
	if err != nil {
		return err
	}
	fmt.Printf("idle: kubelet %d MiB resident\n", resident(n.KubeletPID())>>20)
	if err := oneByOne(ctx, raw, kubelet); err != nil {
		return err
	}
	if err := together(ctx, n, m, raw, kubelet); err != nil {
		return err
	}
	fmt.Printf("after: kubelet %d MiB resident, %.0f CPU ms a pod\n", resident(n.KubeletPID())>>20, cpu(n.KubeletPID())*1000/float64(*single+*rounds**total))
	return nil
}

// oneByOne alternates, so that both see the same machine.
func oneByOne(ctx context.Context, raw, kubelet starter) error {
	times := map[string][]time.Duration{}
	for i := range *single {
		for _, s := range []struct {
			name string
			starter
		}{{"raw", raw}, {"kubelet", kubelet}} {
			name := fmt.Sprintf("single-%s-%d", s.name, i)
			began := time.Now()
			if err := s.start(ctx, name); err != nil {
				return err
			}
			times[s.name] = append(times[s.name], time.Since(began))
			if err := s.remove(ctx, name); err != nil {
				return err
			}
		}
	}
	r, k := median(times["raw"]), median(times["kubelet"])
	limit := r + r/10 + 20*time.Millisecond
	fmt.Printf("one at a time, %d pods: raw CRI %v, kubelet %v (median); raw + 10%% + 20ms = %v: %s\n",
		*single, r.Round(time.Millisecond), k.Round(time.Millisecond), limit.Round(time.Millisecond), verdict(k <= limit))
	return nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func verdict(ok bool) string {
	if ok {
		return "reached"
	}
	return "missed"
}

func together(ctx context.Context, n *nodetest.Node, m *meter, raw, kubelet starter) error {
	best := map[string]float64{}
	for round := range *rounds {
		for _, s := range []struct {
			name string
			starter
		}{{"raw", raw}, {"kubelet", kubelet}} {
			rate, err := measured(ctx, n, m, s.starter, s.name, round)
			if err != nil {
				return err
			}
			fmt.Printf("%d at once, %d pods, %s: %.2f pods/s\n", *parallel, *total, s.name, rate)
			best[s.name] = max(best[s.name], rate)
		}
	}
	share := best["kubelet"] / best["raw"]
	fmt.Printf("%d at once: kubelet %.0f%% of raw CRI, at least 90%%: %s\n", *parallel, share*100, verdict(share >= 0.9))
	return nil
}

// measured is a burst with what each pod of it costs.
func measured(ctx context.Context, n *nodetest.Node, m *meter, s starter, name string, round int) (float64, error) {
	wait := func() error { return nil }
	if name == "kubelet" && *profile != "" {
		wait = profiled(ctx, n, *profile+".starts")
	}
	calls, err := counted(ctx, n)
	if err != nil {
		return 0, err
	}
	used := m.read()
	account := func(what string) error {
		now := m.read()
		after, err := counted(ctx, n)
		if err != nil {
			return err
		}
		fmt.Printf("  %s %s: %s\n", name, what, now.since(used).perPod(*total))
		if name == "kubelet" {
			fmt.Printf("  calls: %s\n", after.perPod(calls, *total))
		}
		if err := wait(); err != nil {
			return err
		}
		calls, used = after, m.read()
		return nil
	}
	rate, err := burst(ctx, s, fmt.Sprintf("burst-%s-%d", name, round), func() error {
		err := account("starts")
		if name == "kubelet" && *profile != "" {
			wait = profiled(ctx, n, *profile+".removals")
		}
		return err
	})
	return rate, errors.Join(err, account("removals"))
}

// burst starts pods in parallel, says that they run, and removes them.
func burst(ctx context.Context, s starter, prefix string, started func() error) (float64, error) {
	var next atomic.Int64
	began := time.Now()
	err := workers(func() error {
		for {
			i := next.Add(1)
			if i > int64(*total) {
				return nil
			}
			if err := s.start(ctx, fmt.Sprintf("%s-%d", prefix, i)); err != nil {
				return err
			}
		}
	})
	rate := float64(*total) / time.Since(began).Seconds()
	if err != nil {
		return 0, err
	}
	if err := started(); err != nil {
		return 0, err
	}
	next.Store(0)
	return rate, workers(func() error {
		for {
			i := next.Add(1)
			if i > int64(*total) {
				return nil
			}
			if err := s.remove(ctx, fmt.Sprintf("%s-%d", prefix, i)); err != nil {
				return err
			}
		}
	})
}

func workers(f func() error) error {
	var group sync.WaitGroup
	errs := make(chan error, *parallel)
	for range *parallel {
		group.Go(func() {
			if err := f(); err != nil {
				errs <- err
			}
		})
	}
	group.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// resident memory of a process, in bytes.
func resident(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(raw))
	pages, _ := strconv.ParseInt(f[1], 10, 64) // the kernel's own number
	return pages * int64(os.Getpagesize())
}

// cpu that a process has used, in seconds.
func cpu(pid int) float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(raw)[strings.LastIndexByte(string(raw), ')')+2:])
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	const ticks = 100 // a second
	return (user + system) / ticks
}
