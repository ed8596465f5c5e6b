package bind

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Sink is where events go.
type Sink interface {
	Event(e *corev1.Event, done func(error)) bool
	PatchEvent(namespace, name string, patch []byte, done func(error)) bool
}

// Events in one series: what repeats within seriesTime counts up, and is
// written again no sooner than seriesPause after the last time.
const (
	seriesTime  = 6 * time.Minute
	seriesPause = time.Minute
	// seriesKept bounds how many are remembered.
	seriesKept = 8192
	maxNote    = 1024
)

// Recorder records events about pods, in the form of events.k8s.io.
type Recorder struct {
	sink Sink
	host string
	now  func() time.Time

	mu     sync.Mutex
	series map[seriesKey]*series // guarded by mu
}

type seriesKey struct {
	uid                  types.UID
	reason, action, note string
}

type series struct {
	namespace, name string
	count           int32
	seen, written   time.Time
	// creating: a patch must not overtake the event, which may be sent again
	// when it is refused; due then.
	creating, due bool
}

// NewRecorder makes a recorder.
func NewRecorder(sink Sink) *Recorder {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &Recorder{sink: sink, host: host, now: time.Now, series: map[seriesKey]*series{}}
}

// Record records an event. It never blocks; events too many are dropped.
func (r *Recorder) Record(p *corev1.Pod, scheduler, kind, reason, action, note string) {
	if len(note) > maxNote {
		note = note[:maxNote-3] + "..."
	}
	now := r.now()
	// What happens to a pod once can't repeat: no need to remember it.
	key, repeats := seriesKey{p.UID, reason, action, note}, kind == corev1.EventTypeWarning
	if repeats {
		if patch, s := r.repeat(key, now); s != nil {
			r.patch(key, s, patch)
			return
		}
	}
	e := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: fmt.Sprintf("%s.%x", short(p.Name), now.UnixNano())},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion,
		},
		EventTime: metav1.NewMicroTime(now), ReportingController: scheduler, ReportingInstance: scheduler + "-" + r.host,
		Type: kind, Reason: reason, Action: action, Message: note,
	}
	if !repeats {
		r.sink.Event(e, func(error) {})
		return
	}
	s := r.remember(key, e, now) // before the event is there, perhaps at once
	if !r.sink.Event(e, func(err error) { r.created(key, s, err) }) {
		r.forget(key, s)
	}
}

// created takes in what became of a series' event, and sends the patch that
// waited for it.
func (r *Recorder) created(key seriesKey, s *series, err error) {
	if err != nil {
		r.forget(key, s) // the next one tells of it anew
		return
	}
	r.mu.Lock()
	var patch []byte
	if s.creating = false; s.due {
		s.due = false
		patch = s.patch()
	}
	r.mu.Unlock()
	r.patch(key, s, patch)
}

// patch counts a series up at the API server; a nil patch is none.
func (r *Recorder) patch(key seriesKey, s *series, patch []byte) {
	if patch == nil {
		return
	}
	r.sink.PatchEvent(s.namespace, s.name, patch, func(err error) {
		if apierrors.IsNotFound(err) {
			r.forget(key, s)
		}
	})
}

func (r *Recorder) forget(key seriesKey, s *series) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.series[key] == s {
		delete(r.series, key)
	}
}

// short leaves room for the time within what a name may be.
func short(name string) string {
	const longest = 253 - 17
	return name[:min(len(name), longest)]
}

// repeat counts an event that was there before, and gives the patch that
// says so when it is time for one.
func (r *Recorder) repeat(key seriesKey, now time.Time) ([]byte, *series) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.series[key]
	if s == nil || now.Sub(s.seen) > seriesTime {
		return nil, nil
	}
	s.seen = now
	s.count++
	if s.count > 2 && now.Sub(s.written) < seriesPause {
		return nil, s
	}
	s.written = now
	if s.creating {
		s.due = true
		return nil, s
	}
	return s.patch(), s
}

// patch says how often the event was seen; r.mu is held.
func (s *series) patch() []byte {
	patch, err := json.Marshal(map[string]any{"series": corev1.EventSeries{Count: s.count, LastObservedTime: metav1.NewMicroTime(s.seen)}})
	if err != nil {
		return nil
	}
	return patch
}

func (r *Recorder) remember(key seriesKey, e *corev1.Event, now time.Time) *series {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.series) >= seriesKept {
		for k, s := range r.series {
			if now.Sub(s.seen) > seriesTime {
				delete(r.series, k)
			}
		}
		if len(r.series) >= seriesKept {
			clear(r.series)
		}
	}
	s := &series{namespace: e.Namespace, name: e.Name, count: 1, seen: now, written: now, creating: true}
	r.series[key] = s
	return s
}
