package podresources

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func pod(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHandler(t *testing.T) {
	pods := []*corev1.Pod{
		pod(t, `
metadata: {name: web, namespace: x}
spec:
  nodeName: a
  schedulerName: default-scheduler
  priority: 7
  overhead: {cpu: 10m, memory: 1Mi}
  initContainers:
  - {name: i, resources: {requests: {cpu: "2"}, limits: {cpu: "3"}}}
  containers:
  - {name: a, resources: {requests: {cpu: 500m, memory: 1Gi, example.com/gpu: "2"}, limits: {memory: 2Gi, hugepages-2Mi: 4Mi}}}
  - {name: b, resources: {requests: {cpu: 500m, kubernetes.io/batch-cpu: "1", ephemeral-storage: "0"}}}
`),
		pod(t, `
metadata: {name: waits, namespace: other}
spec:
  schedulerName: other
  resources: {requests: {cpu: "4"}, limits: {cpu: "5"}}
  containers: [{name: a, resources: {requests: {cpu: 100m}}}]
`),
		pod(t, `
metadata: {name: done, namespace: other}
spec: {containers: [{name: a, resources: {requests: {cpu: 100m}}}]}
status: {phase: Succeeded}
`),
	}
	w := httptest.NewRecorder()
	Handler(func() []*corev1.Pod { return pods }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics/resources", nil))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		if !strings.HasPrefix(line, "#") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	slices.Sort(got)
	of := func(resource, unit string) string {
		return `{namespace="x",node="a",pod="web",priority="7",resource="` + resource + `",scheduler="default-scheduler",unit="` + unit + `"} `
	}
	waits := `{namespace="other",node="",pod="waits",priority="",resource="cpu",scheduler="other",unit="cores"} `
	want := []string{
		"kube_pod_resource_limit" + of("cpu", "cores") + "3.01",
		"kube_pod_resource_limit" + of("hugepages-2Mi", "bytes") + "4.194304e+06",
		"kube_pod_resource_limit" + of("memory", "bytes") + "2.148532224e+09",
		"kube_pod_resource_limit" + waits + "5",
		"kube_pod_resource_request" + of("cpu", "cores") + "2.01",
		"kube_pod_resource_request" + of("example.com/gpu", "integer") + "2",
		"kube_pod_resource_request" + of("memory", "bytes") + "1.0747904e+09",
		"kube_pod_resource_request" + waits + "4",
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
