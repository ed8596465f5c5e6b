package shutdown

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
)

// Names of logind, and of systemd.
const (
	login1   = "org.freedesktop.login1"
	manager  = login1 + ".Manager"
	object   = "/org/freedesktop/login1"
	prepare  = "PrepareForShutdown"
	systemd1 = "org.freedesktop.systemd1"
)

// logind is systemd's, over the system's bus.
type logind struct {
	conn *dbus.Conn
	// signals of shutdowns, in order; closed when the connection ends.
	signals chan *dbus.Signal
}

// systemBus is where the system's bus listens.
func systemBus() string {
	if a := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); a != "" {
		return a
	}
	return "unix:path=/run/dbus/system_bus_socket"
}

// connect gives a connection that ends with ctx or close.
func connect(ctx context.Context, address string) (*logind, error) {
	conn, err := dbus.Connect(address, dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		return nil, fmt.Errorf("D-Bus at %s: %w", address, err)
	}
	l := &logind{conn: conn, signals: make(chan *dbus.Signal, 16)}
	conn.Signal(l.signals)
	return l, nil
}

func (l *logind) close() { _ = l.conn.Close() } // nothing is under way

// patience is how long a call may take.
const patience = 10 * time.Second

func (l *logind) ask(ctx context.Context, destination string, path dbus.ObjectPath, method string, result []any, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := l.conn.Object(destination, path).CallWithContext(ctx, method, 0, args...).Store(result...); err != nil {
		return fmt.Errorf("%s of %s: %w", method, destination, err)
	}
	return nil
}

// longest is how long logind waits for those who ask it to.
func (l *logind) longest(ctx context.Context) (time.Duration, error) {
	var microseconds uint64
	err := l.ask(ctx, login1, object, "org.freedesktop.DBus.Properties.Get", []any{&microseconds}, manager, "InhibitDelayMaxUSec")
	return time.Duration(microseconds) * time.Microsecond, err
}

// listen asks for the signals of shutdowns.
func (l *logind) listen(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return l.conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(manager), dbus.WithMatchMember(prepare), dbus.WithMatchObjectPath(object))
}

// lock is what logind waits for; it is open until it is released.
type lock int

func (l *logind) inhibit(ctx context.Context) (lock, error) {
	var fd dbus.UnixFD
	err := l.ask(ctx, login1, object, manager+".Inhibit", []any{&fd}, "shutdown", "kubelet", "Kubelet needs time to handle node shutdown", "delay")
	if err != nil {
		return -1, err
	}
	syscall.CloseOnExec(int(fd))
	return lock(fd), nil
}

func (l lock) release() {
	if l >= 0 {
		_ = syscall.Close(int(l)) // it is this process' own
	}
}

// extend has logind wait as long as that, by a drop-in of its configuration.
func (l *logind) extend(ctx context.Context, d time.Duration, dir string) error {
	const name = "99-kubelet.conf"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=%.0f\n", d.Seconds())
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		return err
	}
	return l.ask(ctx, systemd1, "/org/freedesktop/systemd1", systemd1+".Manager.KillUnit", nil, "systemd-logind.service", "all", int32(syscall.SIGHUP))
}
