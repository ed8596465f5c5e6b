package bind

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/workload"
)

// log notes events and patches; full refuses them.
type log struct {
	lines []string
	full  bool
}

func (l *log) Event(e *corev1.Event, _ func(error)) bool {
	if l.full {
		return false
	}
	l.lines = append(l.lines, fmt.Sprintf("%s %s %s %s: %s", e.Type, e.Reason, e.Action, e.InvolvedObject.Name, e.Message))
	return true
}

func (l *log) PatchEvent(_, name string, patch []byte, _ func(error)) bool {
	_, count, _ := strings.Cut(string(patch), `"count":`)
	count, _, _ = strings.Cut(count, ",")
	l.lines = append(l.lines, "again "+strings.Split(name, ".")[0]+" "+count)
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
