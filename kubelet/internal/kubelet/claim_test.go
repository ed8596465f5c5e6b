package kubelet

import (
	"testing"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client/cache"
	"xebec.dev/kubelet/internal/eviction"
	"xebec.dev/kubelet/internal/runtime"
	"xebec.dev/kubelet/internal/status"
	"xebec.dev/kubelet/internal/worker"
)

// A pod of the API that says it comes from the node is as any other; the
// API's object stays as it is.
func TestClaimToBeStatic(t *testing.T) {
	k := &Kubelet{delivered: true, workers: worker.New(worker.Options{}), statuses: status.NewManager(nil, zap.NewNop())}
	for _, source := range []string{"file", "http", "", "api"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u", Annotations: map[string]string{"own": "1"}}}
		if source != "" {
			pod.Annotations[runtime.ConfigSource] = source
		}
		k.podChanged(cache.Change[*corev1.Pod]{New: pod, HasNew: true})
		have := k.workers.List()
		if len(have) != 1 || runtime.IsStatic(have[0]) || eviction.Critical(have[0]) || have[0].Annotations["own"] != "1" {
			t.Errorf("%q: the workers have %+v", source, have)
		}
		if pod.Annotations[runtime.ConfigSource] != source {
			t.Errorf("%q: the API's object was changed to %q", source, pod.Annotations[runtime.ConfigSource])
		}
	}
}
