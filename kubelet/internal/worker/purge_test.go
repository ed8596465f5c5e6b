package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/status"
)

// left are the containers and sandboxes that there are.
func (b *box) left() (containers []string, sandboxes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.containers {
		containers = append(containers, id)
	}
	slices.Sort(containers)
	return containers, len(b.sandboxes)
}

func (s *scene) purge(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return s.pods.Purge(ctx)
}

// anew looks at a pod as a kubelet does that has just begun, and gives what it
// says of it. The API has the status so far.
func (s *scene) anew(t *testing.T, pod *corev1.Pod) *corev1.PodStatus {
	t.Helper()
	again := *pod
	again.Status = *s.around.status(pod.UID)
	s.pods.mu.Lock()
	s.pods.workers = map[types.UID]*Worker{} // the old one sleeps
	s.pods.mu.Unlock()
	s.pods.Update(&again)
	time.Sleep(time.Second)
	synctest.Wait()
	return s.around.status(pod.UID)
}

// What an evicted pod has left goes when room is asked for, and only then; what
// was said of it stays, and a kubelet that begins anew neither says anything else
// nor runs it again.
func TestPurgeEnded(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		p := named(t, "p")
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}} // told of in the status, by what the runtime has
		s.pods.Update(p)
		time.Sleep(time.Second)
		s.crash("p", "main")
		time.Sleep(time.Second)
		second := int64(1)
		cleared, _ := s.pods.Clear("p", status.Verdict{Phase: corev1.PodFailed, Reason: "Evicted"}, &second)
		time.Sleep(time.Minute)
		synctest.Wait()
		<-cleared
		before := s.around.status("p")
		if before.Phase != corev1.PodFailed || before.ContainerStatuses[0].RestartCount != 1 {
			t.Fatalf("it is %+v", before)
		}
		if c, n := s.left(); len(c) != 2 || n != 1 {
			t.Fatalf("nobody asked for room, and there are %v in %d sandboxes", c, n)
		}
		logs := filepath.Join(s.pods.workers["p"].logDir(p), "main")
		if _, err := os.Stat(logs); err != nil {
			t.Fatal(err)
		}
		if err := s.purge(t); err != nil {
			t.Fatal(err)
		}
		if c, n := s.left(); len(c)+n > 0 {
			t.Errorf("%v in %d sandboxes are left", c, n)
		}
		if _, err := os.Stat(logs); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the logs are left: %v", err)
		}
		if !s.pods.Known("p") {
			t.Error("the pod is forgotten")
		}
		made := s.called("CreateContainer")
		s.changed("p") // as the runtime tells of removals
		time.Sleep(time.Minute)
		synctest.Wait()
		if after := s.around.status("p"); !reflect.DeepEqual(after, before) {
			t.Errorf("its status is\n%+v\nand was\n%+v", after, before)
		}
		if after := s.anew(t, p); !reflect.DeepEqual(after.ContainerStatuses, before.ContainerStatuses) || after.Phase != before.Phase || after.Reason != before.Reason {
			t.Errorf("to a new kubelet its status is\n%+v\nand was\n%+v", after, before)
		}
		if n := s.called("CreateContainer"); n != made {
			t.Errorf("%d containers were made", n-made)
		}
		if began := time.Now(); s.purge(t) != nil || time.Since(began) > 0 {
			t.Error("what is gone is waited for")
		}
	})
}

// Only what the API knows to be over is removed: a kubelet that begins anew goes
// by that. Who asks does not wait for ever, and what he no longer asks for is not
// done.
func TestPurgeUnheard(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		p := named(t, "p")
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		s.pods.Update(p)
		time.Sleep(time.Second)
		s.around.mu.Lock()
		s.around.unheard = true
		s.around.mu.Unlock()
		s.crash("p", "main")
		time.Sleep(time.Minute)
		if err := s.purge(t); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("purged: %v", err)
		}
		hear := func() {
			s.around.mu.Lock()
			defer s.around.mu.Unlock()
			s.around.unheard = false
		}
		hear()
		time.Sleep(time.Minute)
		if _, n := s.left(); n != 1 {
			t.Error("nobody asks any more, and it was removed")
		}
		s.around.mu.Lock()
		s.around.unheard = true
		s.around.mu.Unlock()
		time.AfterFunc(5*time.Second, hear)
		if err := s.purge(t); err != nil {
			t.Error(err)
		}
		if _, n := s.left(); n != 0 {
			t.Error("it is left although the API has heard")
		}
	})
}

// A static pod's end is known from its containers only.
func TestPurgeStatic(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		p := named(t, "p")
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Annotations = map[string]string{"kubernetes.io/config.source": "file"}
		s.pods.Update(p)
		time.Sleep(time.Second)
		s.crash("p", "main")
		time.Sleep(time.Minute)
		if err := s.purge(t); err != nil {
			t.Error(err)
		}
		if c, n := s.left(); len(c) != 1 || n != 1 {
			t.Errorf("%v in %d sandboxes are left", c, n)
		}
	})
}

// The run before goes, and stays the last state; what runs is left alone, and
// counts on.
func TestPurgeEarlier(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		p := twoContainers(t, ", image: here")
		s.pods.Update(p)
		time.Sleep(time.Second)
		s.crash("u", "main")
		time.Sleep(time.Second)
		synctest.Wait()
		before := s.around.status("u")
		if c, _ := s.left(); len(c) != 3 || before.ContainerStatuses[0].LastTerminationState.Terminated == nil {
			t.Fatalf("%v, and %+v", c, before.ContainerStatuses)
		}
		if err := s.purge(t); err != nil {
			t.Fatal(err)
		}
		if c, n := s.left(); len(c) != 2 || n != 1 {
			t.Errorf("%v in %d sandboxes are left", c, n)
		}
		s.changed("u")
		time.Sleep(time.Minute)
		synctest.Wait()
		if after := s.around.status("u"); !reflect.DeepEqual(after, before) {
			t.Errorf("its status is\n%+v\nand was\n%+v", after, before)
		}
		if after := s.anew(t, p); !reflect.DeepEqual(after.ContainerStatuses[0].LastTerminationState, before.ContainerStatuses[0].LastTerminationState) {
			t.Errorf("to a new kubelet its status is\n%+v\nand was\n%+v", after, before)
		}
		s.crash("u", "main")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := s.around.status("u").ContainerStatuses[0]; got.RestartCount != 2 || got.State.Running == nil {
			t.Errorf("main is %+v", got)
		}
	})
}
