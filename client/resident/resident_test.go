package resident

import (
	"context"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const smaps = `00400000-0218f000 r-xp 00000000 fe:00 42                         /bin/kube-apiserver
Size:              30268 kB
Rss:               21516 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me
0218f000-0219f000 r--p 01d8f000 fe:00 42                         /bin/kube-apiserver
Rss:                  64 kB
Anonymous:            64 kB
Swap:                  0 kB
0219f000-04140000 r--p 01d9f000 fe:00 42                         /bin/kube-apiserver
Rss:               20744 kB
Anonymous:             0 kB
Swap:                  0 kB
04140000-04146000 r--p 03d40000 fe:00 42                         /bin/kube-apiserver
Anonymous:             0 kB
Swap:                 24 kB
04146000-0424f000 rw-p 03d46000 fe:00 42                         /bin/kube-apiserver
Rss:                1068 kB
Anonymous:             0 kB
c000000000-c001c00000 rw-p 00000000 00:00 0
Anonymous:         23168 kB
7f0000000000-7f0000100000 r-xp 00000000 fe:00 77                 /usr/lib/libc.so.6
Anonymous:             0 kB
`

func TestOnlyCleanPagesOfTheBinary(t *testing.T) {
	got := clean([]byte(smaps), "/bin/kube-apiserver")
	want := []span{{0x400000, 0x218f000}, {0x219f000, 0x4140000}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestTrimThisProcess(t *testing.T) {
	before := os.Environ()
	if err := Trim(); err != nil {
		t.Fatal(err)
	}
	// Code, constants and variables are as they were.
	if got := os.Environ(); !reflect.DeepEqual(got, before) || strings.ToUpper("resident") != "RESIDENT" {
		t.Errorf("%q, want %q", got, before)
	}
}

func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := Settle(t.Context(), time.Second); err != nil {
			t.Error(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if err := Settle(ctx, time.Second); err != nil {
			t.Error(err)
		}
	})
}
