package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Policy of the collector.
type Policy struct {
	// High starts a collection and Low ends it, in percent of the images'
	// file system in use.
	High, Low int
	// Young images stay; Old ones that are unused go whatever room there is
	// (0: never).
	Young, Old time.Duration
}

// Item is an image as the collector sees it.
type Item struct {
	ID         string
	Size       int64
	InUse      bool
	Pinned     bool
	Seen, Used time.Time
}

// Choose decides which images go to free a number of bytes, and those that
// are too old: the ones unused for longest first.
func Choose(items []Item, free int64, p Policy, now time.Time) []Item {
	var candidates []Item
	for _, i := range items {
		if !i.InUse && !i.Pinned {
			candidates = append(candidates, i)
		}
	}
	slices.SortFunc(candidates, func(a, b Item) int {
		return cmp.Or(a.Used.Compare(b.Used), a.Seen.Compare(b.Seen), cmp.Compare(a.ID, b.ID))
	})
	var out []Item
	for _, i := range candidates {
		expired := p.Old > 0 && !i.Used.IsZero() && now.Sub(i.Used) > p.Old || p.Old > 0 && i.Used.IsZero() && now.Sub(i.Seen) > p.Old
		switch {
		case expired:
		case free <= 0, now.Sub(i.Seen) < p.Young:
			continue
		}
		free -= i.Size
		out = append(out, i)
	}
	return out
}

// Collector removes images that nobody uses.
type Collector struct {
	Puller *Puller
	API    runtimeapi.ImageServiceClient
	Policy Policy
	// Used are the ids and names of images that containers were made of.
	Used func(ctx context.Context) (map[string]bool, error)
	// Event is about the node.
	Event func(kind, reason, message string)
	Log   *zap.Logger

	mu   sync.Mutex
	seen map[string]time.Time // guarded by mu
	// Removed is told of each image that is gone, and why: space or age. It
	// may be nil.
	Removed func(reason string)
}

// collectEvery is how often room is looked at.
const collectEvery = 5 * time.Minute

// Run collects until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	t := time.NewTicker(collectEvery)
	defer t.Stop()
	failed := false
	for {
		err := c.Collect(ctx)
		if err != nil && ctx.Err() == nil {
			c.Log.Warn("images could not be collected", zap.Error(err))
			if failed { // the first time the runtime may just have begun
				c.Event(corev1.EventTypeWarning, "ImageGCFailed", err.Error())
			}
		}
		failed = err != nil
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Collect frees what the policy asks for.
func (c *Collector) Collect(ctx context.Context) error {
	capacity, available, err := c.room(ctx)
	if err != nil {
		return err
	}
	items, err := c.items(ctx)
	if err != nil {
		return err
	}
	free := int64(0)
	if capacity > 0 {
		if used := 100 - int(available*100/capacity); c.Policy.High < 100 && used >= c.Policy.High {
			free = capacity*int64(100-c.Policy.Low)/100 - available
			c.Log.Info("the images' file system is filling up", zap.Int("percent", used), zap.Int64("bytesToFree", free))
		}
	}
	reason := "age"
	if free > 0 {
		reason = "space"
	}
	freed := c.remove(ctx, reason, Choose(items, free, c.Policy, time.Now()))
	if freed < free {
		message := fmt.Sprintf("Failed to garbage collect required amount of images. Attempted to free %d bytes, but only found %d bytes eligible to free.", free, freed)
		c.Event(corev1.EventTypeWarning, "FreeDiskSpaceFailed", message)
		return fmt.Errorf("%s", message)
	}
	return nil
}

// All removes every image that nobody uses, and says how much that freed.
func (c *Collector) All(ctx context.Context) (int64, error) {
	items, err := c.items(ctx)
	if err != nil {
		return 0, err
	}
	p := c.Policy
	p.Young = 0
	return c.remove(ctx, "space", Choose(items, 1<<62, p, time.Now())), nil
}

func (c *Collector) remove(ctx context.Context, reason string, list []Item) int64 {
	freed := int64(0)
	for _, i := range list {
		if _, err := c.API.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: i.ID}}); err != nil {
			c.Log.Warn("an image can't be removed", zap.String("image", i.ID), zap.Error(err))
			continue
		}
		c.Log.Info("image removed", zap.String("image", i.ID), zap.Int64("bytes", i.Size))
		c.Puller.forget(i.ID)
		if err := c.Puller.o.Records.forget(i.ID); err != nil {
			c.Log.Warn("who opened an image that is gone can't be forgotten", zap.String("image", i.ID), zap.Error(err))
		}
		if c.Removed != nil {
			c.Removed(reason)
		}
		freed += i.Size
	}
	return freed
}

// items are the images there are. Those seen for the first time are young.
func (c *Collector) items(ctx context.Context) ([]Item, error) {
	list, err := c.API.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	used, err := c.Used(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	next := map[string]time.Time{}
	var out []Item
	for _, i := range list.Images {
		seen, ok := c.seen[i.Id]
		if !ok {
			seen = now
		}
		next[i.Id] = seen
		item := Item{ID: i.Id, Size: int64(i.Size), Pinned: i.Pinned, InUse: used[i.Id], Seen: seen}
		for _, name := range append(append([]string{}, i.RepoTags...), i.RepoDigests...) {
			item.InUse = item.InUse || used[name]
		}
		if t, ok := c.Puller.lastUsed(i.Id); ok {
			item.Used = t
		}
		out = append(out, item)
	}
	c.seen = next
	return out, nil
}

// room is of the images' file system.
func (c *Collector) room(ctx context.Context) (capacity, available int64, err error) {
	res, err := c.API.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the images' file system: %w", err)
	}
	if len(res.ImageFilesystems) == 0 {
		return 0, 0, nil
	}
	var st unix.Statfs_t
	path := res.ImageFilesystems[0].GetFsId().GetMountpoint()
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, fmt.Errorf("statfs %s: %w", path, err)
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}
