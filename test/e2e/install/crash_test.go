package install

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"xebec.dev/test/cluster"
)

// pid of a process in the node's network; 0 when there is none.
func pid(t *testing.T, n *cluster.Node, name string) int {
	t.Helper()
	out, err := exec.Command("ip", "netns", "pids", n.NetNS).Output()
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if comm, err := os.ReadFile("/proc/" + word + "/comm"); err == nil && strings.TrimSpace(string(comm)) == name {
			n, err := strconv.Atoi(word)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// leaders are who leads, and how often that has changed.
func leaders(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	return c.Must(t, "-n=kube-system", "get", "lease", "kube-controller-manager", "kube-scheduler",
		"-o=jsonpath={range .items[*]}{.metadata.name} {.spec.holderIdentity} {.spec.leaseTransitions}{\"\\n\"}{end}")
}

// crashes: the API server is killed again and again, as soon as it is back.
// Each time it is started again, the others keep their leads, and what is
// ordered then is done.
func crashes(t *testing.T, c *cluster.Cluster) {
	n := c.Members()[0]
	before := leaders(t, c)
	const restarts = "-o=jsonpath={.items[0].status.containerStatuses[0].restartCount}"
	count := func() int {
		t.Helper()
		out := c.Must(t, "-n=kube-system", "get", "pods", "-l=component=kube-apiserver", restarts)
		n, err := strconv.Atoi(out)
		if err != nil {
			t.Fatal(out, err)
		}
		return n
	}
	begun := count()
	for round := range 3 {
		old := pid(t, n, "kube-apiserver")
		if old == 0 {
			t.Fatal("there is no process of the API server")
		}
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		cluster.Eventually(t, "another process", func() error {
			if now := pid(t, n, "kube-apiserver"); now == 0 || now == old {
				return fmt.Errorf("it is %d, was %d", now, old)
			}
			return nil
		})
		name := fmt.Sprintf("crash%d", round)
		cluster.Eventually(t, "an order", func() error {
			_, err := c.Kubectl(t.Context(), "create", "deployment", name, "--image="+busybox, "--", "sleep", "36000")
			return err
		})
		c.Must(t, "rollout", "status", "deployment/"+name, "--timeout=120s")
	}
	cluster.Eventually(t, "three restarts are told", func() error {
		if now := count(); now != begun+3 {
			return fmt.Errorf("%d, before %d", now, begun)
		}
		return nil
	})
	cluster.Eventually(t, "who led leads", func() error {
		if now := leaders(t, c); now != before {
			return errors.New("before:\n" + before + "now:\n" + now)
		}
		return nil
	})
	c.Must(t, "delete", "deployment", "crash0", "crash1", "crash2")
}
