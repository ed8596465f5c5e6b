package tainttoleration

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/cache"
	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/workload"
)

func TestTolerates(t *testing.T) {
	taint := corev1.Taint{Key: "k", Value: "5", Effect: corev1.TaintEffectNoSchedule}
	for _, tt := range []struct {
		t    corev1.Toleration
		want bool
	}{
		{corev1.Toleration{Operator: corev1.TolerationOpExists}, true},
		{corev1.Toleration{Key: "k", Operator: corev1.TolerationOpExists}, true},
		{corev1.Toleration{Key: "k", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}, false},
		{corev1.Toleration{Key: "other", Operator: corev1.TolerationOpExists}, false},
		{corev1.Toleration{Key: "k", Value: "5"}, true},
		{corev1.Toleration{Key: "k", Value: "6", Operator: corev1.TolerationOpEqual}, false},
		{corev1.Toleration{Key: "k", Value: "6", Operator: corev1.TolerationOpLt}, true},
		{corev1.Toleration{Key: "k", Value: "5", Operator: corev1.TolerationOpLt}, false},
		{corev1.Toleration{Key: "k", Value: "4", Operator: corev1.TolerationOpGt}, true},
		{corev1.Toleration{Key: "k", Value: "x", Operator: corev1.TolerationOpGt}, false},
		{corev1.Toleration{Key: "k", Operator: "Near"}, false},
	} {
		if got := Tolerates(&tt.t, &taint); got != tt.want {
			t.Errorf("%+v: %v", tt.t, got)
		}
	}
}

func TestHints(t *testing.T) {
	c := cache.New()
	p := c.NewPod(workload.Pod("t", "p"))
	clean, dirty := workload.Node("n", nil), workload.Node("n", nil)
	dirty.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoSchedule}}
	for _, tt := range []struct {
		old, now *corev1.Node
		want     framework.Hint
	}{{nil, clean, framework.Queue}, {nil, dirty, framework.QueueSkip}, {dirty, clean, framework.Queue}, {clean, dirty, framework.QueueSkip}, {clean, clean, framework.QueueSkip}} {
		e := &framework.Event{New: tt.now}
		if tt.old != nil {
			e.Old = tt.old
		}
		if got := tolerable(c, p, e); got != tt.want {
			t.Errorf("%v to %v: %v", tt.old, tt.now, got)
		}
	}
}
