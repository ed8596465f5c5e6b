package embedded

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// trimAbove is how much of mapped files may be resident.
	trimAbove = 64 << 20
	trimEvery = 20 * time.Second
)

// trimLoop gives the database's pages back to the kernel from time to time.
// etcd maps its whole file and reads all of it when it starts, and what was
// read counts as this process's memory. The watch cache has the objects;
// the kernel keeps the pages for as long as nobody else needs the memory.
func (s *Server) trimLoop(ctx context.Context, log *zap.Logger) {
	for pause := time.Second; ; pause = min(4*pause, trimEvery) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if residentFiles() < trimAbove {
			continue
		}
		if err := s.trim(); err != nil {
			log.Warn("trimming the database's memory failed", zap.Error(err))
			return
		}
	}
}

// residentFiles is how much of the files it maps this process holds.
func residentFiles() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if _, err := fmt.Sscanf(line, "RssFile: %d kB", &kb); err == nil {
			return kb << 10
		}
	}
	return 0
}

// trim unmaps the pages of the database. They are mapped read-only and shared,
// so they come back from the kernel's cache when they are read.
func (s *Server) trim() error {
	// While a snapshot is open the database cannot be mapped elsewhere, so
	// that the address stays right.
	snapshot := s.etcd.Server.Backend().Snapshot()
	defer snapshot.Close()
	db, err := filepath.Abs(filepath.Join(s.etcd.Config().Dir, "member", "snap", "db"))
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		// ADDRESS-ADDRESS r--s OFFSET DEVICE INODE PATH
		fields := strings.Fields(lines.Text())
		if len(fields) != 6 || fields[1] != "r--s" || fields[5] != db {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
			return err
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED); errno != 0 {
			return errno
		}
	}
	return lines.Err()
}
