package worker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Many pods ask for more at once, and the node has it for one.
func TestResizesAtOnce(t *testing.T) {
	const pods = 20
	cpus := func(p *corev1.Pod) int64 { return p.Spec.Containers[0].Resources.Requests.Cpu().Value() }
	one := func(i int, cpu string, generation int64) *corev1.Pod {
		p := named(t, fmt.Sprintf("p%d", i))
		p.Generation = generation
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
		return p
	}
	play(t, nil, func(t *testing.T, s *scene) {
		s.pods.o.Resize = func(pod *corev1.Pod, others []*corev1.Pod) (reason, message string) {
			used := cpus(pod)
			for _, o := range others {
				used += cpus(o)
			}
			if used > pods+1 {
				return corev1.PodReasonDeferred, "full"
			}
			return "", ""
		}
		for i := range pods {
			s.pods.Update(one(i, "1", 1))
		}
		time.Sleep(time.Second)
		for i := range pods {
			s.pods.Update(one(i, "2", 2))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		var larger []string
		for _, w := range s.pods.all() {
			if p := w.withStatus(); cpus(p) > 1 {
				larger = append(larger, p.Name)
			}
		}
		if len(larger) != 1 {
			t.Errorf("%q have more than before, expected one", larger)
		}
	})
}
