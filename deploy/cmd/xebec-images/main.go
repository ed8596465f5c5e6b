// Command xebec-images packs the programs in bin/ into OCI archives, one file
// per image, and pushes them to a registry if asked to.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"xebec.dev/deploy/internal/image"
)

func main() {
	bin := pflag.String("bin", "bin", "directory with the programs")
	out := pflag.String("out", "bin/images", "directory for the archives")
	busybox := pflag.String("busybox", "/bin/busybox", "static busybox of the test image; empty leaves that out")
	push := pflag.String("push", "", "registry to push to as well, http://HOST:PORT[/PATH]")
	partial := pflag.Bool("partial", false, "leave out images whose program is not there")
	only := pflag.StringSlice("only", nil, "the images meant, by the last part of their names; all when empty")
	pflag.Parse()
	if err := run(*bin, *out, *busybox, *push, *only, *partial); err != nil {
		fmt.Fprintln(os.Stderr, "xebec-images:", err)
		os.Exit(1)
	}
}

func run(bin, out, busybox, push string, only []string, partial bool) error {
	applets, err := listApplets(busybox)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	set, err := image.Set(bin, busybox, applets)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(bin, image.IPTables)); err != nil {
		fmt.Printf("%s is not there: kube-proxy's image is without the mode iptables\n", filepath.Join(bin, image.IPTables))
	}
	for _, img := range set {
		name, _, _ := strings.Cut(fileName(img.Name), "_")
		if len(only) > 0 && !slices.Contains(only, name) || partial && missing(&img) {
			continue
		}
		file := filepath.Join(out, fileName(img.Name)+".tar")
		if push == "" && fresh(file, &img) {
			continue
		}
		if err := pack(&img, file, push); err != nil {
			return err
		}
	}
	return nil
}

func pack(img *image.Image, file, push string) error {
	p, err := image.Pack(img, runtime.GOARCH)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".image-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone when it was renamed
	if err := errors.Join(p.WriteArchive(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	fmt.Printf("%-55s %s %6.1f MiB\n", img.Name, p.Manifest.Digest[:19], float64(p.Layer.Size)/(1<<20))
	if push == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	ref, err := image.Push(ctx, p, push)
	if err == nil {
		fmt.Println("pushed", ref)
	}
	return err
}

// fileName is an image's archive: its last part, with its tag.
func fileName(ref string) string {
	return strings.ReplaceAll(ref[strings.LastIndexByte(ref, '/')+1:], ":", "_")
}

// fresh says whether an archive is newer than everything in it, this program
// included.
func fresh(file string, img *image.Image) bool {
	made, err := os.Stat(file)
	if err != nil {
		return false
	}
	sources := []string{}
	if self, err := os.Executable(); err == nil {
		sources = append(sources, self)
	}
	for _, f := range img.Files {
		if f.Source != "" {
			sources = append(sources, f.Source)
		}
	}
	for _, s := range sources {
		if st, err := os.Stat(s); err != nil || !st.ModTime().Before(made.ModTime()) {
			return false
		}
	}
	return true
}

func missing(img *image.Image) bool {
	for _, f := range img.Files {
		if f.Source != "" {
			if _, err := os.Stat(f.Source); err != nil {
				fmt.Printf("%-55s left out: %v\n", img.Name, err)
				return true
			}
		}
	}
	return false
}

func listApplets(busybox string) ([]string, error) {
	if busybox == "" {
		return nil, nil
	}
	out, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list the applets of %s (Debian's package busybox-static has it): %w", busybox, err)
	}
	return strings.Fields(string(out)), nil
}
