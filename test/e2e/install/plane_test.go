package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"xebec.dev/test/cluster"
)

// balancer passes connections on to those members of a control plane that
// take them, as what stands before one in earnest does.
type balancer struct {
	members []string
	next    atomic.Int64
}

// listen takes an address that the machine gets with the cluster.
func (b *balancer) listen(t *testing.T, address string) {
	t.Helper()
	free := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_FREEBIND, 1) }), err)
	}}
	l, err := free.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(c)
		}
	}()
}

func (b *balancer) serve(c net.Conn) {
	defer c.Close()
	for range b.members {
		to, err := net.DialTimeout("tcp", b.members[int(b.next.Add(1))%len(b.members)], 2*time.Second)
		if err != nil {
			continue
		}
		defer to.Close()
		done := make(chan struct{}, 2)
		pass := func(w io.Writer, r io.Reader) {
			_, _ = io.Copy(w, r) // either end may go
			done <- struct{}{}
		}
		go pass(to, c)
		go pass(c, to)
		<-done
		return
	}
}

// planes are the nodes whose pod of a component is ready.
func planes(t *testing.T, c *cluster.Cluster, component string) (string, error) {
	t.Helper()
	out, err := c.Kubectl(t.Context(), "get", "pods", "-n=kube-system", "-l=component="+component, "--sort-by=.spec.nodeName",
		"-o", `jsonpath={range .items[*]}{.spec.nodeName}={.status.conditions[?(@.type=="Ready")].status} {end}`)
	return strings.TrimSpace(out), err
}

// TestControlPlaneOfThree: two nodes join the control plane, the first one's
// power fails and nobody misses it, it comes back, and another one is reset.
func TestControlPlaneOfThree(t *testing.T) {
	const subnet, endpoint = "172.31.8", "172.31.8.1:7443"
	b := &balancer{}
	for i := range 3 {
		b.members = append(b.members, fmt.Sprintf("%s.%d:6443", subnet, i+2))
	}
	b.listen(t, endpoint)
	c := cluster.Start(t, cluster.Options{Nodes: 3, ControlPlanes: 3, Subnet: subnet + ".0/24", Endpoint: endpoint})
	wait := func(what, component, want string) {
		t.Helper()
		cluster.Eventually(t, what, func() error {
			got, err := planes(t, c, component)
			if err == nil && got != want {
				err = fmt.Errorf("%s: %q, expected %q", component, got, want)
			}
			return err
		})
	}
	for _, component := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		wait("three of each", component, "n1=True n2=True n3=True")
	}
	if got := members(t, c, 1); got != "n1 n2 n3" {
		t.Errorf("etcd's voters are %s", got)
	}
	if got := c.Must(t, "get", "nodes", "-l=node-role.kubernetes.io/control-plane", "-o=jsonpath={.items[*].metadata.name}"); got != "n1 n2 n3" {
		t.Errorf("the nodes of the control plane are %s", got)
	}
	apply(t, c, strings.Replace(application, "replicas: 2", "replicas: 3", 1))
	c.Must(t, "rollout", "status", "deployment/app", "--timeout=120s")

	first, third := c.Members()[0], c.Members()[2]
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	booted := false
	defer func() {
		if !booted {
			t.Log(first.Boot(context.Background()))
		}
	}()
	cluster.Eventually(t, "the other two take orders", func() error {
		_, err := c.Kubectl(t.Context(), "scale", "deployment/app", "--replicas=6")
		return err
	})
	cluster.Eventually(t, "the silence of the first is noticed", func() error {
		out, err := c.Kubectl(t.Context(), "get", "node", "n1", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if err == nil && out != "Unknown" {
			err = fmt.Errorf("Ready is %s", out)
		}
		return err
	})
	// Whoever led, the others lead now: pods are made, and placed.
	cluster.Eventually(t, "an order", func() error {
		_, err := c.Kubectl(t.Context(), "create", "deployment", "later", "--image="+web, "--replicas=2")
		return err
	})
	c.Must(t, "rollout", "status", "deployment/later", "--timeout=120s")
	booted = true
	if err := first.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, component := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		wait("the first is back", component, "n1=True n2=True n3=True")
	}
	c.Must(t, "wait", "--for=condition=Ready", "node/n1", "--timeout=120s")

	// A member that goes in order leaves etcd to the others.
	cmd := third.Command(t.Context(), program("xebecadm"), "--root-dir="+third.Path("/"), "reset", "--force")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("reset: %v\n%s", err, out)
	}
	// What it says of itself, such as a warning of version 1 of cgroups, is no container.
	if out, err := exec.Command(program("ctr"), "-a", third.Socket(), "-n", "k8s.io", "tasks", "ls", "-q").Output(); err != nil || len(out) > 0 {
		t.Errorf("containers that run after a reset: %v\n%s", err, out)
	}
	cluster.Eventually(t, "the third is deleted", func() error {
		_, err := c.Kubectl(t.Context(), "delete", "node", "n3", "--ignore-not-found")
		return err
	})
	if got := members(t, c, 1); got != "n1 n2" {
		t.Errorf("etcd's voters after a reset are %s", got)
	}
	cluster.Eventually(t, "two of each are left", func() error {
		got, err := planes(t, c, "kube-apiserver")
		if err == nil && got != "n1=True n2=True" {
			err = errors.New(got)
		}
		return err
	})
}

// members are those of etcd that vote, as the n-th node's member knows them.
func members(t *testing.T, c *cluster.Cluster, n int) string {
	t.Helper()
	node := c.Members()[n-1]
	pki := node.Path("/etc/kubernetes/pki/etcd")
	script := "curl -sS --cacert " + pki + "/ca.crt --cert " + pki + "/healthcheck-client.crt --key " + pki + "/healthcheck-client.key -d '{}' https://127.0.0.1:2379/v3/cluster/member/list" +
		` | grep -o '{"ID[^}]*}' | grep -v isLearner | grep -o '"name":"[^"]*"' | cut -d'"' -f4 | sort | paste -sd' '`
	return strings.TrimSpace(must(t, c, script))
}
