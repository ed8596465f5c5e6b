package app

import (
	"context"
	"fmt"
	"strings"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/event"
)

// events tell people what happens at a node.
type events struct {
	node    string
	r       *event.Recorder
	metrics *event.Metrics
}

func newEvents(c *client.Client, node string, log *zap.Logger) *events {
	m := event.NewMetrics()
	return &events{node, event.NewRecorder(event.Over(c), c.Scheme(), Name, event.Options{Host: node, Metrics: m, Log: log}), m}
}

// run says that the program starts, and sends what comes until ctx ends.
func (e *events) run(ctx context.Context) error {
	// Kubernetes' uid of a Node in such events is its name: describe looks
	// for that.
	about := &corev1.ObjectReference{Kind: "Node", Name: e.node, UID: types.UID(e.node)}
	e.r.Record(event.Note{About: about, Type: corev1.EventTypeNormal, Reason: "Starting", Action: "StartKubeProxy"})
	return e.r.Run(ctx)
}

// healthCheck tells of a port that load balancers will not find open.
func (e *events) healthCheck(service string, port uint16, err error) {
	namespace, name, _ := strings.Cut(service, "/")
	e.r.Record(event.Note{
		About: &corev1.ObjectReference{Kind: "Service", Namespace: namespace, Name: name, UID: types.UID(service)},
		Type:  corev1.EventTypeWarning, Reason: "FailedToStartServiceHealthcheck", Action: "Listen",
		Message: fmt.Sprintf("node %s failed to start healthcheck %q on port %d: %v", e.node, service, port, err),
	})
}
