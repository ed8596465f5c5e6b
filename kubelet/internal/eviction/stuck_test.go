package eviction

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/status"
)

// One that does not end, although it was evicted, is given its time, and then
// another goes: it is neither told of twice nor does it keep the node short.
func TestEvictedDoesNotEnd(t *testing.T) {
	for _, c := range []struct {
		name       string
		grace, max int64
		limited    bool // it used more disk than it may
		want       string
	}{
		{"at once", 0, 0, false, "[b 10s a 41s]"},
		{"in its time", 60, 100, false, "[b 1m10s a 2m41s]"},
		{"in as much as it likes", math.MaxInt64, -1, false, "[b 1m10s]"},
		{"for its own sake", 0, 0, true, "[b 10s a 41s]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var told []string // guarded by mu
			began := time.Now()
			ends := make(chan struct{})
			pods := []Use{use("a", 0, "", 10), use("b", 0, "", 20)}
			limit := resource.MustParse("1Mi")
			for _, u := range pods {
				own := c.grace
				u.Pod.Spec.TerminationGracePeriodSeconds = &own
			}
			if c.limited {
				pods[1].Pod.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}}}}
				pods[1].EmptyDirs = map[string]int64{"v": 2 << 20}
			}
			m := New(Options{
				Thresholds: []Threshold{{Signal: Memory, Value: 500, Grace: time.Duration(min(c.grace, 60)) * time.Second}}, MaxGrace: c.max,
				Observe: func(context.Context) map[Signal]Observation { return map[Signal]Observation{Memory: {100, 10000}} },
				Uses:    func(context.Context, bool) ([]Use, error) { return slices.Clone(pods), nil },
				Pods:    func() []*corev1.Pod { return []*corev1.Pod{pods[0].Pod, pods[1].Pod} },
				Evict: func(types.UID, status.Verdict, *int64) (<-chan struct{}, bool) {
					return ends, true
				},
				Event: func(pod *corev1.Pod, _, _, _ string) {
					mu.Lock()
					defer mu.Unlock()
					told = append(told, fmt.Sprint(pod.Name, " ", time.Since(began)))
				},
				Changed: func() {}, Log: zap.NewNop(),
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- m.Run(ctx) }()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			mu.Lock()
			if got := fmt.Sprint(told); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
			mu.Unlock()
			close(ends) // what is there now is looked at like any other
			time.Sleep(10 * time.Second)
			synctest.Wait()
			cancel()
			<-done
			if len(told) < 3 {
				t.Errorf("%s: once they have ended: %s", c.name, told)
			}
		})
	}
}

// One that goes in its own time has none left once the node has none; people
// are told of its eviction once, and others have to go only then.
func TestHardAfterSoft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var available atomic.Int64
		var mu sync.Mutex
		var told []string // guarded by mu
		note := func(what ...any) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(what...))
		}
		began := time.Now()
		pods := []Use{use("a", 0, "", 10), use("b", 0, "", 20)}
		available.Store(400)
		m := New(Options{
			// In either order: what is hard goes first.
			Thresholds: []Threshold{{Signal: Memory, Value: 500, Grace: time.Second}, {Signal: Memory, Value: 200}}, MaxGrace: 100,
			Observe: func(context.Context) map[Signal]Observation {
				return map[Signal]Observation{Memory: {available.Load(), 10000}}
			},
			Uses: func(context.Context, bool) ([]Use, error) { return slices.Clone(pods), nil },
			Pods: func() []*corev1.Pod { return nil },
			Evict: func(uid types.UID, _ status.Verdict, grace *int64) (<-chan struct{}, bool) {
				note("end ", uid, " within ", *grace, " at ", time.Since(began))
				return nil, true
			},
			Event:   func(pod *corev1.Pod, _, _, _ string) { note("told of ", pod.Name) },
			Count:   func(s Signal) { note("counted ", s) },
			Changed: func() {}, Log: zap.NewNop(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(time.Minute)
		available.Store(100)
		time.Sleep(10 * time.Minute)
		cancel()
		<-done
		want := "[end b within 30 at 20s told of b counted memory.available end b within 1 at 1m1s end a within 1 at 1m32s told of a counted memory.available]"
		if got := fmt.Sprint(told); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	})
}

// What the node is short of besides is looked at: a threshold for which nobody
// can go, or not yet, holds back no other, nor the removal of images.
func TestShortOfTwo(t *testing.T) {
	for _, c := range []struct {
		name       string
		memory     time.Duration // 0 is a hard threshold
		diskFrom   time.Duration
		ends, look time.Duration // ends 0 is never
		want       string
	}{
		{"one goes in its time", time.Second, 22 * time.Second, 0, 40 * time.Second, "[b memory.available 20s reclaim 31s a nodefs.available 31s]"},
		{"all go already", 0, 0, 0, 75 * time.Second, "[b memory.available 10s a memory.available 41s reclaim 1m12s]"},
		{"who had time has ended", time.Second, time.Hour, 5 * time.Second, 30 * time.Second, "[b memory.available 20s a memory.available 26s]"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var told []string // guarded by mu
			began := time.Now()
			note := func(what ...any) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, fmt.Sprint(append(what, " ", time.Since(began))...))
			}
			pods := []Use{use("a", 0, "", 10), use("b", 0, "", 20)}
			pods[0].Disk, pods[1].Disk = 20, 10
			var over sync.Map // pods that have ended
			var victim string // owned by the manager's goroutine
			m := New(Options{
				Thresholds: []Threshold{{Signal: Memory, Value: 500, Grace: c.memory}, {Signal: NodeFS, Value: 500}}, MaxGrace: 100,
				Observe: func(context.Context) map[Signal]Observation {
					seen := map[Signal]Observation{Memory: {100, 10000}, NodeFS: {10000, 10000}}
					if time.Since(began) >= c.diskFrom {
						seen[NodeFS] = Observation{100, 10000}
					}
					return seen
				},
				Uses: func(context.Context, bool) ([]Use, error) {
					return slices.DeleteFunc(slices.Clone(pods), func(u Use) bool { _, is := over.Load(u.Pod.UID); return is }), nil
				},
				Pods:    func() []*corev1.Pod { return nil },
				Reclaim: func(context.Context) error { note("reclaim"); return nil },
				Evict: func(uid types.UID, _ status.Verdict, _ *int64) (<-chan struct{}, bool) {
					done := make(chan struct{})
					if c.ends > 0 {
						time.AfterFunc(c.ends, func() { over.Store(uid, true); close(done) })
					}
					return done, true
				},
				Event:   func(pod *corev1.Pod, _, _, _ string) { victim = pod.Name },
				Count:   func(s Signal) { note(victim, " ", s) },
				Changed: func() {}, Log: zap.NewNop(),
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- m.Run(ctx) }()
			time.Sleep(c.look)
			cancel()
			<-done
			if got := fmt.Sprint(told); got != c.want {
				t.Errorf("%s: %s\nwant %s", c.name, got, c.want)
			}
		})
	}
}

func TestGracePeriod(t *testing.T) {
	soft, own := time.Minute, int64(45)
	for _, c := range []struct {
		own  *int64
		soft time.Duration
		most int64
		want int64
	}{
		{&own, 0, 100, 1}, {&own, soft, 0, 1}, {&own, soft, 20, 20}, {&own, soft, 100, 45}, {&own, soft, -1, 45}, {nil, soft, 100, 30},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{TerminationGracePeriodSeconds: c.own}}
		if got := gracePeriod(pod, &Threshold{Grace: c.soft}, c.most); got != c.want {
			t.Errorf("%v, at most %d, soft %v: %d, want %d", c.own, c.most, c.soft, got, c.want)
		}
	}
}

// What a sidecar asks for is the pod's as well: one that is within that is no
// glutton.
func TestRankWithSidecars(t *testing.T) {
	within, above := use("within", 0, "10Mi", 100<<20), use("above", 1, "10Mi", 20<<20)
	always := corev1.ContainerRestartPolicyAlways
	within.Pod.Spec.InitContainers = []corev1.Container{{Name: "proxy", RestartPolicy: &always, Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("100Mi")},
	}}}
	if got := Rank([]Use{within, above}, Memory); got[0].Pod.Name != "above" {
		t.Errorf("%s goes first", got[0].Pod.Name)
	}
	within.ContainerMemory["proxy"] = 101 << 20
	want := "The node was low on resource: memory. Threshold quantity: 1Ki, available: 0. Container proxy was using 101Mi, request is 100Mi, has larger consumption of memory. " +
		"Container c was using 100Mi, request is 10Mi, has larger consumption of memory. "
	if got := Message(&within, &Threshold{Signal: Memory, Value: 1 << 10}, Observation{}); got != want {
		t.Errorf("%q", got)
	}
}

// A sidecar has its own limit, and a share in the pod's. People read the limit
// as it was written.
func TestOverLimitWithSidecars(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	limited := func(name, limit string) corev1.Container {
		c := corev1.Container{Name: name}
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse(limit)}
		return c
	}
	proxy := limited("proxy", "2000000")
	proxy.RestartPolicy = &always
	u := Use{Pod: &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: "init"}, proxy}, Containers: []corev1.Container{limited("c", "1000000")}}}}
	for _, c := range []struct {
		disk, proxy int64
		want        string
	}{
		{3000000, 2000000, " "},
		{3000001, 2000000, "ephemeralpodfs.limit Pod ephemeral local storage usage exceeds the total limit of containers 3M. "},
		{3000000, 2000001, `ephemeralcontainerfs.limit Container proxy exceeded its local ephemeral storage limit "2M". `},
	} {
		u.Disk, u.ContainerDisk = c.disk, map[string]int64{"proxy": c.proxy}
		signal, why := OverLimit(&u)
		if got := string(signal) + " " + why; got != c.want {
			t.Errorf("%d in all, %d the sidecar's: %q, want %q", c.disk, c.proxy, got, c.want)
		}
	}
}

// Limits of some containers bound the pod as a whole, those of one that is over
// too; where no container has any, nothing does.
func TestLimited(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	of := func(limit string, restart *corev1.ContainerRestartPolicy) corev1.Container {
		c := corev1.Container{RestartPolicy: restart}
		if limit != "" {
			c.Resources.Limits = corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse(limit)}
		}
		return c
	}
	for _, c := range []struct{ init, sidecar, main, want string }{
		{"", "", "1M", "1M"}, {"", "1M", "", "1M"}, {"", "1M", "2M", "3M"}, {"4M", "1M", "2M", "4M"}, {"4M", "", "", "4M"}, {"", "", "", ""},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{of(c.init, nil), of(c.sidecar, &always)}, Containers: []corev1.Container{of(c.main, nil), of("", nil)}}}
		want := ""
		if c.want != "" {
			want = "Pod ephemeral local storage usage exceeds the total limit of containers " + c.want + ". "
		}
		if _, got := OverLimit(&Use{Pod: pod, Disk: 4000001}); got != want || Limited(pod) != (want != "") {
			t.Errorf("%+v: %q, limited %t", c, got, Limited(pod))
		}
		bound := resource.MustParse("1G")
		if c.want != "" {
			bound = resource.MustParse(c.want)
		}
		if _, got := OverLimit(&Use{Pod: pod, Disk: bound.Value()}); got != "" {
			t.Errorf("%+v: within its limit %q", c, got)
		}
	}
}
