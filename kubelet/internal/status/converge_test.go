package status

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
)

// rough is an API server with one pod, or one static pod's mirrors, behind a
// network that delays, loses and forgets.
type rough struct {
	dice *rand.Rand // guarded by mu
	m    *Manager
	work sync.WaitGroup

	mu       sync.Mutex
	static   bool
	calm     bool          // guarded by mu; nothing goes wrong any more
	pod      *corev1.Pod   // guarded by mu; nil while there is none
	cache    *corev1.Pod   // guarded by mu; what the watch has
	coming   []*corev1.Pod // guarded by mu; what the watch will have, in order
	revision int           // guarded by mu
	log      []string      // guarded by mu
}

const owner = types.UID("u")

func (r *rough) note(format string, args ...any) { r.log = append(r.log, fmt.Sprintf(format, args...)) }

func (r *rough) Pod(*corev1.Pod) *corev1.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache
}

// changed needs the lock.
func (r *rough) changed(p *corev1.Pod) {
	r.revision++
	if p != nil {
		p.ResourceVersion = strconv.Itoa(r.revision)
	}
	r.pod = p
	r.coming = append(r.coming, p)
}

// watch lets the watch see some of what has happened.
func (r *rough) watch(all bool) {
	for {
		r.mu.Lock()
		if len(r.coming) == 0 || !all && r.dice.IntN(2) == 0 {
			r.mu.Unlock()
			return
		}
		r.cache, r.coming = r.coming[0], r.coming[1:]
		p := r.cache
		r.mu.Unlock()
		if p != nil {
			r.m.Seen(owner, p)
		}
	}
}

func (r *rough) pause(t time.Duration) {
	r.mu.Lock()
	d := time.Duration(r.dice.Int64N(int64(t)))
	r.mu.Unlock()
	time.Sleep(d)
}

func (r *rough) trouble() error {
	if r.calm || r.dice.IntN(3) > 0 {
		return nil
	}
	return []error{client.ErrOutcomeUnknown, errors.New("reset"), apierrors.NewTooManyRequests("busy", 1), apierrors.NewInternalError(errors.New("no leader"))}[r.dice.IntN(4)]
}

func missing() error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "p")
}

func (r *rough) Fresh(context.Context, string, string) (*corev1.Pod, error) {
	r.pause(300 * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.trouble(); err != nil {
		return nil, err
	}
	if r.pod == nil {
		return nil, missing()
	}
	return r.pod, nil
}

func (r *rough) Update(_ context.Context, pod *corev1.Pod, done func(string, error)) error {
	r.work.Go(func() {
		r.pause(300 * time.Millisecond)
		revision, err := r.update(pod)
		r.pause(300 * time.Millisecond)
		done(revision, err)
	})
	return nil
}

func (r *rough) update(pod *corev1.Pod) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.trouble()
	if err != nil && !errors.Is(err, client.ErrOutcomeUnknown) || err != nil && r.dice.IntN(2) == 0 {
		return "", err
	}
	switch {
	case r.pod == nil:
		return "", missing()
	case pod.ResourceVersion != r.pod.ResourceVersion || pod.UID != r.pod.UID:
		r.note("conflict")
		return "", apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, "p", errors.New("changed"))
	}
	next := r.pod.DeepCopy()
	next.Status = *pod.Status.DeepCopy()
	r.changed(next)
	r.note("%s is written as %s, answered %v", next.ResourceVersion, next.Status.Message, err)
	if err != nil {
		return "", err
	}
	if r.dice.IntN(4) == 0 {
		return "", nil // its revision is not known
	}
	return next.ResourceVersion, nil
}

func (r *rough) Delete(_ context.Context, _ *corev1.Pod, done func(error)) error {
	go done(nil)
	return nil
}

// others do what others do to a pod's status; a mirror pod they may remove.
func (r *rough) others() {
	r.mu.Lock()
	defer r.mu.Unlock()
	kind := r.dice.IntN(4)
	if r.static && kind == 0 {
		r.note("the mirror pod is made anew")
		r.changed(nil)
		r.changed(mirror(r.revision))
		return
	}
	if r.pod == nil {
		return
	}
	next := r.pod.DeepCopy()
	switch kind {
	case 1:
		next.Status.NominatedNodeName = strconv.Itoa(r.revision)
	case 2:
		next.Status.Conditions = append(next.Status.Conditions, corev1.PodCondition{Type: corev1.PodConditionType(strconv.Itoa(r.revision)), Status: corev1.ConditionTrue})
	default:
		for i := range next.Status.Conditions {
			if c := &next.Status.Conditions[i]; c.Type == corev1.PodReady {
				c.Status = corev1.ConditionFalse
			}
		}
	}
	r.changed(next)
	r.note("%s is by others", next.ResourceVersion)
}

func mirror(n int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: types.UID("mirror-" + strconv.Itoa(n))}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
}

// TestConverges: whatever goes wrong on the way, what the kubelet said last is
// what the API has in the end, beside what others have said.
func TestConverges(t *testing.T) {
	for seed := range uint64(400) {
		synctest.Test(t, func(t *testing.T) { converge(t, seed) })
	}
}

func converge(t *testing.T, seed uint64) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: owner, ResourceVersion: "1"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}
	r := &rough{dice: rand.New(rand.NewPCG(seed, seed)), pod: pod, cache: pod, revision: 1, static: seed%2 == 0}
	if r.static {
		r.pod, r.cache = nil, nil
	}
	m := NewManager(r, zap.NewNop())
	r.m = m
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = m.Run(ctx) }) // ends with the test
	var last *corev1.PodStatus
	for n := range 40 {
		r.mu.Lock()
		what := r.dice.IntN(3)
		r.mu.Unlock()
		switch what {
		case 0:
			last = r.said(n)
			r.mu.Lock()
			r.note("the kubelet says %s", last.Message)
			r.mu.Unlock()
			m.Set(pod, last)
		case 1:
			r.others()
		default:
			r.watch(false)
		}
		r.pause(800 * time.Millisecond)
	}
	r.mu.Lock()
	r.calm = true
	if r.static && r.pod == nil {
		r.changed(mirror(0))
	}
	r.mu.Unlock()
	r.watch(true)
	// Longer than any pause of the manager's.
	for range 6 {
		time.Sleep(disputeEvery)
		r.watch(true)
	}
	synctest.Wait()
	r.mu.Lock()
	merged := Merge(last, &r.pod.Status)
	if !equal(&merged, &r.pod.Status) {
		t.Errorf("seed %d: the kubelet said %s, and the API has %s:\n\t%s", seed, last.Message, r.pod.Status.Message, strings.Join(r.log, "\n\t"))
	}
	r.mu.Unlock()
	cancel()
	group.Wait()
	r.work.Wait()
}

// said is the n-th thing that a kubelet says.
func (r *rough) said(n int) *corev1.PodStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	dice := r.dice
	phase := []corev1.PodPhase{corev1.PodPending, corev1.PodRunning}[min(1, n*dice.IntN(2))]
	ready := []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse}[dice.IntN(2)]
	return &corev1.PodStatus{Phase: phase, Message: strconv.Itoa(n), Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}}
}
