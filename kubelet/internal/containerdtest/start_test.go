package containerdtest

import (
	"os"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestStart(t *testing.T) {
	r := Start(t)
	id, config := r.Sandbox("p")
	c := r.Container(id, config, "c", nil, "echo", "hello")
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		res, err := r.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: c})
		if err == nil && res.Status.State == runtimeapi.ContainerState_CONTAINER_EXITED {
			raw, err := os.ReadFile(res.Status.LogPath)
			if err != nil || len(raw) == 0 || res.Status.ExitCode != 0 {
				t.Errorf("%q %v %v", raw, err, res.Status)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the container has not ended: %v %v", res, err)
		}
	}
}
