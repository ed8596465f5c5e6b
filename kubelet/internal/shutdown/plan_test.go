package shutdown

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/kubelet/internal/config"
)

func podOf(name string, priority, grace int64) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
	if priority >= 0 {
		n := int32(priority)
		p.Spec.Priority = &n
	}
	if grace >= 0 {
		p.Spec.TerminationGracePeriodSeconds = &grace
	}
	return p
}

func TestPlan(t *testing.T) {
	pods := []*corev1.Pod{podOf("web", 0, 30), podOf("quick", -1, 1), podOf("dns", 2000000000, 30), podOf("proxy", 2000001000, -1), podOf("db", 10000, 600)}
	duration := func(s int) metav1.Duration { return metav1.Duration{Duration: time.Duration(s) * time.Second} }
	for _, c := range []struct {
		name string
		cfg  config.Kubelet
		want string
	}{
		{"none", config.Kubelet{}, ""},
		{"two times", config.Kubelet{ShutdownGrace: duration(30), ShutdownCritical: duration(10)},
			"within 20s: ns/web in 20s ns/quick in 1s ns/db in 20s\nwithin 10s: ns/dns in 10s ns/proxy in 10s"},
		{"one time", config.Kubelet{ShutdownGrace: duration(30)}, "within 30s: ns/web in 30s ns/quick in 1s ns/db in 30s\nwithin 0s: ns/dns in 0s ns/proxy in 0s"},
		{"by priority", config.Kubelet{ShutdownByPriority: []config.ShutdownGrace{{Priority: 2000000000, Seconds: 5}, {Priority: 5000, Seconds: 60}, {Priority: 100000, Seconds: 7}}},
			"within 1m0s: ns/web in 30s ns/quick in 1s ns/db in 60s\nwithin 5s: ns/dns in 5s ns/proxy in 5s"},
	} {
		groups := Groups(&c.cfg)
		var got []string
		if len(groups) > 0 {
			for _, s := range Plan(groups, pods) {
				got = append(got, s.String())
			}
		}
		if text := strings.Join(got, "\n"); text != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, text, c.want)
		}
	}
	if got := fmt.Sprint(Total(Groups(&config.Kubelet{ShutdownGrace: duration(30), ShutdownCritical: duration(10)}))); got != "30s" {
		t.Errorf("in all %s", got)
	}
}
