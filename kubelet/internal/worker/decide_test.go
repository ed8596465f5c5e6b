package worker

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"xebec.dev/kubelet/internal/cgroup"
	"xebec.dev/kubelet/internal/image"
	"xebec.dev/kubelet/internal/plan"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/status"
)

var clock = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func readPod(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return pod
}

// What a pod is brought to: what has been over stays over.
func TestNext(t *testing.T) {
	deleted := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{Time: clock}}}
	for _, c := range []struct {
		name string
		v    view
		want [5]stage // from fresh, living, ending, ended, cleared
	}{
		{"wanted", view{pod: &corev1.Pod{}}, [5]stage{living, living, ending, ended, ended}},
		{"deleted", view{pod: deleted}, [5]stage{ending, ending, ending, ended, ended}},
		{"gone from the API", view{pod: &corev1.Pod{}, removed: true}, [5]stage{ending, ending, ending, ended, ended}},
		{"evicted", view{pod: &corev1.Pod{}, verdict: &status.Verdict{}}, [5]stage{ending, ending, ending, ended, ended}},
	} {
		for at, want := range c.want {
			if got := c.v.next(stage(at)); got != want {
				t.Errorf("%s, from %d: %d, want %d", c.name, at, got, want)
			}
		}
	}
}

// Only what is new has to be admitted.
func TestFirst(t *testing.T) {
	over := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}
	runs := &runtime.Pod{Containers: []*runtime.Container{{ID: "c"}}}
	deleted := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{Time: clock}}}
	for _, c := range []struct {
		name string
		v    view
		seen *runtime.Pod
		want stage
	}{
		{"new", view{pod: &corev1.Pod{}}, nil, fresh},
		{"with a sandbox only", view{pod: &corev1.Pod{}}, &runtime.Pod{Sandboxes: []*runtime.Sandbox{{ID: "s"}}}, fresh},
		{"it ran before", view{pod: &corev1.Pod{}}, runs, living},
		{"it is over", view{pod: over}, runs, ending},
		{"it is not wanted", view{pod: &corev1.Pod{}, removed: true}, nil, living},
		{"it is being deleted", view{pod: deleted}, nil, living},
		{"it was evicted before it began", view{pod: &corev1.Pod{}, verdict: &status.Verdict{}}, nil, living},
	} {
		if got := c.v.first(c.seen); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// How long a container has to end: the eviction's word over the deletion's
// over a probe's over the pod's.
func TestGrace(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	probe := &corev1.Probe{TerminationGracePeriodSeconds: seconds(7)}
	c := &corev1.Container{LivenessProbe: probe, StartupProbe: &corev1.Probe{}}
	for _, k := range []struct {
		name                    string
		override, deletion, own *int64
		failed                  string
		want                    time.Duration
	}{
		{"nothing said", nil, nil, nil, "", 30 * time.Second},
		{"the pod's", nil, nil, seconds(5), "", 5 * time.Second},
		{"never less than a second", nil, nil, seconds(0), "", time.Second},
		{"the probe's that failed", nil, nil, seconds(5), "liveness", 7 * time.Second},
		{"another probe's", nil, nil, seconds(5), "startup", 5 * time.Second},
		{"deletion", nil, seconds(3), seconds(5), "liveness", 3 * time.Second},
		{"eviction", seconds(1), seconds(3), seconds(5), "liveness", time.Second},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionGracePeriodSeconds: k.deletion}, Spec: corev1.PodSpec{TerminationGracePeriodSeconds: k.own}}
		if got := graceOf(pod, k.override, c, k.failed); got != k.want {
			t.Errorf("%s: %v, want %v", k.name, got, k.want)
		}
	}
}

// Sidecars end after the rest, the last one first; what has ended is let be.
func TestEndOrder(t *testing.T) {
	pod := readPod(t, `spec:
  initContainers: [{name: setup}, {name: proxy, restartPolicy: Always}, {name: logs, restartPolicy: Always}]
  containers: [{name: a}, {name: b}]`)
	seen := &runtime.Pod{}
	for _, c := range []string{"proxy running", "b running", "logs running", "setup exited", "a exited", "left-over running", "odd unknown"} {
		name, state, _ := strings.Cut(c, " ")
		seen.Containers = append(seen.Containers, &runtime.Container{ID: name, Name: name, State: runtime.State(state)})
	}
	together, sidecars := endOrder(pod, seen)
	names := func(list []*runtime.Container) (out []string) {
		for _, c := range list {
			out = append(out, c.Name)
		}
		return out
	}
	if got := names(together); !slices.Equal(got, []string{"b", "left-over", "odd"}) {
		t.Errorf("together %v", got)
	}
	if got := names(sidecars); !slices.Equal(got, []string{"logs", "proxy"}) {
		t.Errorf("then %v", got)
	}
}

// Pauses grow to a bound; those of containers are Kubernetes', and spread.
func TestPauses(t *testing.T) {
	want := []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, 64 * time.Second, 2 * time.Minute, 2 * time.Minute}
	for n, w := range want {
		if got := pauseAfter(n); got != w {
			t.Errorf("after %d failures %v, want %v", n, got, w)
		}
	}
	if got := pauseAfter(1 << 30); got != lastRetry {
		t.Errorf("after very many %v", got)
	}
	for _, c := range []struct {
		reason string
		until  time.Duration
		luck   float64
		want   time.Duration
	}{
		{configError, 0, 0, 10 * time.Second},
		{configError, 0, 1, 15 * time.Second},
		{image.ImagePullBackOff, 40 * time.Second, 1, 40 * time.Second},
		{image.ErrImagePull, 40 * time.Second, 1, 20 * time.Second},
		{image.ErrImagePull, -time.Second, 0, 10 * time.Second},
	} {
		e := &startError{reason: c.reason, until: clock.Add(c.until)}
		if got := e.retry(clock, c.luck).Sub(clock); got != c.want {
			t.Errorf("%s until %v: %v, want %v", c.reason, c.until, got, c.want)
		}
	}
}

func TestEarlier(t *testing.T) {
	var never time.Time
	soon, late := clock, clock.Add(time.Hour)
	for _, c := range []struct{ a, b, want time.Time }{{never, never, never}, {never, late, late}, {late, never, late}, {soon, late, soon}, {late, soon, soon}} {
		if got := earlier(c.a, c.b); !got.Equal(c.want) {
			t.Errorf("of %v and %v: %v", c.a, c.b, got)
		}
	}
}

func TestDeadline(t *testing.T) {
	seconds := int64(60)
	w := &Worker{begun: now()}
	if until, over := w.deadline(&corev1.Pod{}); over || !until.IsZero() {
		t.Errorf("a pod without a deadline: %v %t", until, over)
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{ActiveDeadlineSeconds: &seconds}}
	if until, over := w.deadline(pod); over || !until.Equal(w.begun.Add(time.Minute)) {
		t.Errorf("it has just begun: %v %t", until, over)
	}
	pod.Status.StartTime = &metav1.Time{Time: w.begun.Add(-time.Hour)} // an earlier kubelet's
	if _, over := w.deadline(pod); !over {
		t.Error("its time is up")
	}
}

const sized = `metadata: {generation: 3}
spec:
  initContainers: [{name: proxy, restartPolicy: Always, resources: {requests: {cpu: 10m}}}]
  containers: [{name: main, resources: {requests: {cpu: %s, memory: 64Mi}, limits: {cpu: %s}}}]
%s`

// A pod keeps what it was given until it is given more.
func TestAllocation(t *testing.T) {
	small, large := readPod(t, fmt.Sprintf(sized, "100m", "200m", "")), readPod(t, fmt.Sprintf(sized, "1", "2", ""))
	given := asked(small)
	if !given.covers(small) || given.covers(large) || !(allocation(nil)).covers(large) {
		t.Error("what is covered")
	}
	have := given.of(large)
	if got := have.Spec.Containers[0].Resources.Requests.Cpu().String(); got != "100m" || have.Generation != 3 {
		t.Errorf("it has %s", got)
	}
	if got := large.Spec.Containers[0].Resources.Requests.Cpu().String(); got != "1" {
		t.Errorf("the pod itself was changed to %s", got)
	}
	if given.of(small) != small {
		t.Error("a pod that has what it asks for was copied")
	}
	// Ephemeral containers come later and ask for nothing.
	small.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger"}}}
	if !given.covers(small) {
		t.Error("an ephemeral container is a change of resources")
	}
}

// What an earlier kubelet had given is what it wrote down, or what the status
// says, where a change was pending or came while no kubelet was there; else it
// is what the pod asks for.
func TestRemembered(t *testing.T) {
	const condition = `  conditions: [{type: PodResizePending, status: "True", reason: Deferred}]
`
	const before = `status:
  containerStatuses: [{name: main, allocatedResources: {cpu: 100m, memory: 64Mi}, resources: {requests: {cpu: 90m}, limits: {cpu: 200m}}}, {name: gone, resources: {}}]
`
	written := asked(readPod(t, fmt.Sprintf(sized, "300m", "400m", "")))
	written["gone"] = corev1.ResourceRequirements{}
	for _, c := range []struct {
		name, status, request, limit string
		written                      allocation
	}{
		{"nothing was pending", before + "  observedGeneration: 3", "1", "2", nil},
		{"a change was", before + condition, "100m", "200m", nil},
		{"a change came later", before + "  observedGeneration: 2", "100m", "200m", nil},
		{"it was, and nothing is known", "status:\n" + condition, "1", "2", nil},
		{"it was written down", before + condition, "300m", "400m", written},
		{"it was written down and granted", before, "300m", "400m", written},
	} {
		given := remembered(readPod(t, fmt.Sprintf(sized, "1", "2", c.status)), c.written)
		r := given["main"]
		if got := r.Requests.Cpu().String() + " " + r.Limits.Cpu().String(); got != c.request+" "+c.limit {
			t.Errorf("%s: %s", c.name, got)
		}
		if _, ok := given["gone"]; ok {
			t.Errorf("%s: a container that the pod has not was given something", c.name)
		}
	}
}

// What is written down is read by the kubelet after; what can't be read is not
// believed.
func TestAllocationFile(t *testing.T) {
	dir := t.TempDir()
	w := &Worker{uid: "u", log: zap.NewNop(), o: &Options{RootDir: dir}}
	if err := os.MkdirAll(w.podDir(), dirMode); err != nil {
		t.Fatal(err)
	}
	if got := w.readAllocation(); got != nil {
		t.Errorf("nothing was written, %v was read", got)
	}
	given := asked(wholeSized(t, "100m"))
	w.writeAllocation(given)
	next := &Worker{uid: "u", log: w.log, o: w.o}
	if got := next.readAllocation(); !equality.Semantic.DeepEqual(got, given) || len(got) != 2 {
		t.Errorf("read %v, given %v", got, given)
	}
	if err := os.WriteFile(w.allocationFile(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := next.readAllocation(); got != nil {
		t.Errorf("%v was read", got)
	}
}

func wholeSized(t *testing.T, cpu string) *corev1.Pod {
	return readPod(t, `{spec: {resources: {requests: {cpu: `+cpu+`}}, containers: [{name: main}]}}`)
}

// What a pod asks for as a whole is given like what its containers ask for.
func TestAllocationOfWholePod(t *testing.T) {
	small, large := wholeSized(t, "100m"), wholeSized(t, "1")
	given := asked(small)
	if given.covers(large) || !given.covers(small) {
		t.Error("what is covered")
	}
	if got := given.of(large).Spec.Resources.Requests.Cpu().String(); got != "100m" {
		t.Errorf("it has %s", got)
	}
	large.Status = corev1.PodStatus{ObservedGeneration: 1, AllocatedResources: small.Spec.Resources.Requests, Resources: small.Spec.Resources}
	large.Generation = 2
	if got := remembered(large, nil).of(large).Spec.Resources.Requests.Cpu().String(); got != "100m" {
		t.Errorf("it had %s", got)
	}
}

// What an earlier kubelet admitted counts before this one has looked at it.
func TestUses(t *testing.T) {
	begun := metav1.Time{Time: clock}
	for _, c := range []struct {
		name string
		at   stage
		s    corev1.PodStatus
		want bool
	}{
		{"new", fresh, corev1.PodStatus{}, false},
		{"of an earlier kubelet", fresh, corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &begun}, true},
		{"refused by one", fresh, corev1.PodStatus{Phase: corev1.PodFailed, StartTime: &begun}, false},
		{"admitted", living, corev1.PodStatus{}, true},
		{"ending", ending, corev1.PodStatus{}, true},
		{"ended", ended, corev1.PodStatus{StartTime: &begun}, false},
		{"over", living, corev1.PodStatus{Phase: corev1.PodSucceeded}, false},
	} {
		if got := uses(c.at, &corev1.Pod{Status: c.s}); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// memoryGroups say how much memory is in use.
type memoryGroups struct {
	Cgroups
	change cgroup.Change
	used   map[string]int64 // by container id, "" is the pod
	limits map[string]int64 // by container
}

func (g memoryGroups) Change(*corev1.Pod) (cgroup.Change, error) { return g.change, nil }

func (g memoryGroups) MemoryInUse(_ *corev1.Pod, id string) (int64, error) { return g.used[id], nil }

func (g memoryGroups) Resources(_ *corev1.Pod, c *corev1.Container) *runtimeapi.LinuxContainerResources {
	return &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: g.limits[c.Name]}
}

// Memory that is in use is not taken; everything else in the plan is done.
func TestMemoryInUse(t *testing.T) {
	pod := readPod(t, "{metadata: {generation: 4}, spec: {containers: [{name: a}, {name: b}]}}")
	run := func(name string, limit int64) *runtime.Container {
		return &runtime.Container{ID: name + "1", Name: name, Resources: &runtimeapi.LinuxContainerResources{MemoryLimitInBytes: limit}}
	}
	actions := []plan.Action{{Op: plan.Start, Name: "c"}, {Op: plan.GrowPod}, {Op: plan.Resize, Name: "a"}, {Op: plan.Resize, Name: "b"}, {Op: plan.ShrinkPod}}
	for _, c := range []struct {
		name   string
		groups memoryGroups
		want   string
	}{
		{"room", memoryGroups{used: map[string]int64{"": 50, "a1": 40, "b1": 999}, change: cgroup.Change{Shrinks: true, Memory: 60}, limits: map[string]int64{"a": 50, "b": 300}}, ""},
		{"the pod uses it", memoryGroups{used: map[string]int64{"": 60}, change: cgroup.Change{Shrinks: true, Memory: 60}, limits: map[string]int64{"a": 50, "b": 50}},
			"attempting to set pod memory limit (60) below current usage (60)"},
		{"a container does", memoryGroups{used: map[string]int64{"a1": 51}, limits: map[string]int64{"a": 50, "b": 50}}, `attempting to set container "a" memory limit (50) below current usage (51)`},
	} {
		told := ""
		w := &Worker{observed: &runtime.Pod{Containers: []*runtime.Container{run("a", 100), run("b", 200)}}, o: &Options{Cgroups: c.groups}}
		w.o.Events = func(_ *corev1.Pod, _, _, reason, message string) { told += reason + " " + message }
		rest, err := w.safe(pod, actions)
		if c.want == "" {
			if err != nil || len(rest) != len(actions) || told != "" {
				t.Errorf("%s: %v %v %q", c.name, err, rest, told)
			}
			continue
		}
		if err == nil || err.Error() != c.want || len(rest) != 1 || !strings.HasPrefix(told, "ResizeError Pod resize error: {") {
			t.Errorf("%s: %v %v %q", c.name, err, rest, told)
		}
		if r := w.resize; r.Type != corev1.PodResizeInProgress || r.Reason != corev1.PodReasonError || r.Message != c.want || r.Generation != 4 {
			t.Errorf("%s: condition %+v", c.name, r)
		}
	}
}

func TestResizeText(t *testing.T) {
	pod := readPod(t, fmt.Sprintf(sized, "1", "2", ""))
	want := `{"initContainers":[{"name":"proxy","resources":{"requests":{"cpu":"10m"}}}],` +
		`"containers":[{"name":"main","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"1","memory":"64Mi"}}}],"generation":3,"error":"no room"}`
	if got := resizeText(pod, "no room"); got != want {
		t.Errorf("it says %s, want %s", got, want)
	}
}

// While a pod's only container is being ended, other news waits; those with
// less patience don't.
func TestMayWait(t *testing.T) {
	one := &runtime.Pod{Containers: []*runtime.Container{{ID: "a"}}}
	two := &runtime.Pod{Containers: []*runtime.Container{{ID: "a"}, {ID: "b"}}}
	done := make(chan struct{})
	close(done)
	short := int64(1)
	for _, c := range []struct {
		name  string
		kill  *killing
		seen  *runtime.Pod
		grace *int64
		want  bool
	}{
		{"nothing is being ended", nil, one, nil, false},
		{"it is", &killing{grace: 30 * time.Second, done: make(chan struct{})}, one, nil, true},
		{"it has been", &killing{grace: 30 * time.Second, done: done}, one, nil, false},
		{"one of two", &killing{grace: 30 * time.Second, done: make(chan struct{})}, two, nil, false},
		{"nothing was seen yet", &killing{grace: 30 * time.Second, done: make(chan struct{})}, nil, nil, false},
		{"evicted meanwhile", &killing{grace: 30 * time.Second, done: make(chan struct{})}, one, &short, false},
	} {
		w := &Worker{kill: c.kill, observed: c.seen, pod: &corev1.Pod{}, grace: c.grace}
		if got := w.mayWait(); got != c.want || w.dirty != c.want {
			t.Errorf("%s: waits %t, still dirty %t", c.name, got, w.dirty)
		}
	}
}

// A message that names a container's log for collectors fits a file's name.
func TestLegacyName(t *testing.T) {
	key := runtime.Key{Namespace: "ns", Name: "web"}
	if got := legacyName(key, "main", "abc"); got != "web_ns_main-abc.log" {
		t.Errorf("%q", got)
	}
	if got := legacyName(runtime.Key{Namespace: "ns", Name: strings.Repeat("x", 253)}, "main", "abc"); len(got) != 255 || !strings.HasSuffix(got, ".log") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
