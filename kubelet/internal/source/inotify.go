package source

import (
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// watchDir says when something in a directory, or a file, has changed. The
// channel holds one; stop ends the watching. Without inotify it stays silent.
func watchDir(path string, log *zap.Logger) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	silent := func() {}
	dir := path
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		dir = filepath.Dir(path)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		log.Warn("manifests are only read at intervals: inotify is not to be had; raise fs.inotify.max_user_instances", zap.Error(err))
		return ch, silent
	}
	const mask = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_CREATE
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, mask); err != nil {
		log.Debug("manifests are only read at intervals", zap.String("path", dir), zap.Error(err))
		_ = f.Close() // unused
		return ch, silent
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := f.Read(buf); err != nil {
				return
			}
			select {
			case ch <- struct{}{}:
			default: // it will be read anyway
			}
		}
	}()
	return ch, func() { _ = f.Close() } // ends the reader
}
