package eviction

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/config"
	"xebec.dev/kubelet/internal/status"
)

func use(name string, priority int32, request string, memory int64) Use {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
	p.Spec.Priority = &priority
	c := corev1.Container{Name: "c"}
	if request != "" {
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(request)}
	}
	p.Spec.Containers = []corev1.Container{c}
	return Use{Pod: p, Memory: memory, ContainerMemory: map[string]int64{"c": memory}}
}

// Who uses more than asked for goes first, then the least important, then who
// is furthest above.
func TestRank(t *testing.T) {
	var got []string
	for _, u := range Rank([]Use{
		use("within", 0, "1Gi", 500<<20), use("critical", 2000000000, "", 9<<30), use("important", 100, "10Mi", 300<<20),
		use("little", 0, "10Mi", 20<<20), use("much", 0, "", 900<<20),
	}, Memory) {
		got = append(got, u.Pod.Name)
	}
	if strings.Join(got, " ") != "much little important within" {
		t.Errorf("%v", got)
	}
}

func TestMessage(t *testing.T) {
	u := use("p", 0, "10Mi", 20<<20)
	got := Message(&u, &Threshold{Signal: Memory, Value: 100 << 20}, Observation{Available: 50<<20 + 5, Capacity: 1 << 30})
	want := "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using 20Mi, request is 10Mi, has larger consumption of memory. "
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A threshold holds until its minimum reclaim is there as well.
func TestMet(t *testing.T) {
	list := []Threshold{{Signal: NodeFS, Share: 0.1, Reclaim: 20}, {Signal: PIDs, Value: 5}}
	at := func(n int64) map[Signal]Observation { return map[Signal]Observation{NodeFS: {n, 1000}} }
	if got := Met(list, at(100), nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
	short := Met(list, at(99), nil)
	if len(short) != 1 {
		t.Fatalf("%v", short)
	}
	if got := Met(list, at(110), short); len(got) != 1 {
		t.Errorf("it is over before the reclaim: %v", got)
	}
	if got := Met(list, at(120), short); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestOverLimit(t *testing.T) {
	limit := resource.MustParse("1Mi")
	u := use("p", 0, "", 0)
	u.Pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}}}}
	u.EmptyDirs = map[string]int64{"v": 2 << 20}
	if _, got := OverLimit(&u); got != `Usage of EmptyDir volume "v" exceeds the limit "1Mi". ` {
		t.Errorf("%q", got)
	}
	u.EmptyDirs["v"] = 1 << 20
	if _, got := OverLimit(&u); got != "" {
		t.Errorf("%q", got)
	}
	u.Pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: limit}
	u.ContainerDisk = map[string]int64{"c": 2 << 20}
	if _, got := OverLimit(&u); got != `Container c exceeded its local ephemeral storage limit "1Mi". ` {
		t.Errorf("%q", got)
	}
	u.ContainerDisk, u.Disk = nil, 3<<20
	if _, got := OverLimit(&u); got != "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. " {
		t.Errorf("%q", got)
	}
}

func TestThresholds(t *testing.T) {
	got, err := Thresholds(&config.Kubelet{
		EvictionHard: map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "pid.available": "0"},
		EvictionSoft: map[string]string{"memory.available": "1Gi"}, EvictionGrace: map[string]string{"memory.available": "90s"},
		EvictionReclaim: map[string]string{"nodefs.available": "5%"},
	})
	if err != nil || len(got) != 3 {
		t.Fatalf("%v %v", got, err)
	}
	if !slices.Contains(got, Threshold{Signal: Memory, Value: 1 << 30, Grace: 90 * time.Second}) || !slices.Contains(got, Threshold{Signal: NodeFS, Share: 0.1, ReclaimShare: 0.05}) {
		t.Errorf("%v", got)
	}
	// Where pods are held to what they may have, that can run short too.
	got, err = Thresholds(&config.Kubelet{EvictionHard: map[string]string{"memory.available": "100Mi", "nodefs.available": "10%"}, EnforceAllocatable: []string{"pods"}})
	if err != nil || len(got) != 3 || !slices.Contains(got, Threshold{Signal: AllocatableMem, Value: 100 << 20}) {
		t.Errorf("%v %v", got, err)
	}
}

// The manager waits soft thresholds out, evicts one pod at a time, and keeps
// the pressure for a while.
func TestManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var available, changes atomic.Int64
		available.Store(1000)
		var mu sync.Mutex
		var evicted []string // guarded by mu
		gone := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(evicted)
		}
		began := time.Now()
		m := New(Options{
			Thresholds: []Threshold{{Signal: Memory, Value: 500, Grace: time.Minute}}, Transition: 5 * time.Minute, MaxGrace: 7,
			Observe: func(context.Context) map[Signal]Observation {
				return map[Signal]Observation{Memory: {available.Load(), 10000}}
			},
			Uses: func(context.Context, bool) ([]Use, error) {
				return []Use{use("a", 0, "", 10), use("b", 0, "", 20)}, nil
			},
			Pods: func() []*corev1.Pod { return nil },
			Evict: func(uid types.UID, v status.Verdict, grace *int64) (<-chan struct{}, bool) {
				mu.Lock()
				defer mu.Unlock()
				evicted = append(evicted, string(uid)+" "+time.Since(began).String())
				if v.Reason != "Evicted" || *grace != 7 {
					t.Errorf("verdict %v, grace %d", v, *grace)
				}
				available.Store(1000)
				done := make(chan struct{})
				close(done)
				return done, true
			},
			Event: func(*corev1.Pod, string, string, string) {}, Changed: func() { changes.Add(1) }, Log: zap.NewNop(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(35 * time.Second)
		available.Store(100)
		time.Sleep(30 * time.Second)
		if !m.Pressures().Memory || len(gone()) != 0 {
			t.Errorf("pressures %v, evicted %v", m.Pressures(), gone())
		}
		time.Sleep(2 * time.Minute)
		if got := gone(); len(got) != 1 || got[0] != "b 1m40s" || !m.Pressures().Memory {
			t.Errorf("evicted %v, pressures %v", gone(), m.Pressures())
		}
		time.Sleep(6 * time.Minute)
		if m.Pressures().Memory || changes.Load() != 2 {
			t.Errorf("pressures %v, %d changes", m.Pressures(), changes.Load())
		}
		cancel()
		<-done
	})
}
