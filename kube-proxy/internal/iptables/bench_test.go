package iptables

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/testnet"
)

// processor is the time of this process and of the programs it has run.
func processor(b *testing.B) (sum time.Duration) {
	b.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if err := unix.Getrusage(who, &r); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum
}

// BenchmarkThousand prints what a thousand services of ten endpoints take.
//
//	go test -run '^$' -bench Thousand -benchtime 1x ./internal/iptables
func BenchmarkThousand(b *testing.B) {
	const services, changes = 1000, 50
	web := func(n, first int) *compile.Service {
		var all []string
		for i := range 10 {
			all = append(all, fmt.Sprintf("10.%d.%d.%d:8080", 128+first, n/25, n%25*10+i))
		}
		return testnet.Service(fmt.Sprint("x/web-", n), testnet.Frontend(compile.ClusterIP, fmt.Sprintf("10.96.%d.%d:80", n/250, n%250+1), testnet.PoolOf(compile.OffCluster, all...)))
	}
	w := newWorld(b)
	for b.Loop() {
		var all []*compile.Service
		for n := range services {
			all = append(all, web(n, 0))
		}
		began, used := time.Now(), processor(b)
		w.sync(b, testnet.Full(all...))
		took, used := time.Since(began), processor(b)-used
		var each []time.Duration
		before := processor(b)
		for i := range changes {
			old := all[i]
			now := web(i, 0)
			now.Frontends[0].Pool.Backends[0] = web(i, 1).Frontends[0].Pool.Backends[0]
			began := time.Now()
			w.sync(b, testnet.Change(old, now))
			each = append(each, time.Since(began))
		}
		slices.Sort(each)
		fmt.Printf("\n| %d services x 10 endpoints | processor | clock |\n|---|---|---|\n| all | %v | %v |\n| one endpoint | %v | p50 %v |\n", services,
			used.Round(time.Millisecond), took.Round(time.Millisecond), ((processor(b) - before) / changes).Round(100*time.Microsecond), each[changes/2].Round(100*time.Microsecond))
	}
}
