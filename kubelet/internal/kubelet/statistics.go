package kubelet

import "xebec.dev/kubelet/internal/server"

// statistics adds what is measured.
func (k *Kubelet) statistics(*server.Options) {}
