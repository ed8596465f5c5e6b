package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Teardown unmounts and removes the volumes of a pod whose containers have
// ended. It goes by what is on the disk, and may be repeated.
func (m *Manager) Teardown(ctx context.Context, uid types.UID) error {
	if err := checkUID(uid); err != nil {
		return err
	}
	s := m.state(uid)
	s.busy.Lock()
	defer s.busy.Unlock()
	err := errors.Join(remove(m.subPathDir(uid)), m.csi.teardown(ctx, uid))
	if err == nil {
		err = remove(filepath.Join(m.PodDir(uid), "volumes"))
	}
	if err != nil {
		return fmt.Errorf("volumes of pod %s: %w", uid, err)
	}
	s.gone = true
	m.mu.Lock()
	if m.pods[uid] == s {
		delete(m.pods, uid)
	}
	m.mu.Unlock()
	m.tokens.forget(uid)
	m.certificates.forget(uid)
	m.o.Objects.Forget(uid)
	return nil
}

// Remove is Teardown, and removes the pod's whole directory: for a pod that
// is no more.
func (m *Manager) Remove(ctx context.Context, uid types.UID) error {
	if err := m.Teardown(ctx, uid); err != nil {
		return err
	}
	return remove(m.PodDir(uid))
}

// checkUID refuses what is no name of one directory.
func checkUID(uid types.UID) error {
	if s := string(uid); s == "" || s != filepath.Base(s) || s == "." || s == ".." {
		return fmt.Errorf("%q can't be the UID of a pod", uid)
	}
	return nil
}

// Orphans are the pods that have a directory, and that nobody knows, sorted.
func (m *Manager) Orphans(known func(types.UID) bool) []types.UID {
	entries, err := os.ReadDir(filepath.Join(m.o.RootDir, "pods"))
	if err != nil {
		return nil // none yet
	}
	var out []types.UID
	for _, e := range entries {
		if uid := types.UID(e.Name()); e.IsDir() && !known(uid) {
			out = append(out, uid)
		}
	}
	slices.Sort(out)
	return out
}
