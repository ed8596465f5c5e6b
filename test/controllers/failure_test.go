package controllers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// created counts the pods that were ever created in a namespace, and how many
// there were at most at once.
type created struct {
	mu        sync.Mutex
	ever      map[string]bool
	now, most int // guarded by mu
}

func (c *cluster) countCreated(t *testing.T, ns string) *created {
	t.Helper()
	w, err := c.CoreV1().Pods(ns).Watch(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	n := &created{ever: map[string]bool{}}
	go func() {
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			n.mu.Lock()
			switch e.Type {
			case watch.Added:
				n.ever[string(p.UID)] = true
				n.now++
				n.most = max(n.most, n.now)
			case watch.Deleted:
				n.now--
			}
			n.mu.Unlock()
		}
	}()
	return n
}

func (n *created) get() (ever, most int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.ever), n.most
}

// TestKilledWhileCreating: a manager that is killed at any moment while it
// creates pods, and comes back at once, creates none twice.
func TestKilledWhileCreating(t *testing.T) {
	c := newCluster(t)
	m := c.manage()
	for round := range 5 {
		ns := c.namespace(t)
		n := c.countCreated(t, ns)
		const want = 100
		c.kubectl(t, ns, strings.Replace(web, "replicas: 4", fmt.Sprintf("replicas: %d", want), 1), "apply", "-f", "-")
		c.kubectl(t, ns, fmt.Sprintf(`{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"job"},"spec":{"parallelism":%d,"completions":%d,
			"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"x"}]}}}}`, want, want), "apply", "-f", "-")
		at := rand.IntN(2 * want)
		eventually(t, fmt.Sprintf("%d pods", at), func() error {
			if ever, _ := n.get(); ever < at {
				return fmt.Errorf("%d", ever)
			}
			return nil
		})
		m.kill()
		m = c.manage()
		c.count(t, ns, "", 2*want)
		eventually(t, "the status", func() error {
			d, err := c.AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
			if err == nil && d.Status.Replicas != want {
				err = fmt.Errorf("%d replicas", d.Status.Replicas)
			}
			return err
		})
		// What the killed one had under way may still arrive with the new one's
		// first: that is made up for, and is no more than a round of creating.
		if ever, most := n.get(); ever != 2*want || most != 2*want {
			t.Errorf("round %d, killed after %d pods: %d were created, %d at most at once; want %d", round, at, ever, most, 2*want)
		}
	}
}

// TestFailover: the standby takes over from a leader that is killed, and one
// that sleeps through its lease writes nothing when it wakes.
func TestFailover(t *testing.T) {
	c := newCluster(t)
	election := []string{"--leader-elect", "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=400ms"}
	first := c.manage(election...)
	holder := func() string {
		l, err := c.CoordinationV1().Leases("kube-system").Get(t.Context(), "kube-controller-manager", metav1.GetOptions{})
		if err != nil || l.Spec.HolderIdentity == nil {
			return ""
		}
		return *l.Spec.HolderIdentity
	}
	lead := func(not string) (who string) {
		eventually(t, "a leader", func() error {
			if who = holder(); who == "" || who == not {
				return fmt.Errorf("the holder is %q", who)
			}
			return nil
		})
		return who
	}
	one := lead("")
	c.event(t, "kube-system", "kube-controller-manager", "kube-controller-manager", "LeaderElection", one+" became leader")
	second := c.manage(election...)
	ns := c.namespace(t)
	n := c.countCreated(t, ns)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.count(t, ns, "app=web", 4)
	first.kill()
	two := lead(one)
	c.kubectl(t, ns, "", "scale", "deployment/web", "--replicas=8")
	c.count(t, ns, "app=web", 8)
	// The second sleeps; a third takes over.
	c.manage(election...)
	if err := second.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	three := lead(two)
	c.kubectl(t, ns, "", "scale", "deployment/web", "--replicas=12")
	c.count(t, ns, "app=web", 12)
	if err := second.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.kubectl(t, ns, "", "scale", "deployment/web", "--replicas=14")
	c.count(t, ns, "app=web", 14)
	always(t, "one leader", time.Second, func() error {
		if who := holder(); who != three {
			return fmt.Errorf("the holder is %q, was %q", who, three)
		}
		return nil
	})
	if ever, most := n.get(); ever != 14 || most != 14 {
		t.Errorf("%d pods were created, %d at most at once; want 14", ever, most)
	}
}

// TestServerAway: a manager that lost its lease because the API server was
// away for longer leads again under its old name, without waiting for the lease
// to run out.
func TestServerAway(t *testing.T) {
	c := newCluster(t)
	m := c.manage("--leader-elect", "--leader-elect-lease-duration=60s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=400ms")
	ns := c.namespace(t)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.count(t, ns, "app=web", 4)
	lease := func() *coordinationv1.Lease {
		l, err := c.CoordinationV1().Leases("kube-system").Get(t.Context(), "kube-controller-manager", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	before := lease()
	c.server.Kill()
	eventually(t, "the manager gives up", func() error {
		text, err := os.ReadFile(m.log)
		if err == nil && !strings.Contains(string(text), "standing for leadership again") {
			err = errors.New("it has not said so")
		}
		return err
	})
	c.server.Run(t)
	c.kubectl(t, ns, "", "scale", "deployment/web", "--replicas=8")
	c.count(t, ns, "app=web", 8)
	if now := lease(); *now.Spec.HolderIdentity != *before.Spec.HolderIdentity || *now.Spec.LeaseTransitions != *before.Spec.LeaseTransitions {
		t.Errorf("the lease was %+v, and is %+v", before.Spec, now.Spec)
	}
}

// TestServerRestart: the API server goes away amid a rollout and comes back;
// nothing is lost or done twice.
func TestServerRestart(t *testing.T) {
	c := newCluster(t)
	c.manage()
	ns := c.namespace(t)
	c.kubectl(t, ns, strings.Replace(web, "replicas: 4", "replicas: 200", 1), "apply", "-f", "-")
	eventually(t, "some pods", func() error {
		pods, err := c.pods(t.Context(), ns, "app=web")
		if err == nil && len(pods) < 50 {
			err = fmt.Errorf("%d", len(pods))
		}
		return err
	})
	c.server.Kill()
	c.server.Run(t)
	c.count(t, ns, "app=web", 200)
	c.kubectl(t, ns, "", "delete", "deployment/web")
	c.none(t, ns)
}
