// Package logs keeps the containers' logs within their bounds: the runtime
// writes, the kubelet renames, compresses and removes.
package logs

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"xebec.dev/kubelet/internal/runtime"
)

// Rotator rotates.
type Rotator struct {
	Runtime *runtime.Client
	// Size in bytes from which a log is rotated, and Files to keep of it in all.
	Size  int64
	Files int
	Every time.Duration
	// Running are the containers that write.
	Running func() []*runtime.Container
	Log     *zap.Logger
}

// Run rotates until ctx ends.
func (r *Rotator) Run(ctx context.Context) error {
	if r.Size <= 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	t := time.NewTicker(r.Every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, c := range r.Running() {
			if err := r.one(ctx, c); err != nil && ctx.Err() == nil {
				r.Log.Warn("a log can't be rotated", zap.String("container", c.ID), zap.String("path", c.LogPath), zap.Error(err))
			}
		}
	}
}

// compressed logs end in this; what is being written ends in temporary.
const (
	compressed = ".gz"
	temporary  = ".tmp"
	stamp      = "20060102-150405"
)

func (r *Rotator) one(ctx context.Context, c *runtime.Container) error {
	if c.LogPath == "" {
		return nil
	}
	info, err := os.Lstat(c.LogPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A rotation was cut between renaming and reopening.
		return r.reopen(ctx, c.ID)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("is no regular file")
	case info.Size() < r.Size:
		return nil
	}
	if err := r.makeRoom(c.LogPath); err != nil {
		return err
	}
	rotated := c.LogPath + "." + time.Now().Format(stamp)
	if _, err := os.Lstat(rotated); err == nil {
		return nil // the name is a second's: the next look finds another
	}
	if err := os.Rename(c.LogPath, rotated); err != nil {
		return err
	}
	if err := r.reopen(ctx, c.ID); err != nil {
		// Nothing is lost: the runtime still writes to the file it has open.
		return errors.Join(err, os.Rename(rotated, c.LogPath))
	}
	return nil
}

func (r *Rotator) reopen(ctx context.Context, id string) error {
	_, err := r.Runtime.Runtime.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: id})
	return err
}

// makeRoom compresses what was rotated before, and removes what is too much:
// the newest rotated log stays plain, since it may still be read.
func (r *Rotator) makeRoom(path string) error {
	old, err := rotated(path)
	if err != nil {
		return err
	}
	const written, next = 1, 1 // the log itself, and the one that comes now
	for len(old) > max(r.Files-written-next, 0) {
		if err := os.Remove(old[0]); err != nil {
			return err
		}
		old = old[1:]
	}
	for _, f := range old {
		if !strings.HasSuffix(f, compressed) {
			if err := compress(f); err != nil {
				return fmt.Errorf("compress %s: %w", f, err)
			}
		}
	}
	return nil
}

// rotated are a log's earlier files, oldest first; what an interrupted
// compression left is removed.
func rotated(path string) ([]string, error) {
	all, err := filepath.Glob(path + ".*")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range all {
		if strings.HasSuffix(f, temporary) {
			if err := os.Remove(f); err != nil {
				return nil, err
			}
			continue
		}
		out = append(out, f)
	}
	slices.Sort(out)
	// One that exists plain and compressed was compressed completely.
	return slices.CompactFunc(out, func(a, b string) bool { return a+compressed == b && os.Remove(b) == nil }), nil
}

func compress(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(path+temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err := errors.Join(err, z.Close(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(path+temporary))
	}
	if err := os.Rename(path+temporary, path+compressed); err != nil {
		return err
	}
	return os.Remove(path)
}
