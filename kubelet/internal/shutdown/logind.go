package shutdown

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Names of logind.
const (
	login1  = "org.freedesktop.login1"
	manager = login1 + ".Manager"
	object  = "/org/freedesktop/login1"
	prepare = "PrepareForShutdown"
)

// logind is systemd's, over the bus.
type logind struct{ *bus }

// patience is how long a call may take.
const patience = 10 * time.Second

func (l logind) ask(ctx context.Context, m *message) (*message, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return l.call(ctx, m)
}

// longest is how long logind waits for those who ask it to.
func (l logind) longest(ctx context.Context) (time.Duration, error) {
	r, err := l.ask(ctx, &message{path: object, destination: login1, iface: "org.freedesktop.DBus.Properties", member: "Get", body: []any{manager, "InhibitDelayMaxUSec"}})
	if err != nil {
		return 0, err
	}
	if len(r.body) == 1 {
		if n, ok := r.body[0].(uint64); ok {
			return time.Duration(n) * time.Microsecond, nil
		}
	}
	return 0, fmt.Errorf("logind: InhibitDelayMaxUSec is %v", r.body)
}

// listen asks for the signals of shutdowns.
func (l logind) listen(ctx context.Context) error {
	const rule = "type='signal',interface='" + manager + "',member='" + prepare + "',path='" + object + "'"
	_, err := l.ask(ctx, &message{path: "/org/freedesktop/DBus", destination: "org.freedesktop.DBus", iface: "org.freedesktop.DBus", member: "AddMatch", body: []any{rule}})
	return err
}

// lock is what logind waits for; it is open until it is released.
type lock int

func (l logind) inhibit(ctx context.Context) (lock, error) {
	r, err := l.ask(ctx, &message{path: object, destination: login1, iface: manager, member: "Inhibit", body: []any{"shutdown", "kubelet", "Kubelet needs time to handle node shutdown", "delay"}})
	if err != nil {
		return -1, err
	}
	if len(r.files) != 1 {
		r.close()
		return -1, fmt.Errorf("logind: Inhibit gave %d files", len(r.files))
	}
	return lock(r.files[0]), nil
}

func (l lock) release() {
	if l >= 0 {
		_ = syscall.Close(int(l)) // it is this process' own
	}
}

// extend has logind wait as long as that, by a drop-in of its configuration.
func (l logind) extend(ctx context.Context, d time.Duration, dir string) error {
	const name = "99-kubelet.conf"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("# Kubelet logind override\n[Login]\nInhibitDelayMaxSec=%.0f\n", d.Seconds())
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		return err
	}
	_, err := l.ask(ctx, &message{path: "/org/freedesktop/systemd1", destination: "org.freedesktop.systemd1", iface: "org.freedesktop.systemd1.Manager", member: "KillUnit",
		body: []any{"systemd-logind.service", "all", int32(syscall.SIGHUP)}})
	return err
}
