package volume

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
)

// races is how often a mount is tried against somebody who swaps what is
// being mounted.
const races = 3000

// A pod that exchanges a directory with a link to the host's root while the
// kubelet mounts a subPath through it gets its own directory or an error.
func TestSubPathAgainstExchange(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	outside := filepath.Join(root, "outside", "sub")
	m := New(Options{RootDir: root})
	volume := filepath.Join(root, "volume")
	for _, dir := range []string{outside, filepath.Join(volume, "dir", "sub"), filepath.Join(volume, "make")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "outside"), filepath.Join(volume, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../outside", filepath.Join(volume, "relative")); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan int)
	go func() {
		swaps := 0
		for !stop.Load() {
			for _, link := range []string{"link", "relative"} {
				err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(volume, "dir"), unix.AT_FDCWD, filepath.Join(volume, link), unix.RENAME_EXCHANGE)
				if err == nil {
					swaps++
				}
			}
		}
		done <- swaps
	}()
	inside, refused := 0, 0
	end := time.Now().Add(time.Minute) // a busy machine may not let both run at once for long
	for i := 0; i < races || inside == 0 && time.Now().Before(end); i++ {
		path := "dir/sub"
		if i%3 == 0 {
			path = "dir/sub/new" // is made on the way
		}
		fd, err := openSubPath(volume, path)
		if err != nil {
			refused++
			continue
		}
		name, err := os.Readlink("/proc/self/fd/" + itoa(fd))
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		inside++
		if !strings.HasPrefix(name, volume+"/") {
			t.Fatalf("the subPath led out of the volume, to %s", name)
		}
	}
	mounted := 0
	for range races / 30 {
		at, err := m.mountSubPath("u", "v", volume, "dir/sub", "c", 0)
		if err != nil {
			continue
		}
		mounted++
		if _, err := os.Lstat(filepath.Join(at, "secret")); err == nil {
			t.Fatal("the host's directory was mounted")
		}
	}
	stop.Store(true)
	swaps := <-done
	if err := remove(m.subPathDir("u")); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("something was made outside of the volume: %v %v", entries, err)
	}
	if swaps == 0 || inside == 0 {
		t.Errorf("nothing was tried: %d exchanges, %d opened, %d refused, %d mounted", swaps, inside, refused, mounted)
	}
}

func itoa(n int) string {
	if n >= 10 {
		return itoa(n/10) + itoa(n%10)
	}
	return string(rune('0' + n))
}

func TestSubPathLinksWithinTheVolume(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	m := New(Options{RootDir: root})
	volume := filepath.Join(root, "volume")
	if err := os.MkdirAll(filepath.Join(volume, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(volume, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(volume, "real", "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"in": "real/file", "up": "../../../../etc", "abs": "/etc/passwd", "magic": "/proc/self/root"} {
		if err := os.Symlink(to, filepath.Join(volume, name)); err != nil {
			t.Fatal(err)
		}
	}
	uid := types.UID("u")
	defer func() {
		if err := remove(m.subPathDir(uid)); err != nil {
			t.Error(err)
		}
	}()
	at, err := m.mountSubPath(uid, "v", volume, "in", "c", 0)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(at); err != nil || string(raw) != "x" {
		t.Errorf("%q %v", raw, err)
	}
	at, err = m.mountSubPath(uid, "v", volume, "new/deep", "c", 1)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(at)
	if err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("a directory that was made has not the volume's permissions: %v %v", info, err)
	}
	for i, path := range []string{"up", "abs", "magic/etc", "up/passwd", "in/x"} {
		if at, err := m.mountSubPath(uid, "v", volume, path, "c", 2+i); err == nil {
			t.Errorf("%s was mounted at %s", path, at)
		}
	}
}

func TestRemoveStopsAtMounts(t *testing.T) {
	needRoot(t)
	root, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	at := filepath.Join(root, "pod", "a b", "mount")
	for range 2 { // one over the other
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(outside, at, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(filepath.Join(at, "kept")) // busy
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(filepath.Join(root, "pod")); err == nil {
		t.Error("a busy mount was no reason to stop")
	}
	held.Close()
	if err := remove(filepath.Join(root, "pod")); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(outside, "kept")); err != nil {
		t.Errorf("what was mounted is gone: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(root, "pod")); !os.IsNotExist(err) {
		t.Errorf("the directory is left: %v", err)
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("36 35 98:0 /mnt1 /a/b\\040c rw,noatime master:1 - ext3 /dev/root rw\n37 36 0:1 / /a rw - tmpfs x rw\n", "/a")
	f.Add("\n1 2 3\n", "")
	f.Fuzz(func(t *testing.T, table, dir string) {
		for _, at := range parseMounts(table, dir) {
			if at != dir && !strings.HasPrefix(at, dir+"/") {
				t.Errorf("%q is not below %q", at, dir)
			}
		}
	})
}

func TestParseMountsDeepestFirst(t *testing.T) {
	table := "1 0 0:1 / / rw\n2 1 0:1 / /p/v rw\n3 1 0:1 / /p/v/in\\040side rw\n4 1 0:1 / /pother rw\n5 2 0:1 / /p/v rw\n"
	if have := strings.Join(parseMounts(table, "/p"), " "); have != "/p/v/in side /p/v /p/v" {
		t.Error(have)
	}
}
