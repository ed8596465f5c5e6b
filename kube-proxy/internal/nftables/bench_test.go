package nftables

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xebec.dev/kube-proxy/internal/compile"
	"xebec.dev/kube-proxy/internal/testnet"
)

// cpu is what this process has used, the kernel's work for it included: on a
// loaded machine the wall says little.
func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// resident is the process' memory in megabytes.
func resident(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	kb := 0
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Sscan(rest, &kb)
		}
	}
	return kb / 1024
}

// benchService is the n-th of many, with ten endpoints but for those left out.
func benchService(n, endpoints int) *compile.Service {
	p := compile.Pool{Masquerade: compile.OffCluster}
	for i := range endpoints {
		a := fmt.Sprintf("10.%d.%d.%d:8080", 128+n/6000, n*10/250%250, (n*10+i)%250)
		p.Backends = append(p.Backends, poolOf(compile.OffCluster, a).Backends...)
	}
	at := fmt.Sprintf("10.%d.%d.%d:80", 96+n/62500, n/250%250, n%250)
	return service(fmt.Sprint("bench/web-", n), frontend(compile.ClusterIP, at, p))
}

// BenchmarkTenThousand prints a table: 10,000 services of 10 endpoints, in a
// network namespace.
//
//	go test -run '^$' -bench TenThousand -benchtime 1x ./internal/nftables
func BenchmarkTenThousand(b *testing.B) {
	const services, changes = 10000, 2000
	u := full()
	for n := range services {
		s := benchService(n, 10)
		u.Changes = append(u.Changes, compile.Change{Name: s.Name, New: s})
	}
	small := make([][2]*compile.Update, changes)
	for i := range small {
		n := i * 7 % services
		ten, nine := u.Changes[n].New, benchService(n, 9)
		small[i] = [2]*compile.Update{change(ten, nine), change(nine, ten)}
	}
	runtime.GC()
	for b.Loop() {
		h := testnet.NewSpace(b)
		h.In(b, func() error {
			p, err := New(Options{Pods: Pods{Networks: prefixes("10.128.0.0/9")}})
			if err != nil {
				return err
			}
			defer p.Close()
			c, started := cpu(b), time.Now()
			if err := p.Sync(u); err != nil {
				return err
			}
			load, wall := cpu(b)-c, time.Since(started)
			var each []time.Duration
			c = cpu(b)
			for _, pair := range small {
				for _, one := range pair {
					started := time.Now()
					if err := p.Sync(one); err != nil {
						return err
					}
					each = append(each, time.Since(started))
				}
			}
			change := (cpu(b) - c) / time.Duration(len(each))
			slices.Sort(each)
			fmt.Printf("\n| %d services x 10 endpoints | CPU | wall |\n|---|---|---|\n| full load | %v | %v |\n| one endpoint | %v | p50 %v, p99 %v |\n| resident, with the updates in memory | %d MB | |\n",
				services, load, wall, change, each[len(each)/2], each[len(each)*99/100], resident(b))
			return nil
		})
	}
}
