package watchcache_test

import (
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

type syscallTimes struct{ cpu time.Duration }

func (t *syscallTimes) read() {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err == nil {
		t.cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
}

func parse(s string) labels.Selector {
	sel, err := labels.Parse(s)
	if err != nil {
		panic(err)
	}
	return sel
}
