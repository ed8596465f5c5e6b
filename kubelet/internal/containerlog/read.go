package containerlog

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Options of reading a log.
type Options struct {
	// Root, when not "", is the directory that the file must be below, by a
	// path without links.
	Root string
	// Follow goes on at the end of the file, until Running gives false.
	Follow  bool
	Running func(context.Context) bool
	// Since leaves out what is older; Tail, when not nil, all but the last
	// lines of the file.
	Since time.Time
	Tail  *int64
	// Limit, when not nil, is how many bytes are written at most.
	Limit *int64
	// Timestamps are put before each line.
	Timestamps bool
	// Stream, when not "", leaves out the other one.
	Stream string

	// settle is settlePause, but for tests.
	settle time.Duration
}

const (
	// stampFormat has all nine digits, so that lines align.
	stampFormat = "2006-01-02T15:04:05.000000000Z07:00"
	// checkPause is how often a follower looks whether the container runs.
	checkPause = time.Second
	// maxLine is how much of one line of the file is kept, in bytes;
	// runtimes break lines at 16 kB.
	maxLine = 1 << 20
)

var errLimit = errors.New("as much as was asked for has been written")

// Read writes a log to w; flush, when not nil, is called whenever a follower
// waits. It ends without an error at the end of the log.
func Read(ctx context.Context, path string, o Options, w io.Writer, flush func()) error {
	f, err := openLog(path, o.Root)
	if err != nil {
		return err
	}
	r := &follower{path: path, o: o, f: f, out: writer{w: w, o: o, left: -1, fresh: true}, flush: flush}
	defer func() { r.f.Close() }()
	if o.Limit != nil {
		r.out.left = *o.Limit
	}
	if o.Tail != nil {
		at, err := tailStart(f, *o.Tail)
		if err != nil {
			return err
		}
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return err
		}
	}
	err = r.run(ctx)
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

// openLog opens a regular file; what a pod may have put in its place, a link
// or a pipe, is refused.
func openLog(path, root string) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC}
	at, name := unix.AT_FDCWD, path
	if rel, ok := below(path, root); ok {
		dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: root, Err: err}
		}
		defer unix.Close(dir)
		at, name = dir, rel
		how.Resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
	} else if root != "" {
		return nil, fmt.Errorf("the log %s is not below %s", path, root)
	}
	fd, err := unix.Openat2(at, name, &how)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("the log %s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func below(path, root string) (string, bool) {
	if root == "" {
		return "", false
	}
	rel, err := filepath.Rel(root, path)
	return rel, err == nil && filepath.IsLocal(rel)
}

// tailStart is where the last n lines of a file begin.
func tailStart(f *os.File, n int64) (int64, error) {
	info, err := f.Stat()
	if err != nil || n < 0 {
		return 0, err
	}
	end := info.Size()
	if n == 0 {
		return end, nil
	}
	buf := make([]byte, 64<<10)
	// The line's end at the very end of the file begins no other line.
	for at, lines := end, int64(0); at > 0; {
		size := min(int64(len(buf)), at)
		at -= size
		if _, err := f.ReadAt(buf[:size], at); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := size - 1; i >= 0; i-- {
			if buf[i] != '\n' || at+i == end-1 {
				continue
			}
			if lines++; lines == n {
				return at + i + 1, nil
			}
		}
	}
	return 0, nil
}

// writer writes lines as they were asked for.
type writer struct {
	w     io.Writer
	o     Options
	left  int64 // bytes; negative is no limit
	fresh bool  // at the beginning of a line
	buf   []byte
}

func (w *writer) line(l Line) error {
	if w.o.Stream != "" && l.Stream != w.o.Stream || l.Time.Before(w.o.Since) {
		return nil
	}
	w.buf = w.buf[:0]
	if w.o.Timestamps && w.fresh {
		w.buf = append(l.Time.AppendFormat(w.buf, stampFormat), ' ')
	}
	w.buf = append(w.buf, l.Text...)
	if !l.Partial {
		w.buf = append(w.buf, '\n')
	}
	w.fresh = !l.Partial
	out, full := w.buf, false
	if w.left >= 0 && int64(len(out)) >= w.left {
		out, full = out[:w.left], true
	}
	n, err := w.w.Write(out)
	if w.left >= 0 {
		w.left -= int64(n)
	}
	if err == nil && full {
		err = errLimit
	}
	return err
}

// follower reads a file, and those that come in its place.
type follower struct {
	path  string
	o     Options
	f     *os.File
	out   writer
	flush func()
	rest  []byte // of a line whose end has not been written yet
	long  bool   // rest has been cut
}

func (r *follower) run(ctx context.Context) error {
	if r.out.left == 0 {
		return nil
	}
	if !r.o.Follow {
		if err := r.drain(ctx); err != nil {
			return err
		}
		return r.last()
	}
	changes := watch(filepath.Dir(r.path))
	defer changes.close()
	for {
		if err := r.drain(ctx); err != nil {
			return err
		}
		next, err := r.successor()
		if err != nil {
			return err
		}
		if next != nil {
			if err := errors.Join(r.settle(ctx), r.last()); err != nil {
				next.Close()
				return err
			}
			r.f.Close()
			r.f = next
			continue
		}
		if r.flush != nil {
			r.flush()
		}
		if changes.wait(ctx, checkPause) {
			continue
		}
		if ctx.Err() != nil {
			return nil // the reader has gone
		}
		if r.o.Running == nil || !r.o.Running(ctx) {
			return errors.Join(r.drain(ctx), r.last())
		}
	}
}

// A runtime makes the new file before it turns to it, and then writes what it
// has read already to the old one. So that has settled when nothing came for a
// pause; one that keeps growing is not what this takes it for.
const (
	settlePause  = 50 * time.Millisecond
	settleRounds = 40
)

// settle drains a file that another has come in the place of.
func (r *follower) settle(ctx context.Context) error {
	size := int64(-1)
	for range settleRounds {
		if err := r.drain(ctx); err != nil {
			return err
		}
		now, err := r.f.Stat()
		if err != nil || now.Size() == size {
			return err
		}
		size = now.Size()
		t := time.NewTimer(cmp.Or(r.o.settle, settlePause))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
	return nil
}

// successor is the file that has come in the place of the open one, or nil.
func (r *follower) successor() (*os.File, error) {
	now, err := os.Lstat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // between two
	}
	if err != nil {
		return nil, err
	}
	have, err := r.f.Stat()
	if err != nil || os.SameFile(now, have) {
		return nil, err
	}
	next, err := openLog(r.path, r.o.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return next, err
}

// drain writes the whole lines up to the end of the file.
func (r *follower) drain(ctx context.Context) error {
	in := bufio.NewReaderSize(r.f, 64<<10)
	for {
		part, err := in.ReadSlice('\n')
		if len(part) > 0 {
			r.collect(part)
		}
		switch {
		case err == nil:
			if err := r.emit(); err != nil {
				return err
			}
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (r *follower) collect(part []byte) {
	if len(r.rest)+len(part) <= maxLine {
		r.rest = append(r.rest, part...)
		return
	}
	if !r.long {
		r.rest = append(r.rest, part[:maxLine-len(r.rest)]...)
	}
	r.long = true
}

// emit writes the line that has been collected; one that can't be read is
// left out, as the runtime wrote it amid something going wrong.
func (r *follower) emit() error {
	raw := bytes.TrimSuffix(r.rest, []byte{'\n'})
	r.rest, r.long = r.rest[:0], false
	l, err := Parse(raw)
	if err != nil {
		return nil
	}
	return r.out.line(l)
}

// last writes a line without an end, at the end of a file.
func (r *follower) last() error {
	if len(r.rest) == 0 {
		return nil
	}
	return r.emit()
}
