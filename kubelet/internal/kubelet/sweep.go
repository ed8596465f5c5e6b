package kubelet

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// sweepEvery is between looks for what pods of earlier kubelets left behind.
const sweepEvery = 5 * time.Minute

// sweep removes what no pod owns any more: directories, cgroups, logs. Pods
// clean up after themselves; this is for those whose kubelet was killed.
func (k *Kubelet) sweep(ctx context.Context) error {
	const settle = 10 * time.Second // the runtime's pods are found by then
	t := time.NewTimer(settle)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		t.Reset(sweepEvery)
		if !k.sourcesReady() {
			t.Reset(settle)
			continue
		}
		k.sweepOnce(ctx)
	}
}

func (k *Kubelet) sweepOnce(ctx context.Context) {
	all, err := k.runtime.List(ctx)
	if err != nil {
		return // what still runs can't be told from what is left
	}
	runs := map[types.UID]bool{}
	for _, s := range all {
		runs[s.UID] = true
	}
	owned := func(uid types.UID) bool { return runs[uid] || k.workers.Known(uid) }
	for _, uid := range k.volumes.Orphans(owned) {
		if err := k.volumes.Remove(ctx, uid); err != nil {
			k.log.Warn("a pod that is gone left a directory that can't be removed", zap.String("uid", string(uid)), zap.Error(err))
		}
	}
	uids, err := k.cgroups.Pods()
	if err != nil {
		k.log.Warn("the pods' cgroups can't be listed", zap.Error(err))
	}
	for _, uid := range uids {
		if !owned(uid) {
			if err := k.cgroups.Remove(ctx, uid); err != nil {
				k.log.Warn("a pod that is gone left a cgroup that can't be removed", zap.String("uid", string(uid)), zap.Error(err))
			}
		}
	}
	k.sweepLogs(owned)
}

func (k *Kubelet) sweepLogs(owned func(types.UID) bool) {
	entries, err := os.ReadDir(k.cfg.PodLogsDir)
	if err != nil {
		return
	}
	for _, e := range entries {
		// NAMESPACE_NAME_UID; none of them has an underscore.
		parts := strings.Split(e.Name(), "_")
		if len(parts) != 3 || !e.IsDir() || owned(types.UID(parts[2])) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(k.cfg.PodLogsDir, e.Name())); err != nil {
			k.log.Warn("logs of a pod that is gone can't be removed", zap.String("path", e.Name()), zap.Error(err))
		}
	}
	links, err := filepath.Glob(filepath.Join(legacyLogs, "*.log"))
	if err != nil {
		return
	}
	for _, l := range links {
		to, err := os.Readlink(l)
		if err != nil || !strings.HasPrefix(to, k.cfg.PodLogsDir+"/") {
			continue // not this kubelet's
		}
		if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(l) // next time, then
		}
	}
}

// shareOut brings the cgroups of the classes of service in line with the pods.
func (k *Kubelet) shareOut(pods []*corev1.Pod) {
	if err := k.cgroups.UpdateQOS(pods); err != nil {
		k.log.Warn("the cgroups of the classes of service can't be set", zap.Error(err))
	}
}
