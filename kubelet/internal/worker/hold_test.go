package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/kubelet/internal/env"
)

// starts counts attempts to start containers that lack something.
type starts struct {
	mu    sync.Mutex
	count map[string]int // guarded by mu
	have  bool           // guarded by mu: what they lack is there
}

func (s *starts) environment(_ context.Context, _ *corev1.Pod, c *corev1.Container, _ []string) ([]env.Variable, []string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[c.Name]++
	if c.Name != "main" && !s.have {
		return nil, nil, errors.New(`configmap "settings" not found`)
	}
	return nil, nil, nil
}

func (s *starts) of(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count[name]
}

const threeContainers = `{metadata: {name: p, namespace: ns, uid: u%s}, spec: {dnsPolicy: None, restartPolicy: Always, containers: [
	{name: main, image: here}, {name: other, image: %s}, {name: third, image: here}]}}`

// A container that can't be started waits for its time, whatever else happens
// to its pod; but not once something has changed that it may have waited for.
func TestHeld(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		n := &starts{count: map[string]int{}}
		s.pods.o.Environment = n.environment
		s.pods.Update(readPod(t, fmt.Sprintf(threeContainers, "", "here")))
		time.Sleep(time.Second)
		for i := range 120 {
			switch i % 3 {
			case 0:
				s.pods.Wake("u") // as a probe's result does
			case 1:
				s.pods.Update(readPod(t, fmt.Sprintf(threeContainers, fmt.Sprintf(", annotations: {n: %q}", fmt.Sprint(i)), "here")))
			case 2:
				s.pods.WakeAll()
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		for _, name := range []string{"other", "third"} {
			if got := n.of(name); got < 8 || got > 13 { // once in 10 to 15 seconds
				t.Errorf("%s was tried %d times in two minutes", name, got)
			}
		}
		for _, c := range []struct {
			name string
			do   func()
		}{
			{"an object that it reads", func() { s.pods.Retry("u", func(*corev1.Pod) []string { return []string{"other"} }) }},
			{"itself", func() { s.pods.Update(readPod(t, fmt.Sprintf(threeContainers, "", "there"))) }},
		} {
			other, third := n.of("other"), n.of("third")
			c.do()
			synctest.Wait() // no time passes
			if n.of("other") != other+1 || n.of("third") != third {
				t.Errorf("%s changed: other was tried %d times more, third %d times", c.name, n.of("other")-other, n.of("third")-third)
			}
			time.Sleep(20 * time.Second) // so that neither is due
			for before := n.of("third"); n.of("third") == before; time.Sleep(100 * time.Millisecond) {
			}
		}
	})
}

func TestChanged(t *testing.T) {
	const text = `{metadata: {labels: {a: %s}}, spec: {initContainers: [{name: init}], containers: [{name: main, image: %s},
		{name: reads, env: [{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['a']"}}}]}]%s}}`
	before := readPod(t, fmt.Sprintf(text, "b", "one", ""))
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", fmt.Sprintf(text, "b", "one", ""), nil},
		{"a label", fmt.Sprintf(text, "c", "one", ""), []string{"reads"}},
		{"an image", fmt.Sprintf(text, "b", "two", ""), []string{"main"}},
		{"one more", fmt.Sprintf(text, "b", "one", ", ephemeralContainers: [{name: debug}]"), []string{"debug"}},
	} {
		if got := changed(before, readPod(t, c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A pull secret that was corrected is tried at once, one that shows the same as
// before is not.
func TestPullSecretChanges(t *testing.T) {
	play(t, nil, func(t *testing.T, s *scene) {
		var mu sync.Mutex
		password := "wrong" // guarded by mu
		s.pods.o.Secrets = func(_ context.Context, pod *corev1.Pod) ([]*corev1.Secret, []string) {
			mu.Lock()
			defer mu.Unlock()
			config := fmt.Sprintf(`{"auths":{"away.example":{"username":"u","password":%q}}}`, password)
			return []*corev1.Secret{{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(config)}}}, nil
		}
		p := twoContainers(t, ", image: away.example/x")
		p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
		s.pods.Update(p)
		time.Sleep(10 * time.Minute) // by now it is pulled every five minutes
		for _, c := range []struct {
			password string
			want     int
		}{{"wrong", 0}, {"right", 1}, {"right", 0}} {
			synctest.Wait()
			pulls := s.called("PullImage")
			mu.Lock()
			password = c.password
			mu.Unlock()
			s.pods.Retry("u", func(*corev1.Pod) []string { return []string{"other"} })
			time.Sleep(time.Second)
			synctest.Wait()
			if n := s.called("PullImage") - pulls; n != c.want {
				t.Errorf("%s: %d pulls, want %d", c.password, n, c.want)
			}
		}
	})
}
