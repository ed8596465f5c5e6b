package shutdown

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/kubelet/internal/status"
)

// login is a logind for one client, which keeps what it was asked. It is a
// peer, or behind a bus.
type login struct {
	t    *testing.T
	conn *net.UnixConn
	path string // of the logind.conf that says how long it waits

	mu     sync.Mutex
	serial uint32   // guarded by mu
	asked  []string // guarded by mu
	locks  []*os.File
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

func (l *login) send(m *message, files ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serial++
	m.serial, m.fileCount = l.serial, len(files)
	var oob []byte
	if len(files) > 0 {
		oob = syscall.UnixRights(files...)
	}
	if _, _, err := l.conn.WriteMsgUnix(m.encode(), oob, nil); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) {
		l.t.Error(err)
	}
}

func (l *login) handle(m *message) {
	if m.kind != methodCall {
		return
	}
	l.mu.Lock()
	l.asked = append(l.asked, fmt.Sprint(m.member, m.body))
	l.mu.Unlock()
	answer := &message{kind: methodReturn, replyTo: m.serial, destination: m.sender}
	switch m.iface + "." + m.member {
	case "org.freedesktop.DBus.Hello":
		answer.body = []any{":1.1"}
	case "org.freedesktop.DBus.Properties.Get":
		answer.body = []any{variant{l.waits()}}
	case "org.freedesktop.DBus.AddMatch", "org.freedesktop.systemd1.Manager.KillUnit":
	case manager + ".Inhibit":
		mine, theirs, err := os.Pipe()
		if err != nil {
			l.t.Error(err)
			return
		}
		l.mu.Lock()
		l.locks = append(l.locks, mine)
		l.mu.Unlock()
		answer.body = []any{file(0)}
		l.send(answer, int(theirs.Fd()))
		theirs.Close()
		return
	default:
		answer.kind, answer.errorName = failure, "org.freedesktop.DBus.Error.UnknownMethod"
	}
	l.send(answer)
}

func (l *login) signal(begins bool) {
	l.send(&message{kind: signal, path: object, iface: manager, member: prepare, body: []any{begins}})
}

// released waits until the lock of a number was given back.
func (l *login) released(i int) {
	l.t.Helper()
	l.until("a lock", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.locks) > i })
	l.mu.Lock()
	lock := l.locks[i]
	l.mu.Unlock()
	if _, err := lock.Read(make([]byte, 1)); err != io.EOF {
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

// peer is a logind at the other end of the socket.
func peer(t *testing.T, dir string) (*login, string) {
	l := &login{t: t, path: filepath.Join(dir, "logind.conf.d", "99-kubelet.conf")}
	at := filepath.Join(dir, "bus")
	listener, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		defer listener.Close()
		c, err := listener.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		l.conn = c.(*net.UnixConn)
		// One byte at a time, so that nothing of what follows is taken.
		lines := bufio.NewReaderSize(oneByte{c}, 16)
		for _, answer := range []string{"OK 1234\r\n", "AGREE_UNIX_FD\r\n", ""} {
			if _, err := lines.ReadString('\n'); err != nil {
				t.Error(err)
			}
			if _, err := io.WriteString(c, answer); err != nil {
				t.Error(err)
			}
		}
		close(ready)
		_ = (&bus{conn: l.conn}).messages(l.handle) // until it is closed
	}()
	t.Cleanup(func() {
		<-ready
		l.conn.Close()
	})
	return l, "unix:path=" + at
}

type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }

// behindBus is a logind behind a real bus.
func behindBus(t *testing.T, dir string) (*login, string) {
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
	var c net.Conn
	l.until("the bus listens", func() bool { c, err = net.Dial("unix", at); return err == nil })
	l.conn = c.(*net.UnixConn)
	t.Cleanup(func() { l.conn.Close() })
	b := &bus{conn: l.conn}
	if err := b.authenticate(); err != nil {
		t.Fatal(err)
	}
	names := make(chan any, 8)
	go func() {
		_ = b.messages(func(m *message) { // until it is closed
			if m.kind == methodReturn {
				names <- m.body
			}
			l.handle(m)
		})
	}()
	own := func(member string, body ...any) {
		l.send(&message{kind: methodCall, path: "/org/freedesktop/DBus", destination: "org.freedesktop.DBus", iface: "org.freedesktop.DBus", member: member, body: body})
		<-names
	}
	own("Hello")
	own("RequestName", login1, uint32(0))
	own("RequestName", "org.freedesktop.systemd1", uint32(0))
	return l, "unix:path=" + at
}

// A shutdown waits until pods have ended, the important ones last; one that is
// called off is waited for again.
func TestShutdown(t *testing.T) {
	for name, start := range map[string]func(*testing.T, string) (*login, string){"a peer": peer, "a real bus": behindBus} {
		t.Run(name, func(t *testing.T) { testShutdown(t, start) })
	}
}

func testShutdown(t *testing.T, start func(*testing.T, string) (*login, string)) {
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

// What is not D-Bus ends the connection, not the program.
func FuzzDecode(f *testing.F) {
	f.Add((&message{kind: signal, serial: 1, path: object, iface: manager, member: prepare, body: []any{true}}).encode())
	f.Add((&message{kind: methodReturn, serial: 1, replyTo: 2, fileCount: 1, body: []any{file(0), uint64(3), variant{"x"}}}).encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		size, ok, err := messageSize(data)
		if err != nil || !ok || len(data) < size {
			return
		}
		m, err := decode(data[:size])
		if err != nil {
			return
		}
		begins, is := m.shutdown()
		if is && m.body[0] != begins {
			t.Error("it reads itself otherwise")
		}
	})
}
