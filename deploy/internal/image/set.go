package image

import (
	"fmt"
	"path/filepath"
	"slices"

	"xebec.dev/deploy/internal/kubeadm"
)

// DemoTag is the tag of the images for trying things out.
const DemoTag = "v1"

// IPTables is where below the programs' directory Debian's iptables is, as a
// tree of files; without it kube-proxy's image has all modes but iptables.
const IPTables = "iptables"

// Set is every image of a cluster, from the programs in bin and a static
// busybox, whose applets are given.
func Set(bin, busybox string, applets []string) ([]Image, error) {
	c := &kubeadm.ClusterConfiguration{}
	c.Default()
	from := func(name string) string { return filepath.Join(bin, name) }
	program := func(name, path, user string, ports ...string) Image {
		return Image{Name: c.Image(name), User: user, Ports: ports, Entrypoint: []string{path},
			Files: []File{{Path: path, Source: from(name), Mode: 0o755}}}
	}
	iptables, err := tree(from(IPTables))
	if err != nil {
		return nil, fmt.Errorf("iptables of the image of kube-proxy: %w", err)
	}
	proxy := program("kube-proxy", "/usr/local/bin/kube-proxy", "")
	proxy.Files = append(proxy.Files, iptables...)
	// The control plane's pods read keys that are root's; kube-proxy writes
	// the kernel's rules. What is not here runs as nobody's user.
	set := []Image{
		program("kube-apiserver", "/usr/local/bin/kube-apiserver", ""),
		program("kube-controller-manager", "/usr/local/bin/kube-controller-manager", ""),
		program("kube-scheduler", "/usr/local/bin/kube-scheduler", ""),
		proxy,
		program("etcd", "/usr/local/bin/etcd", "", "2379/tcp", "2380/tcp"),
		program("coredns", "/coredns", "65532:65532", "53/tcp", "53/udp"),
		program("pause", "/pause", "65535:65535"),
		demo("web", Image{User: "65532:65532", Ports: []string{"8080/tcp"}, Entrypoint: []string{"/web"},
			Files: []File{{Path: "/web", Source: from("xebec-web"), Mode: 0o755}}}),
	}
	if busybox == "" {
		return set, nil
	}
	files := []File{{Path: "/bin/busybox", Source: busybox, Mode: 0o755}, {Path: "/root", Mode: 0o700}, {Path: "/var/log"}}
	for _, a := range slices.Compact(slices.Sorted(slices.Values(applets))) {
		if a != "busybox" {
			files = append(files, File{Path: "/bin/" + a, Link: "busybox"})
		}
	}
	for i := range files {
		if files[i].Mode == 0 {
			files[i].Mode = 0o755
		}
	}
	return append(set, demo("busybox", Image{Cmd: []string{"sh"}, Files: files})), nil
}

func demo(name string, img Image) Image {
	img.Name = kubeadm.DefaultImageRepository + "/" + name + ":" + DemoTag
	return img
}
