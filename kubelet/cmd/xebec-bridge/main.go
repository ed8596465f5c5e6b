// Command xebec-bridge is the default CNI plugin: it joins a pod to the node's
// bridge, with addresses of the node's pod network.
package main

import (
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"

	"xebec.dev/kubelet/internal/cni"
)

func main() {
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add: cni.Add, Del: cni.Del, Check: cni.Check, GC: cni.GC, Status: cni.Status,
	}, version.All, "xebec-bridge joins pods to the node's bridge")
}
