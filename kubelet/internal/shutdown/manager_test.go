package shutdown

import (
	"context"
	"errors"
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
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/status"
)

// login is a logind behind a real bus, which keeps what it was asked.
type login struct {
	t    *testing.T
	conn *dbus.Conn
	path string // of the logind.conf that says how long it waits

	mu    sync.Mutex
	asked []string      // guarded by mu
	locks [][2]*os.File // guarded by mu: our end, and the one that is given away
}

// waits is how long it would wait, in microseconds: 5 s, or what a drop-in says.
func (l *login) waits() uint64 {
	raw, err := os.ReadFile(l.path)
	if err != nil {
		return 5e6
	}
	var n uint64
	_, text, _ := strings.Cut(string(raw), "InhibitDelayMaxSec=")
	if _, err := fmt.Sscan(text, &n); err != nil {
		l.t.Error(err)
	}
	return n * 1e6
}

func (l *login) note(what string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, fmt.Sprint(what, args))
}

// serve takes the names of logind and systemd, and answers as they do.
func (l *login) serve() {
	for _, o := range []struct {
		methods map[string]any
		path    dbus.ObjectPath
		iface   string
	}{
		{map[string]any{"Inhibit": l.inhibit}, object, manager},
		{map[string]any{"Get": func(iface, name string) (dbus.Variant, *dbus.Error) {
			l.note("Get", iface, name)
			return dbus.MakeVariant(l.waits()), nil
		}}, object, "org.freedesktop.DBus.Properties"},
		{map[string]any{"KillUnit": func(unit, who string, signal int32) *dbus.Error {
			l.note("KillUnit", unit, who, signal)
			return nil
		}}, "/org/freedesktop/systemd1", systemd1 + ".Manager"},
	} {
		if err := l.conn.ExportMethodTable(o.methods, o.path, o.iface); err != nil {
			l.t.Fatal(err)
		}
	}
	for _, name := range []string{login1, systemd1} {
		if reply, err := l.conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
			l.t.Fatal(name, reply, err)
		}
	}
}

func (l *login) inhibit(what, who, why, mode string) (dbus.UnixFD, *dbus.Error) {
	l.note("Inhibit", what, who, why, mode)
	mine, theirs, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	l.mu.Lock()
	l.locks = append(l.locks, [2]*os.File{mine, theirs})
	l.mu.Unlock()
	return dbus.UnixFD(theirs.Fd()), nil
}

func (l *login) signal(begins bool) {
	if err := l.conn.Emit(object, manager+"."+prepare, begins); err != nil {
		l.t.Error(err)
	}
}

// released waits until the lock of a number, which has arrived, was given back.
func (l *login) released(i int) {
	l.t.Helper()
	l.until("a lock", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.locks) > i })
	l.mu.Lock()
	lock := l.locks[i]
	l.mu.Unlock()
	lock[1].Close()
	if _, err := lock[0].Read(make([]byte, 1)); err != io.EOF {
		l.t.Errorf("lock: %v", err)
	}
}

func (l *login) until(what string, f func() bool) {
	l.t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.t.Fatalf("%s: not yet; asked %v", what, l.asked)
		}
	}
}

// start begins a bus with a logind on it, and gives the bus' address.
func start(t *testing.T, dir string) (*login, string) {
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("dbus-daemon is not installed (Debian's package dbus-daemon)")
	}
	at, config := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	text := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>test</type><listen>unix:path=` + at + `</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(program, "--nofork", "--config-file="+config)
	daemon.Stderr = os.Stderr
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill() // it may have ended
		_ = daemon.Wait()
	})
	l := &login{t: t, path: filepath.Join(dir, "logind.conf.d", "99-kubelet.conf")}
	address := "unix:path=" + at
	l.until("the bus listens", func() bool { l.conn, err = dbus.Connect(address); return err == nil })
	t.Cleanup(func() { l.conn.Close() })
	l.serve()
	return l, address
}

// A shutdown waits until pods have ended, the important ones last; one that is
// called off is waited for again.
func TestShutdown(t *testing.T) {
	dir := t.TempDir()
	l, address := start(t, dir)
	var mu sync.Mutex
	var told []string
	tell := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprintf(format, args...))
	}
	web, dns := podOf("web", 0, 10), podOf("dns", critical, 2)
	web.UID, dns.UID = "web", "dns"
	done := map[types.UID]chan struct{}{"web": make(chan struct{}), "dns": make(chan struct{})}
	m := New(Options{
		Groups: []Group{{0, 20 * time.Minute}, {critical, 10 * time.Minute}}, Pods: func() []*corev1.Pod { return []*corev1.Pod{dns, web} },
		Evict: func(uid types.UID, v status.Verdict, grace *int64) (<-chan struct{}, bool) {
			tell("%s %d %s %s %s", uid, *grace, v.Phase, v.Reason, v.Disrupted)
			if uid == "web" {
				time.AfterFunc(10*time.Millisecond, func() { tell("web is over"); close(done[uid]) })
			} else {
				close(done[uid])
			}
			return done[uid], true
		},
		Event: func(_, reason, message string) { tell("%s: %s", reason, message) }, Changed: func() { tell("changed") }, Log: zap.NewNop(),
		Address: address, DropIns: filepath.Join(dir, "logind.conf.d"),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- m.Run(ctx) }()
	l.until("its lock", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.locks) == 1 })
	if m.Down() || l.waits() != uint64(30*time.Minute/time.Microsecond) {
		t.Errorf("down %t, logind waits %d", m.Down(), l.waits())
	}
	l.signal(true)
	l.until("it goes down", m.Down)
	l.released(0)
	mu.Lock()
	want := []string{"Shutdown: Shutdown manager detected shutdown event", "changed", "web 10 Failed Terminated TerminationByKubelet", "web is over", "dns 2 Failed Terminated TerminationByKubelet"}
	if strings.Join(told, "\n") != strings.Join(want, "\n") {
		t.Errorf("what happened:\n%s", strings.Join(told, "\n"))
	}
	mu.Unlock()
	if !m.Down() {
		t.Error("the node takes pods")
	}
	l.signal(false)
	l.until("another lock", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.locks) == 2 })
	if m.Down() {
		t.Error("the node takes no pods")
	}
	cancel()
	if err := <-ran; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	l.released(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if all := strings.Join(l.asked, "\n"); !strings.Contains(all, "Inhibit[shutdown kubelet Kubelet needs time to handle node shutdown delay]") || !strings.Contains(all, "KillUnit[systemd-logind.service all 1]") {
		t.Errorf("it was asked\n%s", all)
	}
}

// What says something else is no shutdown.
func TestShuts(t *testing.T) {
	for _, s := range []*dbus.Signal{
		{Name: manager + ".SessionNew", Body: []any{true}}, {Name: manager + "." + prepare}, {Name: manager + "." + prepare, Body: []any{"yes"}},
		{Name: manager + "." + prepare, Body: []any{true, true}},
	} {
		if _, is := shuts(s); is {
			t.Errorf("%v is a shutdown", s)
		}
	}
	if begins, is := shuts(&dbus.Signal{Name: manager + "." + prepare, Body: []any{true}}); !begins || !is {
		t.Error("a shutdown is none")
	}
}
