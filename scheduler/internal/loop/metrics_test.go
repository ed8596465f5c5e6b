package loop

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"xebec.dev/scheduler/internal/feed"
	"xebec.dev/scheduler/internal/metrics"
	"xebec.dev/scheduler/internal/queue"
	"xebec.dev/scheduler/workload"
)

// values are those of all series by name{label="value",…}; of histograms the
// count.
func values(t *testing.T, m *metrics.Metrics) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m.Collectors()...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, x := range f.GetMetric() {
			var labels []string
			for _, l := range x.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			key := strings.TrimPrefix(f.GetName(), "scheduler_") + "{" + strings.Join(labels, ",") + "}"
			switch {
			case x.Histogram != nil:
				out[key] = float64(x.GetHistogram().GetSampleCount())
			case x.Counter != nil:
				out[key] = x.GetCounter().GetValue()
			default:
				out[key] = x.GetGauge().GetValue()
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := &server{}, metrics.New()
		l := start(t, s, Options{Metrics: m, Queue: queue.Options{MaxUnschedulable: time.Minute}})
		asking := func(name, cpu string, priority int32) *corev1.Pod {
			p := workload.Pod("t", name)
			p.Spec.Priority = &priority
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
			return p
		}
		l.addNode("n")
		l.addPod(asking("small", "3", 0))
		gated := asking("gated", "1", 0)
		gated.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "later"}}
		l.addPod(gated)
		synctest.Wait()
		l.addPod(asking("big", "100", 0))
		l.addPod(asking("important", "3", 10)) // preempts small
		time.Sleep(10 * time.Second)
		synctest.Wait()
		const profile = `profile="default-scheduler"`
		got := values(t, m)
		for key, want := range map[string]float64{
			`preemption_attempts_total{}`: 2, `preemption_victims{}`: 1,
			`plugin_evaluation_total{extension_point="Filter",plugin="NodeResourcesFit",` + profile + `}`:    3,
			`plugin_evaluation_total{extension_point="PreFilter",plugin="InterPodAffinity",` + profile + `}`: 3,
			`plugin_evaluation_total{extension_point="Score",plugin="NodeResourcesFit",` + profile + `}`:     3,
			`pending_pods{queue="gated"}`: 1, `pending_pods{queue="unschedulable"}`: 2, `pending_pods{queue="active"}`: 0,
			`unschedulable_pods{plugin="SchedulingGates",` + profile + `}`:  1,
			`unschedulable_pods{plugin="NodeResourcesFit",` + profile + `}`: 2,
			`cache_size{type="nodes"}`:                                      1, `schedule_attempts_total{` + profile + `,result="unschedulable"}`: 2,
			`framework_extension_point_duration_seconds{extension_point="PostFilter",` + profile + `,status="Success"}`:       1,
			`framework_extension_point_duration_seconds{extension_point="PostFilter",` + profile + `,status="Unschedulable"}`: 1,
			`framework_extension_point_duration_seconds{extension_point="Reserve",` + profile + `,status="Success"}`:          1,
			`plugin_execution_duration_seconds{extension_point="PostFilter",plugin="DefaultPreemption",status="Success"}`:     1,
			`plugin_execution_duration_seconds{extension_point="PreFilter",plugin="NodeResourcesFit",status="Success"}`:       3,
			`pod_scheduled_after_flush_total{}`:                                        0,
			`async_api_call_execution_total{call_type="pod_binding",result="success"}`: 1, `pending_async_api_calls{call_type="pod_binding"}`: 0,
			`async_api_call_execution_total{call_type="pod_status_patch",result="success"}`: 2, `pending_async_api_calls{call_type="pod_status_patch"}`: 0,
			`event_handling_duration_seconds{event="NodeAdd"}`: 1,
		} {
			if got[key] != want {
				t.Errorf("%s is %v, want %v", key, got[key], want)
			}
		}
		// Nothing tells that it helps, but after a minute it is found out.
		l.Post(func() {
			n := workload.Node("n", nil)
			n.Status.Allocatable[corev1.ResourceCPU] = resource.MustParse("1000")
			l.Cluster.SetNode(n)
		})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := values(t, m)[`pod_scheduled_after_flush_total{}`]; n != 2 {
			t.Errorf("%v pods after a flush", n)
		}
		l.Post(func() { l.PodChanged(feed.Change[*corev1.Pod]{Old: gated}) })
		synctest.Wait()
		if n := values(t, m)[`unschedulable_pods{plugin="SchedulingGates",`+profile+`}`]; n != 0 {
			t.Errorf("%v gated pods", n)
		}
		// A plugin is asked whether a new node helps a pod that it rejected; it does not.
		l.addPod(asking("huge", "100000", 0))
		synctest.Wait()
		l.addNode("m")
		synctest.Wait()
		if n := values(t, m)[`queueing_hint_execution_duration_seconds{event="NodeAdd",hint="QueueSkip",plugin="NodeResourcesFit"}`]; n != 1 {
			t.Errorf("%v hints were timed", n)
		}
	})
}
