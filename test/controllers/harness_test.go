// Package controllers shows the behaviour of kube-controller-manager against
// the real API server. Pods are run by a driver that sets their status, as
// kubelets would.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"xebec.dev/test/apiservertest"
	"xebec.dev/test/clientca"
)

// patience is how long anything may take on a loaded machine.
const patience = 60 * time.Second

// cluster is an API server, and what the tests start beside it.
type cluster struct {
	t      testing.TB
	server *apiservertest.Server
	*kubernetes.Clientset
}

// newCluster starts an API server.
func newCluster(t testing.TB, args ...string) *cluster {
	t.Helper()
	s := apiservertest.Start(t, args...)
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	cfg.QPS, cfg.Burst = -1, 0
	cfg.WarningHandler = rest.NoWarnings{}
	return &cluster{t: t, server: s, Clientset: kubernetes.NewForConfigOrDie(cfg)}
}

// manager is a running kube-controller-manager.
type manager struct {
	cmd  *exec.Cmd
	exit chan error
	log  string
}

// manage starts a controller manager with the rights that it has in a cluster;
// it ends with the test.
func (c *cluster) manage(args ...string) *manager {
	c.t.Helper()
	pki := filepath.Join(c.server.Dir, "pki")
	log, err := os.CreateTemp(c.t.TempDir(), "manager-*.log")
	if err != nil {
		c.t.Fatal(err)
	}
	ca, err := clientca.Open(c.server.Dir)
	if err != nil {
		c.t.Fatal(err)
	}
	kubeconfig := filepath.Join(c.t.TempDir(), "kubeconfig")
	if err := ca.Kubeconfig(kubeconfig, c.server.URL, "system:kube-controller-manager"); err != nil {
		c.t.Fatal(err)
	}
	m := &manager{exit: make(chan error, 1), log: log.Name()}
	m.cmd = exec.Command(apiservertest.Binary("kube-controller-manager"), append([]string{
		"--kubeconfig=" + kubeconfig, "--use-service-account-credentials", "--secure-port=0", "--leader-elect=false", "-v=4",
		"--cluster-signing-cert-file=" + filepath.Join(pki, "ca.crt"), "--cluster-signing-key-file=" + filepath.Join(pki, "ca.key"),
		"--node-monitor-grace-period=1h", // the driver's nodes never speak again
		"--root-ca-file=" + filepath.Join(pki, "ca.crt"), "--service-account-private-key-file=" + filepath.Join(pki, "sa.key"),
	}, args...)...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		c.t.Fatalf("start kube-controller-manager (make build makes it): %v", err)
	}
	_ = log.Close() // the process has it
	go func() { m.exit <- m.cmd.Wait() }()
	c.t.Cleanup(func() {
		m.kill()
		if c.t.Failed() {
			text, _ := os.ReadFile(m.log) // as much as there is
			lines := strings.Split(string(text), "\n")
			c.t.Logf("the manager's last words:\n%s", strings.Join(lines[max(0, len(lines)-60):], "\n"))
		}
	})
	return m
}

// kill ends the process at once (SIGKILL).
func (m *manager) kill() {
	if m.cmd.ProcessState == nil {
		_ = m.cmd.Process.Kill() // it may have ended
		err := <-m.exit
		m.exit <- err
	}
}

// namespace makes one for the test.
func (c *cluster) namespace(t testing.TB) string {
	t.Helper()
	ns, err := c.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace's service account", func() error {
		_, err := c.CoreV1().ServiceAccounts(ns.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return ns.Name
}

// kubectl runs the real kubectl in a namespace and gives its output.
func (c *cluster) kubectl(t testing.TB, namespace, input string, args ...string) string {
	t.Helper()
	out, err := c.tryKubectl(t.Context(), namespace, input, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *cluster) tryKubectl(ctx context.Context, namespace, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, apiservertest.Binary("kubectl"), append([]string{"--kubeconfig=" + c.server.Kubeconfig, "--namespace=" + namespace}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(os.Environ(), "HOME="+c.server.Dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// eventually tries until f gives no error.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still after %s: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// always fails when f gives an error within a time: for what must not happen.
func always(t testing.TB, what string, d time.Duration, f func() error) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := f(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func (c *cluster) pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	l, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, err
	}
	return l.Items, nil
}

// count wants a number of pods.
func (c *cluster) count(t testing.TB, namespace, selector string, want int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d pods", want), func() error {
		l, err := c.pods(t.Context(), namespace, selector)
		if err == nil && len(l) != want {
			err = fmt.Errorf("there are %d", len(l))
		}
		return err
	})
}

// event wants an event about an object.
func (c *cluster) event(t testing.TB, namespace, object, source, reason, text string) {
	t.Helper()
	eventually(t, "event "+reason+" about "+object, func() error {
		l, err := c.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		var seen []string
		for _, e := range l.Items {
			if e.InvolvedObject.Name != object {
				continue
			}
			if e.Reason == reason && e.Source.Component == source && strings.Contains(e.Message, text) {
				return nil
			}
			seen = append(seen, e.Source.Component+" "+e.Reason+": "+e.Message)
		}
		return errors.New("seen: " + strings.Join(seen, "; "))
	})
}
