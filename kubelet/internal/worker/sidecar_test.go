package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// hooks notes when which of a pod's hooks run; each takes five seconds.
type hooks struct {
	mu    sync.Mutex
	began time.Time
	seen  []string // guarded by mu
}

func (h *hooks) Exec(_ context.Context, _ string, command []string, _ time.Duration) (string, int32, error) {
	h.mu.Lock()
	h.seen = append(h.seen, fmt.Sprint(command[0], " ", time.Since(h.began)))
	h.mu.Unlock()
	time.Sleep(5 * time.Second)
	return "", 0, nil
}

// Sidecars end after the rest, the last one first. Their hooks begin with those
// of the rest.
func TestSidecarsEnd(t *testing.T) {
	h := &hooks{}
	play(t, h, func(t *testing.T, s *scene) {
		const hook = "lifecycle: {preStop: {exec: {command: [%s]}}}"
		s.pods.Update(readPod(t, fmt.Sprintf(`{metadata: {name: p, namespace: ns, uid: u}, spec: {dnsPolicy: None, restartPolicy: Always,
			initContainers: [{name: one, image: here, restartPolicy: Always, `+hook+`}, {name: two, image: here, restartPolicy: Always, `+hook+`}],
			containers: [{name: main, image: here, `+hook+`}]}}`, "one", "two", "main")))
		time.Sleep(time.Second)
		s.slow = 3 * time.Second // to stop a container takes
		h.began = time.Now()
		s.pods.Remove("u")
		synctest.Wait()
		for _, c := range []struct {
			at   time.Duration
			want string
		}{{7 * time.Second, "main one two"}, {9 * time.Second, "one two"}, {12 * time.Second, "one"}, {15 * time.Second, ""}} {
			time.Sleep(time.Until(h.began.Add(c.at)))
			synctest.Wait()
			s.mu.Lock()
			got := ""
			for _, name := range []string{"main", "one", "two"} {
				if len(s.running(name)) > 0 {
					got += " " + name
				}
			}
			s.mu.Unlock()
			if got != "" {
				got = got[1:]
			}
			if got != c.want {
				t.Errorf("after %v %q run, not %q", c.at, got, c.want)
			}
		}
		slices.Sort(h.seen)
		if got := fmt.Sprint(h.seen); got != "[main 0s one 0s two 0s]" {
			t.Errorf("hooks began: %s", got)
		}
	})
}
