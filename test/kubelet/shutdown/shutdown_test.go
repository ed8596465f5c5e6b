// Package shutdown has a node shut down under a kubelet that runs pods, by a
// logind on a bus of its own.
package shutdown

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/test/kubelet/nodetest"
)

const (
	login1  = "org.freedesktop.login1"
	manager = login1 + ".Manager"
	object  = "/org/freedesktop/login1"
)

// logind gives locks away, and keeps the other end of each.
type logind struct {
	conn *dbus.Conn

	mu    sync.Mutex
	locks [][2]*os.File // guarded by mu: ours, and the one that is given away
}

func (l *logind) inhibit(_, _, _, _ string) (dbus.UnixFD, *dbus.Error) {
	mine, theirs, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.locks = append(l.locks, [2]*os.File{mine, theirs})
	return dbus.UnixFD(theirs.Fd()), nil
}

func (l *logind) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.locks)
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>test</type><listen>unix:path=%s</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`

// bus starts a bus with a logind that waits long enough for any kubelet.
func bus(t *testing.T) (*logind, string) {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not installed (Debian's package dbus-daemon)")
	}
	dir := t.TempDir()
	at, config := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, at), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(program, "--nofork", "--config-file="+config)
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill() // it may have ended
		_ = daemon.Wait()
	})
	l, address := &logind{}, "unix:path="+at
	nodetest.Until(t, "the bus listens", func() (err error) { l.conn, err = dbus.Connect(address); return err })
	t.Cleanup(func() { l.conn.Close() })
	for iface, methods := range map[string]map[string]any{
		manager: {"Inhibit": l.inhibit},
		"org.freedesktop.DBus.Properties": {"Get": func(_, _ string) (dbus.Variant, *dbus.Error) {
			return dbus.MakeVariant(uint64(time.Hour / time.Microsecond)), nil
		}},
	} {
		if err := l.conn.ExportMethodTable(methods, object, iface); err != nil {
			t.Fatal(err)
		}
	}
	if reply, err := l.conn.RequestName(login1, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return l, address
}

func get(t *testing.T, n *nodetest.Node, namespace, name string) *corev1.Pod {
	t.Helper()
	p, err := n.Client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func condition(list []corev1.PodCondition, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range list {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

func create(t *testing.T, n *nodetest.Node, namespace, name, class string) {
	t.Helper()
	no, grace := false, int64(8)
	_, err := n.Client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
			NodeName: n.Name, PriorityClassName: class, AutomountServiceAccountToken: &no, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{Name: "main", Image: nodetest.Agent, Args: []string{"serve", "8080"},
				Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 1}}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// The machine goes down: pods end in the order of their importance, within
// their times, before logind is let go on; and it takes no others.
func TestShutdown(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test runs containers: run it as root")
	}
	l, address := bus(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
	n, err := nodetest.Start(nodetest.Options{Config: "shutdownGracePeriod: 30s\nshutdownGracePeriodCriticalPods: 10s\n"})
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() && n != nil {
			t.Log(n.LastWords())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	nodetest.Until(t, "an account for pods of the system", func() error {
		_, err := n.Client.CoreV1().ServiceAccounts("kube-system").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
		return err
	})
	create(t, n, "default", "web", "")
	create(t, n, "kube-system", "dns", "system-cluster-critical")
	for namespace, name := range map[string]string{"default": "web", "kube-system": "dns"} {
		nodetest.Until(t, name+" runs", func() error {
			if p := get(t, n, namespace, name); condition(p.Status.Conditions, corev1.PodReady).Status != corev1.ConditionTrue {
				return fmt.Errorf("%v", p.Status)
			}
			return nil
		})
	}
	nodetest.Until(t, "the kubelet holds the shutdown up", func() error {
		if l.count() == 0 {
			return fmt.Errorf("no lock")
		}
		return nil
	})
	if err := l.conn.Emit(object, manager+".PrepareForShutdown", true); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	held := l.locks[0]
	l.mu.Unlock()
	held[1].Close() // the kubelet's is the only one left
	if _, err := held[0].Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
	over(t, n)
	create(t, n, "default", "late", "")
	nodetest.Until(t, "a late pod is refused", func() error {
		p := get(t, n, "default", "late")
		if p.Status.Phase != corev1.PodFailed || p.Status.Reason != "NodeShutdown" || p.Status.Message != "Pod was rejected: Pod was rejected as the node is shutting down." {
			return fmt.Errorf("%v", p.Status)
		}
		return nil
	})
}

// over checks what is said of pods that a shutdown ended, and of the node.
func over(t *testing.T, n *nodetest.Node) {
	t.Helper()
	ends := map[string]time.Time{}
	for namespace, name := range map[string]string{"default": "web", "kube-system": "dns"} {
		nodetest.Until(t, name+" is over", func() error {
			p := get(t, n, namespace, name)
			d := condition(p.Status.Conditions, corev1.DisruptionTarget)
			if p.Status.Phase != corev1.PodFailed || p.Status.Reason != "Terminated" || p.Status.Message != "Pod was terminated in response to imminent node shutdown." ||
				d.Status != corev1.ConditionTrue || d.Reason != "TerminationByKubelet" {
				return fmt.Errorf("%v", p.Status)
			}
			e := p.Status.ContainerStatuses[0].State.Terminated
			if e == nil || e.ExitCode != 0 {
				t.Fatalf("%s was not asked to end: %v", name, p.Status.ContainerStatuses[0].State)
			}
			ends[name] = e.FinishedAt.Time
			return nil
		})
	}
	if ends["dns"].Before(ends["web"]) {
		t.Errorf("the important pod ended first: %v", ends)
	}
	nodetest.Until(t, "the node is not ready", func() error {
		node, err := n.Client.CoreV1().Nodes().Get(context.Background(), n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionFalse && c.Reason == "KubeletNotReady" && strings.Contains(c.Message, "node is shutting down") {
				return nil
			}
		}
		return fmt.Errorf("%v", node.Status.Conditions)
	})
}
