package bind

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/scheduler/workload"
)

// log notes events and patches; full refuses them.
type log struct {
	lines []string
	full  bool
	// slow keeps results of events to be told later, in created.
	slow    bool
	created []func(error)
	// patched is the result of patches.
	patched error
}

func (l *log) Event(e *corev1.Event, done func(error)) bool {
	if l.full {
		return false
	}
	l.lines = append(l.lines, fmt.Sprintf("%s %s %s %s: %s", e.Type, e.Reason, e.Action, e.InvolvedObject.Name, e.Message))
	if l.slow {
		l.created = append(l.created, done)
	} else {
		done(nil)
	}
	return true
}

func (l *log) PatchEvent(_, name string, patch []byte, done func(error)) bool {
	_, count, _ := strings.Cut(string(patch), `"count":`)
	count, _, _ = strings.Cut(count, ",")
	l.lines = append(l.lines, "again "+strings.Split(name, ".")[0]+" "+count)
	done(l.patched)
	return true
}

func TestRecorder(t *testing.T) {
	l := &log{}
	r := NewRecorder(l)
	at := time.Unix(1000, 0)
	r.now = func() time.Time { return at }
	p := workload.Pod("t", "p")
	fail := func(note string) {
		r.Record(p, "default-scheduler", corev1.EventTypeWarning, "FailedScheduling", "Scheduling", note)
	}
	fail("no room")
	fail("no room")
	fail("no room") // so soon again: only counted
	at = at.Add(2 * time.Minute)
	fail("no room")
	fail("other")
	at = at.Add(10 * time.Minute)
	fail("no room") // a new series
	r.Record(p, "default-scheduler", corev1.EventTypeNormal, "Scheduled", "Binding", "Successfully assigned")
	l.full = true
	fail("lost")
	l.full = false
	fail("lost")
	want := []string{
		"Warning FailedScheduling Scheduling p: no room", "again p 2", "again p 4", "Warning FailedScheduling Scheduling p: other",
		"Warning FailedScheduling Scheduling p: no room", "Normal Scheduled Binding p: Successfully assigned", "Warning FailedScheduling Scheduling p: lost",
	}
	if got := strings.Join(l.lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got:\n%s", got)
	}
	l.lines = nil
	fail(strings.Repeat("x", 5000))
	if n := len(l.lines[0]); n > 1100 {
		t.Errorf("a note of %d bytes", n)
	}
}

// A series is counted up once its event is there, and begins anew when that
// could not be made or is gone.
func TestSeriesFollowsItsEvent(t *testing.T) {
	l := &log{slow: true}
	r := NewRecorder(l)
	p := workload.Pod("t", "p")
	step := func(what string, do func(), want ...string) {
		t.Helper()
		l.lines = nil
		do()
		if got := strings.Join(l.lines, "\n"); got != strings.Join(want, "\n") {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	fail := func() {
		r.Record(p, "default-scheduler", corev1.EventTypeWarning, "FailedScheduling", "Scheduling", "no room")
	}
	result := func(err error) func() {
		return func() {
			done := l.created[0]
			l.created = l.created[1:]
			done(err)
		}
	}
	event := "Warning FailedScheduling Scheduling p: no room"
	step("the first", fail, event)
	step("the second while the first is refused and waits", fail)
	step("the third", fail)
	step("the first could not be made", result(apierrors.NewTooManyRequests("busy", 1)))
	step("the next", fail, event)
	step("another one", fail)
	step("the event is there", result(nil), "again p 2")
	l.patched = apierrors.NewNotFound(corev1.Resource("events"), "p")
	r.now = func() time.Time { return time.Now().Add(2 * seriesPause) }
	step("the event has been deleted", fail, "again p 3")
	step("so it is made again", fail, event)
}
