package bind

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	if kind == corev1.EventTypeWarning {
		if patch, s := r.repeat(seriesKey{p.UID, reason, action, note}, now); s != nil {
			if patch != nil {
				r.sink.PatchEvent(s.namespace, s.name, patch, func(error) {})
			}
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
	if r.sink.Event(e, func(error) {}) && kind == corev1.EventTypeWarning {
		r.remember(seriesKey{p.UID, reason, action, note}, e, now)
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
	patch, err := json.Marshal(map[string]any{"series": corev1.EventSeries{Count: s.count, LastObservedTime: metav1.NewMicroTime(now)}})
	if err != nil {
		return nil, s
	}
	return patch, s
}

func (r *Recorder) remember(key seriesKey, e *corev1.Event, now time.Time) {
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
	r.series[key] = &series{namespace: e.Namespace, name: e.Name, count: 1, seen: now, written: now}
}
