package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Names in a directory whose content changes as a whole: the link to the
// current content, and the link that is about to replace it.
const (
	dataLink = "..data"
	nextLink = "..data_tmp"
)

// write makes dir hold the payload, in one step for those who read it: the
// files are in a directory of their own, to which the link ..data leads, and
// what users see are links through ..data. changed is false when all was so.
func (p Payload) write(dir string, group *int64) (changed bool, err error) {
	link := filepath.Join(dir, dataLink)
	old, err := os.Readlink(link)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if old != "" && p.same(filepath.Join(dir, filepath.Base(old)), group) {
		return false, p.links(dir) // a process may have ended in between
	}
	next, err := os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return false, err
	}
	if err := p.fill(next, group); err != nil {
		return false, errors.Join(err, os.RemoveAll(next))
	}
	tmp := filepath.Join(dir, nextLink)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.Symlink(filepath.Base(next), tmp); err != nil {
		return false, errors.Join(err, os.RemoveAll(next))
	}
	if err := os.Rename(tmp, link); err != nil {
		return false, errors.Join(err, os.RemoveAll(next))
	}
	if err := p.links(dir); err != nil {
		return true, err
	}
	return true, sweep(dir, filepath.Base(next))
}

// sweep removes the directories that are no longer linked to.
func sweep(dir, current string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "..") && e.Name() != current {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// permissions of a file of a read-only volume: a group that owns it may read.
func permissions(mode os.FileMode, group *int64) os.FileMode {
	if group != nil {
		mode |= 0o440
	}
	return mode
}

func (p Payload) fill(dir string, group *int64) error {
	made := map[string]bool{}
	if err := settle(dir, 0o755, group); err != nil {
		return err
	}
	for path, f := range p {
		if err := subdirectories(dir, filepath.Dir(path), group, made); err != nil {
			return err
		}
		name := filepath.Join(dir, path)
		if err := os.WriteFile(name, f.Data, 0o600); err != nil {
			return err
		}
		uid, gid := -1, -1
		if f.Owner != nil {
			uid = int(*f.Owner)
		}
		if group != nil {
			gid = int(*group)
		}
		if uid >= 0 || gid >= 0 {
			if err := os.Chown(name, uid, gid); err != nil {
				return err
			}
		}
		// Chmod last: it is exact whatever the umask is.
		if err := os.Chmod(name, permissions(os.FileMode(f.Mode).Perm(), group)); err != nil {
			return err
		}
	}
	return nil
}

func subdirectories(root, path string, group *int64, made map[string]bool) error {
	if path == "." || made[path] {
		return nil
	}
	if err := subdirectories(root, filepath.Dir(path), group, made); err != nil {
		return err
	}
	made[path] = true
	name := filepath.Join(root, path)
	if err := os.Mkdir(name, 0o755); err != nil {
		return err
	}
	return settle(name, 0o755, group)
}

// settle gives a directory its mode and group.
func settle(dir string, mode os.FileMode, group *int64) error {
	if group != nil {
		if err := os.Chown(dir, -1, int(*group)); err != nil {
			return err
		}
		mode = permissions(mode, group) | 0o110 | os.ModeSetgid
	}
	return os.Chmod(dir, mode)
}

// links makes what users see lead through ..data, and removes what is no more.
func (p Payload) links(dir string) error {
	want := map[string]bool{}
	for path := range p {
		first, _, _ := strings.Cut(path, string(filepath.Separator))
		want[first] = true
	}
	for name := range want {
		to := filepath.Join(dataLink, name)
		have, err := os.Readlink(filepath.Join(dir, name))
		if err == nil && have == to {
			continue
		}
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") || want[e.Name()] {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

var errDiffers = errors.New("differs")

// same reports whether a directory holds exactly the payload.
func (p Payload) same(dir string, group *int64) bool {
	seen := 0
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return nil
		}
		path, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		f, ok := p[path]
		if !ok || !e.Type().IsRegular() || !f.is(name, group) {
			return fmt.Errorf("%s: %w", path, errDiffers)
		}
		seen++
		return nil
	})
	return err == nil && seen == len(p)
}

func (f *File) is(name string, group *int64) bool {
	info, err := os.Lstat(name)
	if err != nil || info.Size() != int64(len(f.Data)) || info.Mode().Perm() != permissions(os.FileMode(f.Mode).Perm(), group) {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || f.Owner != nil && int64(st.Uid) != *f.Owner || group != nil && int64(st.Gid) != *group {
		return false
	}
	have, err := os.ReadFile(name)
	return err == nil && bytes.Equal(have, f.Data)
}
