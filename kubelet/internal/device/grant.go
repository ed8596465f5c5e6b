package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/types"

	pb "xebec.dev/proto/gen/plugin/device/v1beta1"
)

// grant is what a container was given of one resource.
type grant struct {
	ids    []string
	answer *pb.ContainerAllocateResponse
	// nodes by device: which memory it is near to.
	nodes map[string][]int64
}

// grants of a pod: by container and resource.
type grants map[string]map[string]*grant

func (g grants) set(container, resource string, to *grant) {
	if g[container] == nil {
		g[container] = map[string]*grant{}
	}
	g[container][resource] = to
}

// record is a grant on disk.
type record struct {
	PodUID        types.UID
	ContainerName string
	ResourceName  string
	DeviceIDs     []string
	Nodes         map[string][]int64 `json:",omitempty"`
	AllocResp     []byte
}

// checkpoint is the file.
type checkpoint struct {
	PodDeviceEntries  []record
	RegisteredDevices map[string][]string
}

const fileName = "kubelet_internal_checkpoint"

// load reads what was given, and the names of the resources that there were.
func (m *Manager) load() (map[types.UID]grants, []string, error) {
	given := map[types.UID]grants{}
	raw, err := os.ReadFile(filepath.Join(m.o.Dir, fileName))
	if errors.Is(err, fs.ErrNotExist) {
		return given, nil, nil
	}
	if err != nil {
		return given, nil, err
	}
	var c checkpoint
	if err := json.Unmarshal(raw, &c); err != nil {
		return given, nil, fmt.Errorf("%s: %w", fileName, err)
	}
	for _, r := range c.PodDeviceEntries {
		answer := &pb.ContainerAllocateResponse{}
		if err := proto.Unmarshal(r.AllocResp, answer); err != nil {
			return map[types.UID]grants{}, nil, fmt.Errorf("%s: pod %s: %w", fileName, r.PodUID, err)
		}
		if given[r.PodUID] == nil {
			given[r.PodUID] = grants{}
		}
		given[r.PodUID].set(r.ContainerName, r.ResourceName, &grant{ids: r.DeviceIDs, answer: answer, nodes: r.Nodes})
	}
	var known []string
	for name := range c.RegisteredDevices {
		known = append(known, name)
	}
	return given, known, nil
}

// save writes what is given, as a whole. It needs the lock.
func (m *Manager) save() error {
	c := checkpoint{RegisteredDevices: map[string][]string{}}
	for uid, pod := range m.given {
		for container, resources := range pod {
			for name, g := range resources {
				raw, err := proto.Marshal(g.answer)
				if err != nil {
					return err
				}
				c.PodDeviceEntries = append(c.PodDeviceEntries, record{PodUID: uid, ContainerName: container, ResourceName: name, DeviceIDs: g.ids, Nodes: g.nodes, AllocResp: raw})
			}
		}
	}
	for _, name := range m.known() {
		c.RegisteredDevices[name] = []string{}
		if e := m.endpoints[name]; e != nil {
			for id := range e.devices {
				c.RegisteredDevices[name] = append(c.RegisteredDevices[name], id)
			}
			slices.Sort(c.RegisteredDevices[name])
		}
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return write(filepath.Join(m.o.Dir, fileName), raw)
}

// write replaces a file in one step that a loss of power does not halve.
func write(path string, raw []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path))
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
