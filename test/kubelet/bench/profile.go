package main

import (
	"context"
	"fmt"
	"os"

	"xebec.dev/test/kubelet/nodetest"
)

// profileSeconds is shorter than any burst that is worth a profile.
const profileSeconds = 8

// profiled begins a CPU profile of the kubelet, through the API server, and
// gives what waits for it and writes it.
func profiled(ctx context.Context, n *nodetest.Node, to string) func() error {
	done := make(chan error, 1)
	go func() {
		raw, err := n.Client.CoreV1().RESTClient().Get().
			AbsPath("/api/v1/nodes", n.Name, "proxy/debug/pprof/profile").Param("seconds", fmt.Sprint(profileSeconds)).DoRaw(ctx)
		if err == nil {
			err = os.WriteFile(to, raw, 0o644)
		}
		done <- err
	}()
	return func() error { return <-done }
}
