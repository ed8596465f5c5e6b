package audit

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// rotating is a log file that is put aside when it has grown too large. It is
// safe for concurrent use.
type rotating struct {
	path string
	// maxBytes of a file; 0 does not rotate.
	maxBytes int64
	// maxAge and maxBackups limit the files put aside; 0 keeps them.
	maxAge     time.Duration
	maxBackups int
	compress   bool
	now        func() time.Time

	mu sync.Mutex
	// guarded by mu.
	file *os.File
	size int64
	// tidying is held while files put aside are removed or compressed.
	tidying  sync.Mutex
	cleaning sync.WaitGroup
}

// stampFormat makes names that sort by time.
const stampFormat = "2006-01-02T15-04-05.000"

func (r *rotating) open() error {
	if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	r.file, r.size = f, info.Size()
	return nil
}

// Write implements io.Writer. A line is never split over two files.
func (r *rotating) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	if r.maxBytes > 0 && r.size > 0 && r.size+int64(len(line)) > r.maxBytes {
		if err := r.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(line)
	r.size += int64(n)
	return n, err
}

func (r *rotating) rotate() error {
	if err := r.file.Close(); err != nil {
		return err
	}
	r.file = nil
	ext := filepath.Ext(r.path)
	base := strings.TrimSuffix(r.path, ext)
	aside := fmt.Sprintf("%s-%s%s", base, r.now().UTC().Format(stampFormat), ext)
	// Two in one millisecond must not meet.
	for i := 1; exists(aside) || exists(aside+".gz"); i++ {
		aside = fmt.Sprintf("%s-%s%s", base, r.now().UTC().Add(time.Duration(i)*time.Millisecond).Format(stampFormat), ext)
	}
	if err := os.Rename(r.path, aside); err != nil {
		return err
	}
	r.cleaning.Go(func() { r.clean() })
	return r.open()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// backups are the files put aside, oldest first.
func (r *rotating) backups() []string {
	ext := filepath.Ext(r.path)
	prefix := strings.TrimSuffix(filepath.Base(r.path), ext) + "-"
	entries, err := os.ReadDir(filepath.Dir(r.path))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if _, ok := r.stamp(e.Name(), prefix, ext); ok && e.Type().IsRegular() {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out
}

func (r *rotating) stamp(name, prefix, ext string) (time.Time, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(name, ".gz"), prefix)
	if !ok {
		return time.Time{}, false
	}
	rest, ok = strings.CutSuffix(rest, ext)
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(stampFormat, rest)
	return t, err == nil
}

// clean removes what is too old or too many, and compresses the rest.
func (r *rotating) clean() {
	r.tidying.Lock()
	defer r.tidying.Unlock()
	dir, ext := filepath.Dir(r.path), filepath.Ext(r.path)
	prefix := strings.TrimSuffix(filepath.Base(r.path), ext) + "-"
	files := r.backups()
	for i, name := range files {
		t, _ := r.stamp(name, prefix, ext)
		tooMany := r.maxBackups > 0 && len(files)-i > r.maxBackups
		tooOld := r.maxAge > 0 && r.now().Sub(t) > r.maxAge
		switch {
		case tooMany || tooOld:
			_ = os.Remove(filepath.Join(dir, name))
		case r.compress && !strings.HasSuffix(name, ".gz"):
			_ = compressFile(filepath.Join(dir, name))
		}
	}
}

func compressFile(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path+".gz.tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if e := z.Close(); err == nil {
		err = e
	}
	if e := out.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(path + ".gz.tmp")
		return err
	}
	if err := os.Rename(path+".gz.tmp", path+".gz"); err != nil {
		return err
	}
	return os.Remove(path)
}
