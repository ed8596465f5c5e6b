// Package resident keeps small what of a program stays in memory once it has
// started.
//
// A start runs through code and tables that are not needed again: the init
// functions and the descriptors of every linked package, certificates,
// policies. The pages of the binary that it touched, and for each the fifteen
// around it that Linux maps along, would stay mapped and count as in use until
// memory is short. They are clean copies of the file, so they can be given
// back at any time; what is needed again comes back by a minor fault.
package resident

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Settle trims a process that has started once the aftermath of that is over,
// unless ctx ends before.
func Settle(ctx context.Context, aftermath time.Duration) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(aftermath):
	}
	return Trim()
}

// Trim gives back the heap's free pages, and the binary's pages until they are
// needed again.
func Trim() error {
	debug.FreeOSMemory()
	binary, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the binary's pages: %w", err)
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("find the binary's pages: %w", err)
	}
	for _, r := range clean(maps, binary) {
		// The pages come back from the file when they are touched.
		if _, _, e := syscall.Syscall(syscall.SYS_MADVISE, r.from, r.to-r.from, syscall.MADV_DONTNEED); e != 0 {
			return fmt.Errorf("give back pages %x-%x of %s: %w", r.from, r.to, binary, e)
		}
	}
	return nil
}

// span is a range of addresses.
type span struct{ from, to uintptr }

// clean finds, in the text of /proc/PID/smaps, where a file is mapped without
// a page that differs from the file, in memory or in swap: read-only, and never
// written to. Pages
// that a loader has relocated differ, and would be lost.
func clean(smaps []byte, file string) []span {
	var found []span
	var at *span
	lines := bufio.NewScanner(bytes.NewReader(smaps))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 {
			continue
		}
		switch {
		case !strings.HasSuffix(f[0], ":"): // 400000-1eea000 r-xp 00000000 fe:00 1234 /usr/bin/program
			at = nil
			if r, ok := parseSpan(f[0]); ok && len(f) == 6 && f[5] == file && !strings.Contains(f[1], "w") {
				at = &r
			}
		case at == nil:
		case f[0] == "Anonymous:" && f[1] != "0", f[0] == "Swap:" && f[1] != "0":
			at = nil
		case f[0] == "Swap:":
			found, at = append(found, *at), nil
		}
	}
	return found
}

func parseSpan(s string) (span, bool) {
	from, to, _ := strings.Cut(s, "-")
	a, errA := strconv.ParseUint(from, 16, 64)
	b, errB := strconv.ParseUint(to, 16, 64)
	return span{uintptr(a), uintptr(b)}, errA == nil && errB == nil && a < b
}
