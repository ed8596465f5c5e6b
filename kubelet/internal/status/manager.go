package status

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
)

// Times of writes.
const (
	// settle is how long the status of a pod that is only being started waits
	// for the next one: a pod that starts at once needs only one write.
	settle = time.Second
	// settleTrouble is for pending pods in trouble, which people wait to read.
	settleTrouble = 100 * time.Millisecond
	// retryFirst and retryMost bound the pauses after failures.
	retryFirst = 200 * time.Millisecond
	retryMost  = 10 * time.Second
	// disputeEvery bounds writes where somebody else keeps changing a status.
	disputeEvery = 10 * time.Second
)

// API is what the manager writes to.
type API interface {
	// Pod is the API's pod for one of this node: itself, or a static one's
	// mirror; nil if there is none (yet).
	Pod(pod *corev1.Pod) *corev1.Pod
	// Fresh reads it from the API.
	Fresh(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	// Update writes its status and says its new revision, Delete removes it;
	// done is called once.
	Update(ctx context.Context, pod *corev1.Pod, done func(revision string, err error)) error
	Delete(ctx context.Context, pod *corev1.Pod, done func(error)) error
}

// Manager writes statuses of pods, many at once, the newest of each pod only.
type Manager struct {
	api API
	log *zap.Logger

	mu   sync.Mutex
	pods map[types.UID]*entry // guarded by mu
	wake chan struct{}
}

// entry is one pod's, guarded by Manager.mu.
type entry struct {
	pod     *corev1.Pod
	status  *corev1.PodStatus
	dirty   bool // the API doesn't have it
	remove  bool // delete once it does
	flying  bool // a write is under way
	due     time.Time
	tries   int
	fresh   *corev1.Pod // read after a conflict
	written time.Time
}

// NewManager makes a manager; nothing is written before Run.
func NewManager(api API, log *zap.Logger) *Manager {
	return &Manager{api: api, log: log, pods: map[types.UID]*entry{}, wake: make(chan struct{}, 1)}
}

func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Set says what a pod is like now.
func (m *Manager) Set(pod *corev1.Pod, s *corev1.PodStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.pods[pod.UID]
	if e == nil {
		e = &entry{}
		m.pods[pod.UID] = e
	}
	e.pod = pod
	if e.status != nil && equal(e.status, s) {
		return
	}
	wait := patience(e.status, s)
	e.status = s
	now := time.Now()
	if !e.dirty {
		e.due = now.Add(wait)
	} else if due := now.Add(wait); e.tries == 0 && due.Before(e.due) {
		e.due = due
	}
	e.dirty = true
	m.poke()
}

// patience is how long a status may wait for the next. One that says no more
// than that a new generation was seen, as that of a pod being deleted, waits:
// more is to come.
func patience(old, s *corev1.PodStatus) time.Duration {
	if old != nil && sameButGeneration(old, s) {
		return settle
	}
	if s.Phase != corev1.PodPending {
		return 0
	}
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range list {
			if w := list[i].State.Waiting; w == nil || w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
				return settleTrouble
			}
		}
	}
	return settle
}

func sameButGeneration(a, b *corev1.PodStatus) bool {
	x, y := a.DeepCopy(), b.DeepCopy()
	for _, s := range []*corev1.PodStatus{x, y} {
		s.ObservedGeneration = 0
		for i := range s.Conditions {
			s.Conditions[i].ObservedGeneration = 0
		}
	}
	return equal(x, y)
}

// Delete removes a pod from the API once its status there is final.
func (m *Manager) Delete(pod *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.pods[pod.UID]
	if e == nil {
		e = &entry{status: pod.Status.DeepCopy()}
		m.pods[pod.UID] = e
	}
	e.pod, e.remove = pod, true
	m.poke()
}

// Forget drops a pod that is gone.
func (m *Manager) Forget(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pods, uid)
}

// Get is the newest status.
func (m *Manager) Get(uid types.UID) (*corev1.PodStatus, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.pods[uid]
	if e == nil || e.status == nil {
		return nil, false
	}
	return e.status, true
}

// Over reports whether the API has a pod as over, with its newest status.
func (m *Manager) Over(uid types.UID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.pods[uid]
	if e == nil || e.status == nil || e.dirty || e.flying {
		return false
	}
	api := m.api.Pod(e.pod)
	if e.fresh != nil && (api == nil || newer(e.fresh, api)) {
		api = e.fresh
	}
	return api != nil && (api.Status.Phase == corev1.PodSucceeded || api.Status.Phase == corev1.PodFailed)
}

// Seen says what the API has of a pod of this node, uid: somebody else may
// have changed its status, or a mirror pod may be there at last.
func (m *Manager) Seen(uid types.UID, api *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.pods[uid]
	if e == nil || e.status == nil || e.dirty || e.flying {
		return
	}
	merged := Merge(e.status, &api.Status)
	if equal(&merged, &api.Status) {
		return
	}
	e.dirty, e.due = true, e.written.Add(disputeEvery)
	if e.written.IsZero() {
		e.due = time.Now()
	}
	m.poke()
}

// Merge is a status of ours with what others write into it.
func Merge(ours, api *corev1.PodStatus) corev1.PodStatus {
	out := *ours
	out.NominatedNodeName = api.NominatedNodeName
	out.ResourceClaimStatuses, out.ExtendedResourceClaimStatus = api.ResourceClaimStatuses, api.ExtendedResourceClaimStatus
	out.Conditions = nil
	for _, c := range api.Conditions {
		if !slices.Contains(owned, c.Type) && conditionOf(ours, c.Type) == nil {
			out.Conditions = append(out.Conditions, c)
		}
	}
	for _, c := range ours.Conditions {
		// Another's condition of which we hold a copy is the other's to change.
		if api := conditionOf(api, c.Type); api != nil && !slices.Contains(owned, c.Type) && c.Type != corev1.DisruptionTarget {
			c = *api
		}
		out.Conditions = append(out.Conditions, c)
	}
	return out
}

// equal compares as the API keeps it: times in seconds.
func equal(a, b *corev1.PodStatus) bool {
	x, y := a.DeepCopy(), b.DeepCopy()
	seconds(x)
	seconds(y)
	return equality.Semantic.DeepEqual(x, y)
}

func seconds(s *corev1.PodStatus) {
	cut := func(t *metav1.Time) { t.Time = t.Truncate(time.Second).UTC() }
	if s.StartTime != nil {
		cut(s.StartTime)
	}
	for i := range s.Conditions {
		cut(&s.Conditions[i].LastTransitionTime)
		cut(&s.Conditions[i].LastProbeTime)
	}
	slices.SortFunc(s.Conditions, func(a, b corev1.PodCondition) int {
		if a.Type < b.Type {
			return -1
		}
		return 1
	})
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			for _, state := range []*corev1.ContainerState{&list[i].State, &list[i].LastTerminationState} {
				if state.Running != nil {
					cut(&state.Running.StartedAt)
				}
				if t := state.Terminated; t != nil {
					cut(&t.StartedAt)
					cut(&t.FinishedAt)
				}
			}
		}
	}
}

// Run writes until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.wake:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		next := m.round(ctx)
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), time.Millisecond))
		}
	}
}

type job struct {
	uid    types.UID
	pod    *corev1.Pod // to write
	remove bool
	fetch  bool
}

// round begins every write that is due and says when the next one is.
func (m *Manager) round(ctx context.Context) time.Time {
	jobs, next := m.due()
	for _, j := range jobs {
		var err error
		switch {
		case j.fetch:
			go m.refresh(ctx, j.uid, j.pod)
			continue
		case j.remove:
			err = m.api.Delete(ctx, j.pod, func(err error) { m.deleted(j.uid, err) })
		default:
			err = m.api.Update(ctx, j.pod, func(revision string, err error) { m.updated(j, revision, err) })
		}
		if err != nil {
			m.updated(j, "", err)
		}
	}
	return next
}

func (m *Manager) due() (jobs []job, next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for uid, e := range m.pods {
		if e.flying || !e.dirty && !e.remove {
			continue
		}
		if e.due.After(now) {
			if next.IsZero() || e.due.Before(next) {
				next = e.due
			}
			continue
		}
		if j, ok := m.job(uid, e); ok {
			e.flying = true
			jobs = append(jobs, j)
		}
	}
	return jobs, next
}

// job is what to do about an entry, if anything. It needs the lock.
func (m *Manager) job(uid types.UID, e *entry) (job, bool) {
	base := m.api.Pod(e.pod)
	if e.fresh != nil && (base == nil || newer(e.fresh, base)) {
		base = e.fresh
	}
	if base == nil {
		if e.tries > 0 {
			return job{uid: uid, pod: e.pod, fetch: true}, true
		}
		e.dirty = false // Seen comes once there is one
		return job{}, false
	}
	if e.dirty {
		merged := Merge(e.status, &base.Status)
		if !equal(&merged, &base.Status) {
			pod := *base // shallow: only the status is another
			pod.Status = merged
			e.dirty = false // what comes while it flies makes it dirty again
			return job{uid: uid, pod: &pod}, true
		}
		e.dirty, e.tries = false, 0
	}
	if e.remove {
		return job{uid: uid, pod: base, remove: true}, true
	}
	return job{}, false
}

func newer(a, b *corev1.Pod) bool {
	return len(a.ResourceVersion) > len(b.ResourceVersion) || len(a.ResourceVersion) == len(b.ResourceVersion) && a.ResourceVersion > b.ResourceVersion
}

// refresh reads a pod after a conflict: the watch may be behind.
func (m *Manager) refresh(ctx context.Context, uid types.UID, pod *corev1.Pod) {
	fresh, err := m.api.Fresh(ctx, pod.Namespace, pod.Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.pods[uid]
	if e == nil {
		return
	}
	e.flying = false
	switch {
	case apierrors.IsNotFound(err), err == nil && fresh.UID != pod.UID:
		e.dirty, e.remove, e.tries = false, false, 0
		m.compare(e)
	case err != nil:
		e.later()
	default:
		e.fresh, e.tries = fresh, 0
	}
	m.poke()
}

func (e *entry) later() {
	e.dirty = true
	e.due = time.Now().Add(min(retryFirst<<min(e.tries, 10), retryMost))
	e.tries++
}

func (m *Manager) updated(j job, revision string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.pods[j.uid]
	if e == nil {
		return
	}
	e.flying, e.written = false, time.Now()
	defer m.poke()
	switch {
	case err == nil:
		e.tries = 0
		if revision != "" { // the watch may take its time
			written := *j.pod
			written.ResourceVersion = revision
			e.fresh = &written
		}
		m.compare(e)
	case apierrors.IsNotFound(err):
		e.dirty, e.remove = false, false
		m.compare(e)
	case apierrors.IsConflict(err):
		e.dirty, e.flying = true, true
		go m.refresh(context.Background(), j.uid, e.apiPod(m.api))
	default:
		if !client.IsUnavailable(err) {
			m.log.Warn("a pod's status can't be written", zap.String("namespace", e.pod.Namespace), zap.String("name", e.pod.Name), zap.Error(err))
		}
		e.later()
	}
}

// compare looks at what the watch has after a write: somebody else's change,
// or another mirror pod, may have come while ours was on its way, when Seen
// could not judge it. It needs the lock.
func (m *Manager) compare(e *entry) {
	now := m.api.Pod(e.pod)
	if e.dirty || e.status == nil || now == nil || e.fresh != nil && !newer(now, e.fresh) {
		return
	}
	if merged := Merge(e.status, &now.Status); !equal(&merged, &now.Status) {
		e.dirty, e.due = true, e.written.Add(disputeEvery)
	}
}

// apiPod is what the API calls the pod.
func (e *entry) apiPod(api API) *corev1.Pod {
	if p := api.Pod(e.pod); p != nil {
		return p
	}
	return e.pod
}

func (m *Manager) deleted(uid types.UID, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.pods[uid]
	if e == nil {
		return
	}
	e.flying = false
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		e.remove = false // gone, or another pod of that name by now
	default:
		e.due = time.Now().Add(min(retryFirst<<min(e.tries, 10), retryMost))
		e.tries++
		m.poke()
	}
}
