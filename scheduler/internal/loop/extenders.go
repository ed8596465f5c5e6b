package loop

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"xebec.dev/scheduler/internal/framework"
	"xebec.dev/scheduler/internal/schedule"
)

// Extenders are the HTTP extenders of the configuration.
type Extenders interface {
	// Interested reports whether some extender looks at pods like p.
	Interested(p *corev1.Pod) bool
	// Extend narrows and scores feasible nodes.
	Extend(ctx context.Context, p *corev1.Pod, nodes []schedule.Candidate) ([]schedule.Candidate, map[string]*framework.Status, error)
	// Binds reports whether an extender binds the pod; Bind does it.
	Binds(p *corev1.Pod) bool
	Bind(ctx context.Context, p *corev1.Pod, node string) error
}
