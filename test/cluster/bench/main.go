// Command bench brings one node up as `make up` does, lets it idle, and prints
// what each daemon takes of memory and of a processor, beside the goals.
//
//	go run ./cluster/bench [-bin DIR] [-idle 60s] [-profile DIR] [-strict]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"xebec.dev/test/cluster"
)

var (
	idle    = flag.Duration("idle", time.Minute, "how long to look at the idle cluster")
	settle  = flag.Duration("settle", 20*time.Second, "how long to leave it alone before")
	profile = flag.String("profile", "", "a directory for processor profiles of the idle daemons, where they serve them")
	strict  = flag.Bool("strict", false, "end with an error where a goal is missed")
)

// Goals; bytes and parts of one processor.
const (
	upGoal      = 20 * time.Second
	planeMemory = 200 << 20
	planeIdle   = 0.01
	nodeMemory  = 80 << 20
)

// plane are the daemons of the control plane, node those of each node, and
// others what is printed beside them.
var (
	plane  = []string{"kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"}
	node   = []string{"kubelet", "kube-proxy"}
	others = []string{"containerd", "coredns"}
)

func main() {
	flag.Parse()
	if err := bench(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, out io.Writer) (err error) {
	begun := time.Now()
	c, err := cluster.New(ctx, cluster.Options{Nodes: 1}, os.Stderr)
	if err != nil {
		return err
	}
	up := time.Since(begun)
	defer func() {
		if downErr := c.Down(); err == nil {
			err = downErr
		}
	}()
	client, err := inside(c)
	if err != nil {
		return err
	}
	time.Sleep(*settle)
	asked, err := requests(ctx, client)
	if err != nil {
		return err
	}
	before, err := look(c.Members()[0])
	if err != nil {
		return err
	}
	begun = time.Now()
	if *profile != "" {
		if err := profiles(ctx, client, *profile); err != nil {
			return err
		}
	}
	time.Sleep(*idle - time.Since(begun))
	took := time.Since(begun)
	after, err := look(c.Members()[0])
	if err != nil {
		return err
	}
	askedNow, err := requests(ctx, client)
	if err != nil {
		return err
	}
	tellRequests(out, asked, askedNow, took)
	return report(out, up, before, after, took)
}

func report(out io.Writer, up time.Duration, before, after map[string]usage, took time.Duration) error {
	fmt.Fprintf(out, "%-26s %10s %12s\n", "daemon, idle", "RSS MiB", "% of a core")
	row := func(name string, names ...string) (memory int64, share float64) {
		for _, n := range names {
			memory += after[n].memory
			share += (after[n].cpu - before[n].cpu).Seconds() / took.Seconds()
		}
		fmt.Fprintf(out, "%-26s %10.1f %12.2f\n", name, float64(memory)/(1<<20), 100*share)
		return memory, share
	}
	var missed []string
	for _, group := range [][]string{plane, node, others} {
		for _, name := range group {
			if after[name].memory == 0 {
				missed = append(missed, name+" does not run")
			}
			row("  "+name, name)
		}
	}
	goal := func(what, is, want string, met bool) {
		word := "met"
		if !met {
			word = "MISSED"
			missed = append(missed, what)
		}
		fmt.Fprintf(out, "%-40s %10s   goal %-8s %s\n", what, is, want, word)
	}
	planeM, planeC := row("control plane with etcd", plane...)
	nodeM, _ := row("kubelet and kube-proxy", node...)
	goal("up, until DNS answers", up.Round(100*time.Millisecond).String(), upGoal.String(), up <= upGoal)
	goal("memory of the control plane", fmt.Sprintf("%.0f MiB", float64(planeM)/(1<<20)), "200 MiB", planeM <= planeMemory)
	goal("processor of the control plane", fmt.Sprintf("%.2f %%", 100*planeC), "1 %", planeC <= planeIdle)
	goal("memory of kubelet and kube-proxy", fmt.Sprintf("%.0f MiB", float64(nodeM)/(1<<20)), "80 MiB", nodeM <= nodeMemory)
	if *strict && len(missed) > 0 {
		return fmt.Errorf("missed: %s", strings.Join(missed, ", "))
	}
	return nil
}

// usage of all processes of a program.
type usage struct {
	memory int64
	cpu    time.Duration
}

// tick is how the kernel counts a process' time.
const tick = 10 * time.Millisecond

// look reads the usage of the node's daemons by their programs' names.
func look(n *cluster.Node) (map[string]usage, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	all := map[string]usage{}
	for _, dir := range dirs {
		// One that ends meanwhile is none of the daemons.
		group, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !ours(dir, string(group), n) {
			continue
		}
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil {
			continue
		}
		u, err := read(dir)
		if err != nil {
			continue
		}
		name := filepath.Base(exe)
		sum := all[name]
		all[name] = usage{sum.memory + u.memory, sum.cpu + u.cpu}
	}
	return all, nil
}

// ours are processes in the node's cgroups, and the kubelet and the runtime,
// which are named to the supervisor.
func ours(dir, group string, n *cluster.Node) bool {
	pid := filepath.Base(dir)
	return strings.Contains(group, n.NetNS) || pid == strconv.Itoa(n.Pid("kubelet")) || pid == strconv.Itoa(n.Pid("containerd"))
}

func read(dir string) (usage, error) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return usage{}, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 22 {
		return usage{}, fmt.Errorf("%s/stat has %d fields", dir, len(fields))
	}
	var user, system, pages int64
	for i, to := range map[int]*int64{11: &user, 12: &system, 21: &pages} {
		if *to, err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return usage{}, err
		}
	}
	return usage{pages * int64(os.Getpagesize()), time.Duration(user+system) * tick}, nil
}
