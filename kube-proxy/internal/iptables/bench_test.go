package iptables

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/testnet"
)

// processor is the time of this process (RUSAGE_SELF), or of the programs that
// it has run (RUSAGE_CHILDREN).
func processor(b *testing.B, who int) time.Duration {
	b.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(who, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// both is what something takes of the processor: here, and in programs.
func both(b *testing.B, do func()) (own, programs time.Duration) {
	b.Helper()
	own, programs = processor(b, unix.RUSAGE_SELF), processor(b, unix.RUSAGE_CHILDREN)
	do()
	return (processor(b, unix.RUSAGE_SELF) - own).Round(time.Millisecond), (processor(b, unix.RUSAGE_CHILDREN) - programs).Round(time.Millisecond)
}

// BenchmarkThousand prints what a thousand services of ten endpoints take, and
// what the program takes that is given the same rules at once, in an empty
// namespace.
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
		own, programs := both(b, func() { w.sync(b, testnet.Full(all...)) })
		fmt.Printf("\n| %d services x 10 endpoints | kube-proxy's processor time | the programs' |\n|---|---|---|\n| all | %v | %v |\n", services, own, programs)
		own, programs = both(b, func() {
			for i := range changes {
				now := web(i, 0)
				now.Frontends[0].Pool.Backends[0] = web(i, 1).Frontends[0].Pool.Backends[0]
				w.sync(b, testnet.Change(all[i], now))
			}
		})
		fmt.Printf("| one endpoint | %v | %v |\n", (own / changes).Round(10*time.Microsecond), (programs / changes).Round(100*time.Microsecond))
		load := text(w.proxy.families[0].all(parseSaved("")))
		_, programs = both(b, func() {
			testnet.NewSpace(b).In(b, func() error {
				_, err := execute(load, program(true, "-restore"), "--noflush")
				return err
			})
		})
		fmt.Printf("| %s --noflush of these %d rules at once | | %v |\n", program(true, "-restore"), strings.Count(load, "\n-A "), programs)
	}
}
