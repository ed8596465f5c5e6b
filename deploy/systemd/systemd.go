// Package systemd holds the units of nodes that systemd runs.
package systemd

import (
	"embed"
	"strings"
)

// Files are the units and kubeadm's drop-in.
//
//go:embed *.service *.timer kubelet.service.d/*.conf
var Files embed.FS

// Unit is a unit or drop-in for programs in a directory and, for containerd, a
// configuration in another place.
func Unit(name, bin, runtimeConfig string) ([]byte, error) {
	raw, err := Files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	text := strings.ReplaceAll(string(raw), "/usr/local/bin/", bin+"/")
	text = strings.ReplaceAll(text, "/etc/containerd/config.toml", runtimeConfig)
	if strings.HasSuffix(name, ".service") && bin != "/usr/local/bin" {
		// containerd looks for its shim, kubelets for plugins, along the path.
		text = strings.Replace(text, "[Service]\n", "[Service]\nEnvironment=PATH="+bin+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n", 1)
	}
	return []byte(text), nil
}
