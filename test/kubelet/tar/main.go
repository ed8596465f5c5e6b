// Command tar is as much of tar as kubectl cp needs: cf - PATH and
// xmf - -C DIR.
package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 {
		args[0] = strings.TrimPrefix(args[0], "-")
	}
	if len(args) < 2 || args[1] != "-" {
		return errors.New("usage: tar cf - PATH | tar xmf - [-C DIR]")
	}
	switch {
	case strings.HasPrefix(args[0], "c") && len(args) == 3:
		return create(args[2])
	case strings.HasPrefix(args[0], "x"):
		dir := "."
		for i := range args {
			if args[i] == "-C" && i+1 < len(args) {
				dir = args[i+1]
			}
		}
		return extract(dir)
	}
	return errors.New("usage: tar cf - PATH | tar xmf - [-C DIR]")
}

func create(root string) error {
	w := tar.NewWriter(os.Stdout)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		h.Name = strings.TrimPrefix(path, "/")
		if err := w.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(w, f)
		return err
	})
	return errors.Join(err, w.Close())
}

func extract(dir string) error {
	in := tar.NewReader(os.Stdin)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, os.Stdin) // what pads the archive
			return err
		}
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		f, err := os.Create(to)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, in)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}
