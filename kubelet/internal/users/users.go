// Package users gives pods with spec.hostUsers: false users of their own: a
// range of the host's that no other pod has, written down in the pod's
// directory, so that a kubelet that begins anew finds it.
package users

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Unit of ranges: they begin at, and are, multiples of it.
const Unit = 65536

// Options of a manager.
type Options struct {
	// Pods is the directory of the pods' directories.
	Pods string
	// Each is how many users a pod gets, 0 is Unit; Most is how many pods may
	// have their own.
	Each int64
	Most int
	// Etc has subuid and subgid, where the range for pods may be given to the
	// user kubelet; "" is /etc.
	Etc string
}

// Manager knows which pod has which range.
type Manager struct {
	dir    string
	first  int64
	each   int64
	most   int64
	mu     sync.Mutex
	ranges map[types.UID]int64 // guarded by mu: the range's number
	taken  map[int64]bool      // guarded by mu
}

// mapping is one line of the file, in Kubernetes' form.
type mapping struct {
	HostID      uint32 `json:"hostId"`
	ContainerID uint32 `json:"containerId"`
	Length      uint32 `json:"length"`
}

type record struct {
	UIDs []mapping `json:"uidMappings"`
	GIDs []mapping `json:"gidMappings"`
}

// New reads what pods have.
func New(o Options) (*Manager, error) {
	m := &Manager{dir: o.Pods, first: Unit, each: o.Each, most: int64(o.Most), ranges: map[types.UID]int64{}, taken: map[int64]bool{}}
	if m.each == 0 {
		m.each = Unit
	}
	if m.each < Unit || m.each%Unit != 0 {
		return nil, fmt.Errorf("userNamespaces.idsPerPod: %d is no multiple of %d", m.each, Unit)
	}
	if o.Etc == "" {
		o.Etc = "/etc"
	}
	first, length, ok, err := subordinate(o.Etc)
	if err != nil {
		return nil, err
	}
	if ok {
		if first < Unit || first%Unit != 0 || length < m.each*m.most {
			return nil, fmt.Errorf("%s/subuid gives kubelet %d users from %d on: it must begin at a multiple of %d that is not 0, and have %d for each of %d pods", o.Etc, length, first, Unit, m.each, m.most)
		}
		m.first = first
	}
	const all = 1 << 32
	if m.first+m.each*m.most > all {
		m.most = (all - m.first) / m.each
	}
	return m, m.recover()
}

// recover reads the files of pods that are there.
func (m *Manager) recover() error {
	files, err := filepath.Glob(filepath.Join(m.dir, "*", "userns"))
	if err != nil {
		return err
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just gone
		}
		if err != nil {
			return err
		}
		var r record
		if err := json.Unmarshal(raw, &r); err != nil || len(r.UIDs) != 1 {
			return fmt.Errorf("%s does not say which users the pod has: remove the pod's containers and this file", f)
		}
		n := (int64(r.UIDs[0].HostID) - m.first) / m.each
		uid := types.UID(filepath.Base(filepath.Dir(f)))
		m.ranges[uid], m.taken[n] = n, true
	}
	return nil
}

// Of is a pod's range; the pod's directory is there.
func (m *Manager) Of(uid types.UID) (*runtimeapi.UserNamespace, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.ranges[uid]
	if !ok {
		for n = 0; m.taken[n]; n++ {
		}
		if n >= m.most {
			return nil, fmt.Errorf("could not find an empty slot to allocate a user namespace: %d pods have their own users", m.most)
		}
		if err := m.write(uid, n); err != nil {
			return nil, fmt.Errorf("write the pod's users down: %w", err)
		}
		m.ranges[uid], m.taken[n] = n, true
	}
	one := []*runtimeapi.IDMapping{{HostId: uint32(m.first + n*m.each), Length: uint32(m.each)}}
	return &runtimeapi.UserNamespace{Mode: runtimeapi.NamespaceMode_POD, Uids: one, Gids: one}, nil
}

func (m *Manager) write(uid types.UID, n int64) error {
	one := []mapping{{HostID: uint32(m.first + n*m.each), Length: uint32(m.each)}}
	raw, err := json.Marshal(record{one, one})
	if err != nil {
		return err
	}
	file := filepath.Join(m.dir, string(uid), "userns")
	if err := os.WriteFile(file+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// Release gives the range of a pod that is gone to others.
func (m *Manager) Release(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok := m.ranges[uid]; ok {
		delete(m.ranges, uid)
		delete(m.taken, n)
	}
}

// Map has a mount show files as the container's users own them.
func Map(u *runtimeapi.UserNamespace, mounts []*runtimeapi.Mount) {
	if u == nil {
		return
	}
	for _, m := range mounts {
		m.UidMappings, m.GidMappings = u.Uids, u.Gids
	}
}

// subordinate is what the user kubelet was given.
func subordinate(etc string) (first, length int64, ok bool, err error) {
	var found [2][2]int64
	var have [2]bool
	for i, name := range []string{"subuid", "subgid"} {
		raw, err := os.ReadFile(filepath.Join(etc, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, 0, false, err
		}
		for line := range strings.Lines(string(raw)) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if len(f) != 3 || f[0] != "kubelet" {
				continue
			}
			if have[i] {
				return 0, 0, false, fmt.Errorf("%s/%s gives kubelet more than one range: give it one", etc, name)
			}
			a, errA := strconv.ParseInt(f[1], 10, 33)
			b, errB := strconv.ParseInt(f[2], 10, 33)
			if errA != nil || errB != nil {
				return 0, 0, false, fmt.Errorf("%s/%s: %q is not kubelet:FIRST:COUNT", etc, name, strings.TrimSpace(line))
			}
			found[i], have[i] = [2]int64{a, b}, true
		}
	}
	if have[0] != have[1] || found[0] != found[1] {
		return 0, 0, false, fmt.Errorf("%s/subuid and %s/subgid give kubelet different ranges: they must be the same", etc, etc)
	}
	return found[0][0], found[0][1], have[0], nil
}
