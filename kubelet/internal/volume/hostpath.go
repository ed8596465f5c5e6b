package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	corev1 "k8s.io/api/core/v1"
)

// checkHostPath checks that a path of the host is of the kind that the pod
// expects, and makes it where the kind says so.
func checkHostPath(path string, kind *corev1.HostPathType) error {
	if kind == nil || *kind == corev1.HostPathUnset {
		return nil // the runtime makes a directory if there is nothing
	}
	info, err := os.Stat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return fmt.Errorf("hostPath type check failed: %w", err)
	}
	switch *kind {
	case corev1.HostPathDirectoryOrCreate:
		if missing {
			return os.MkdirAll(path, 0o755)
		}
		return want(path, info.IsDir(), "a directory")
	case corev1.HostPathDirectory:
		return want(path, !missing && info.IsDir(), "a directory")
	case corev1.HostPathFileOrCreate:
		if missing {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
		return want(path, info.Mode().IsRegular(), "a file")
	case corev1.HostPathFile:
		return want(path, !missing && info.Mode().IsRegular(), "a file")
	case corev1.HostPathSocket:
		return want(path, !missing && info.Mode()&os.ModeSocket != 0, "a socket file")
	case corev1.HostPathCharDev:
		return want(path, !missing && info.Mode()&os.ModeCharDevice != 0, "a character device")
	case corev1.HostPathBlockDev:
		return want(path, !missing && info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0, "a block device")
	}
	return fmt.Errorf("%s is an invalid volume type", *kind)
}

func want(path string, ok bool, what string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("hostPath type check failed: %s is not %s", path, what)
}
