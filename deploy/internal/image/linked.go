package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"strings"
)

// linked refuses a program whose loader, or a library that it or another
// library asks for, is not in the image: it would fail as if it were not there
// itself. Where in the image libraries are is the loader's business.
func linked(files []File) error {
	names, paths := map[string]bool{}, map[string]bool{}
	for i := range files {
		names[path.Base(files[i].Path)], paths[files[i].Path] = true, true
	}
	var errs []error
	for i := range files {
		f := &files[i]
		loader, needs := asks(f.Content)
		if loader != "" && !paths[loader] {
			errs = append(errs, fmt.Errorf("%s is linked dynamically, and its loader %s is not in the image: build it with CGO_ENABLED=0 (`make build` does)", f.Source, loader))
			continue
		}
		for _, n := range needs {
			if !names[n] {
				errs = append(errs, fmt.Errorf("%s is linked with %s, which is not in the image", f.Source, n))
			}
		}
	}
	return errors.Join(errs...)
}

// asks are the loader and the libraries that a program, or a library, asks for.
func asks(data []byte) (loader string, needs []string) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return "", nil // neither
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			raw := make([]byte, min(p.Filesz, 4096))
			if _, err := p.ReadAt(raw, 0); err == nil {
				loader = strings.TrimRight(string(raw), "\x00")
			}
		}
	}
	needs, _ = f.ImportedLibraries() // of a static program there are none
	return loader, needs
}
