package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// tree are the files and symbolic links below a directory, as they are to be
// below / of an image; none where there is no such directory.
func tree(dir string) ([]File, error) {
	var out []File
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		within, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f := File{Path: "/" + within}
		if e.Type() == fs.ModeSymlink {
			f.Link, err = os.Readlink(path)
		} else {
			var st fs.FileInfo
			if st, err = e.Info(); err == nil {
				f.Source, f.Mode = path, int64(st.Mode().Perm())
			}
		}
		out = append(out, f)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return out, err
}
