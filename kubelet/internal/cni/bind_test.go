package cni

import (
	"os"

	"golang.org/x/sys/unix"
)

func bind(from, to string) error { return unix.Mount(from, to, "", unix.MS_BIND, "") }

func unbind(path string) {
	_ = unix.Unmount(path, unix.MNT_DETACH) // the namespace goes with its last name
	_ = os.Remove(path)                     // and the directory with the test
}
