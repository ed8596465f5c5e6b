// Package host prepares a machine for a node, and takes away what a node has
// left: containerd's configuration, directories and mounts, kernel settings,
// processes, links, rules, cgroups.
package host

import (
	"bytes"
	"fmt"
	"path/filepath"
	"text/template"

	"xebec.dev/deploy/internal/layout"
)

// Places of a node beside kubeadm's.
const (
	// State is where a node's supervisor and runtime keep what lives as long
	// as the machine runs; Data what lives longer.
	State       = "/run/xebec"
	Data        = "/var/lib/xebec"
	Logs        = "/var/log/xebec"
	Socket      = "/run/xebec/containerd/containerd.sock"
	RuntimeConf = "/etc/xebec/containerd.toml"
	// Registries has a directory per registry, with a hosts.toml.
	Registries = "/etc/xebec/certs.d"
)

// Containerd is what its configuration depends on.
type Containerd struct {
	// Major version of the program: 1 or 2.
	Major int
	Root  layout.Root
	// Pause is the image of sandboxes.
	Pause string
	// Bin has the shim and runc.
	Bin string
	// Systemd says that systemd manages cgroups.
	Systemd bool
	// RestrictOOM is for machines without CAP_SYS_RESOURCE, where a process may
	// not lower its score: sandboxes would not start.
	RestrictOOM bool
	// CNIBin are directories of network plugins.
	CNIBin []string
	// NoSync leaves snapshots' and metadata's fsync out: for clusters that are
	// thrown away.
	NoSync bool
	// StreamPort of the runtime's exec and attach server; 0 is any.
	StreamPort int
	// Usual puts everything where an installed containerd has it.
	Usual bool
}

// Places of an installed containerd.
const (
	UsualRuntimeConf     = "/etc/containerd/config.toml"
	UsualNetworkTemplate = "/etc/containerd/cni.template"
)

// places are the paths that a configuration names.
type places struct{ Data, State, Socket, Registries, CNIConf, Template string }

func (c *Containerd) places() places {
	if c.Usual {
		return places{"/var/lib/containerd", "/run/containerd", layout.CRISocket, "/etc/containerd/certs.d", layout.CNIConf, UsualNetworkTemplate}
	}
	return places{c.Root.Path(Data + "/containerd"), c.Root.Path(State + "/containerd"), c.Root.Path(Socket), c.Root.Path(Registries), c.Root.Path(layout.CNIConf), c.Root.Path(NetworkTemplate)}
}

// Runc is where runc keeps the state of containers. Below the node's own state
// it goes with it, when nobody was left to delete containers one by one.
func (p places) Runc() string {
	if p.State == "/run/containerd" {
		return "/run/containerd/runc"
	}
	return filepath.Join(filepath.Dir(p.State), "runc")
}

// Sockets is a short directory for the shims' sockets.
func (p places) Sockets() string {
	if p.State == "/run/containerd" {
		return "/run/containerd/s"
	}
	return filepath.Join(filepath.Dir(p.State), "s")
}

var containerdV2 = template.Must(template.New("v2").Parse(`version = 3
root = "{{.Data}}"
state = "{{.State}}"
# What no kubelet asks for.
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.differ.v1.erofs", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp", "io.containerd.nri.v1.nri"]

[grpc]
  address = "{{.Socket}}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{{.Pause}}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{{.Registries}}"

[plugins."io.containerd.cri.v1.runtime"]
  # A pod that is half made when the runtime ends leaves its namespace: there it
  # is found, and goes with the rest.
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = {{.RestrictOOM}}
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "{{.Bin}}/runc"
        SystemdCgroup = {{.Systemd}}
        Root = "{{.Runc}}"
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [{{range $i, $d := .CNIBin}}{{if $i}}, {{end}}"{{$d}}"{{end}}]
    conf_dir = "{{.CNIConf}}"
    conf_template = "{{.Template}}"
    # The loopback plugin is an exec less a pod.
    use_internal_loopback = true

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "{{.StreamPort}}"

[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "{{.Sockets}}"
{{- if .NoSync}}

[plugins."io.containerd.metadata.v1.bolt"]
  no_sync = true
{{- end}}
`))

var containerdV1 = template.Must(template.New("v1").Parse(`version = 2
root = "{{.Data}}"
state = "{{.State}}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.opt"]

[grpc]
  address = "{{.Socket}}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.Pause}}"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = {{.RestrictOOM}}
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "{{.StreamPort}}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{{.Bin}}/runc"
        SystemdCgroup = {{.Systemd}}
        Root = "{{.Runc}}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{{index .CNIBin 0}}"
    conf_dir = "{{.CNIConf}}"
    conf_template = "{{.Template}}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{{.Registries}}"
`))

// Config is the text of containerd's configuration.
func (c *Containerd) Config() ([]byte, error) {
	t := containerdV2
	if c.Major < 2 {
		t = containerdV1
	}
	var out bytes.Buffer
	err := t.Execute(&out, struct {
		*Containerd
		places
	}{c, c.places()})
	return out.Bytes(), err
}

// sun is how long the path of a socket may be.
const sun = 107

// CheckRoot refuses a root so long that sockets below it have no address.
func CheckRoot(root layout.Root) error {
	longest := root.Path(filepath.Join(State, "containerd/io.containerd.sandbox"))
	if n := len(longest) + 30; n > sun {
		return fmt.Errorf("root directory %s is too long by %d characters: sockets below it would have no address", root, n-sun)
	}
	return nil
}
