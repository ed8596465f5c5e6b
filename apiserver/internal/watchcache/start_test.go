package watchcache_test

import (
	"testing"
	"time"

	"xebec.dev/apiserver/internal/storage/embedded"
	"xebec.dev/apiserver/internal/storage/etcd"
)

func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		began := time.Now()
		server, err := embedded.Start(dir, embedded.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "etcd-ms")
		open(b, etcd.Over(server.Services(), etcd.Config{}))
		b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "ready-ms")
		server.Close()
	}
}
