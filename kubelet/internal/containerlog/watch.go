package containerlog

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watcher says when something in a directory changes. Where the kernel
// offers no more of its watches, it says so after each pause.
type watcher struct {
	f      *os.File // nil: no watch
	events chan struct{}
}

func watch(dir string) *watcher {
	w := &watcher{events: make(chan struct{}, 1)}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w
	}
	w.f = os.NewFile(uintptr(fd), "inotify")
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_MOVED_FROM)
	if err != nil {
		w.f.Close()
		w.f = nil
		return w
	}
	go w.read()
	return w
}

// read ends when the file is closed.
func (w *watcher) read() {
	buf := make([]byte, 4096)
	for {
		if _, err := w.f.Read(buf); err != nil {
			return
		}
		select {
		case w.events <- struct{}{}:
		default: // one that nobody has seen yet is enough
		}
	}
}

// wait reports whether something changed within a pause.
func (w *watcher) wait(ctx context.Context, pause time.Duration) bool {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-w.events:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func (w *watcher) close() {
	if w.f != nil {
		w.f.Close()
	}
}
