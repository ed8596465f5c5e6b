package volume

import (
	"context"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client/controller"
	"xebec.dev/client/workqueue"
)

// Pauses of the refresher.
const (
	// bundlePause is how often trust bundles are read again.
	bundlePause = time.Minute
	// refreshWorkers refresh pods side by side.
	refreshWorkers = 4
	// refreshTime bounds one pod's refresh.
	refreshTime = time.Minute
)

// refresher brings the content of volumes up to date, when an object has
// changed or a token has aged.
type refresher struct {
	m     *Manager
	queue *workqueue.Queue[types.UID]
}

func newRefresher(m *Manager) *refresher {
	return &refresher{m: m, queue: workqueue.New("volumes", workqueue.Options[types.UID]{})}
}

func (r *refresher) add(pods ...types.UID) {
	for _, uid := range pods {
		r.queue.Add(uid)
	}
}

// schedule sees to it that the pod is refreshed when its next token or
// certificate is due.
func (r *refresher) schedule(uid types.UID) {
	for _, at := range []time.Time{r.m.tokens.next(uid), r.m.certificates.next(uid)} {
		if !at.IsZero() {
			r.queue.AddAfter(uid, max(time.Until(at), time.Second))
		}
	}
}

func (r *refresher) run(ctx context.Context) error {
	work := controller.New("volumes", r.queue, controller.Func[types.UID](r.one), controller.Options[types.UID]{Workers: refreshWorkers, Log: r.m.log})
	return work.Run(ctx)
}

// one refreshes a pod's volumes.
func (r *refresher) one(ctx context.Context, uid types.UID) error {
	s := r.m.known(uid)
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	s.busy.Lock()
	defer s.busy.Unlock()
	if s.gone || s.pod == nil {
		return nil
	}
	if p := s.newest.Swap(nil); p != nil {
		s.pod = p
	}
	var first error
	used, bundles := mounted(s.pod), false
	for i := range s.pod.Spec.Volumes {
		v := &s.pod.Spec.Volumes[i]
		if !content(v) || !used[v.Name] {
			continue
		}
		bundles = bundles || hasBundle(v)
		if _, err := os.Lstat(r.m.contentDir(s.pod, v)); err != nil {
			continue // not yet set up: Setup's turn
		}
		if err := r.m.setup(ctx, s, v); err != nil && first == nil {
			first = err // what is there stays
		}
	}
	r.schedule(uid)
	if bundles {
		r.queue.AddAfter(uid, bundlePause)
	}
	return first
}

// Seen tells of a pod whose object has changed: what its files say of it
// follows, at once and without waiting.
func (m *Manager) Seen(pod *corev1.Pod) {
	s := m.known(pod.UID)
	if s == nil {
		return // Setup will see it
	}
	s.newest.Store(pod)
	m.refresh.add(pod.UID)
}
