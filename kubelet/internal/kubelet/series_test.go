package kubelet

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"xebec.dev/kubelet/internal/stats"
)

// A claim that two pods use is one series.
func TestVolumeSeries(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	volume := stats.VolumeStats{Name: "v", PVCRef: &stats.PVCReference{Name: "data", Namespace: "ns"}, FsStats: stats.FsStats{CapacityBytes: n(10), AvailableBytes: n(7), UsedBytes: n(3), Inodes: n(5), InodesFree: n(4), InodesUsed: n(1)}}
	other := stats.VolumeStats{Name: "scratch", FsStats: stats.FsStats{UsedBytes: n(1)}}
	sum := &stats.Summary{Pods: []stats.PodStats{{VolumeStats: []stats.VolumeStats{volume, other}}, {VolumeStats: []stats.VolumeStats{volume}}}}
	var have []string
	sendVolumes(sum, func(d *prometheus.Desc, v float64, labels ...string) {
		name, _, _ := strings.Cut(strings.TrimPrefix(d.String(), `Desc{fqName: "kubelet_volume_stats_`), `"`)
		have = append(have, fmt.Sprint(name, " ", v, " ", labels))
	})
	slices.Sort(have)
	want := []string{"available_bytes 7 [ns data]", "capacity_bytes 10 [ns data]", "inodes 5 [ns data]", "inodes_free 4 [ns data]", "inodes_used 1 [ns data]", "used_bytes 3 [ns data]"}
	if !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
}

func TestSizeClass(t *testing.T) {
	for size, want := range map[uint64]string{0: "0-10MB", 10 << 20: "10MB-100MB", 1 << 30: "1GB-5GB", 1 << 40: "GT100GB"} {
		if have := sizeClass(size); have != want {
			t.Errorf("%d: %s, want %s", size, have, want)
		}
	}
}
