package app

import (
	"context"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/stream"
	"xebec.dev/scheduler/internal/feed"
	"xebec.dev/scheduler/internal/loop"
)

// podFields is what scheduling looks at; the rest of a pod is not received.
var podFields = []string{
	"spec.nodeName", "spec.schedulerName", "spec.priority", "spec.preemptionPolicy", "spec.overhead", "spec.resources",
	"spec.nodeSelector", "spec.affinity", "spec.tolerations", "spec.topologySpreadConstraints", "spec.schedulingGates", "spec.volumes",
	"spec.resourceClaims", "spec.terminationGracePeriodSeconds", "spec.hostNetwork",
	"spec.containers.name", "spec.containers.image", "spec.containers.resources", "spec.containers.ports",
	"spec.initContainers.name", "spec.initContainers.image", "spec.initContainers.resources", "spec.initContainers.ports", "spec.initContainers.restartPolicy",
	"status.phase", "status.startTime", "status.nominatedNodeName", "status.conditions",
	"status.containerStatuses.name", "status.containerStatuses.allocatedResources", "status.containerStatuses.resources",
	"status.initContainerStatuses.name", "status.initContainerStatuses.allocatedResources", "status.initContainerStatuses.resources",
}

var nodeFields = []string{"spec", "status.allocatable", "status.images", "status.declaredFeatures"}

// unfinished pods are those that count.
const unfinished = "status.phase!=Succeeded,status.phase!=Failed"

// feeds are all subscriptions, each bringing its changes to the loop.
type feeds struct {
	c      *client.Client
	stream *stream.Stream
	l      *loop.Loop
	log    *zap.Logger
	run    []func(context.Context) error
	err    error
}

// follow adds a feed whose changes come one by one, on the loop's goroutine.
func follow[T scheme.Object](f *feeds, o feed.Options, apply func(feed.Change[T])) {
	followAll(f, o, func(changes []feed.Change[T]) {
		for _, c := range changes {
			apply(c)
		}
	})
}

func followAll[T scheme.Object](f *feeds, o feed.Options, apply func([]feed.Change[T])) {
	o.Log = f.log
	f.l.Expect(1)
	first := true
	one, err := feed.New(f.c, f.stream, o, func(changes []feed.Change[T], synced bool) {
		complete := synced && first
		first = first && !complete
		f.l.Post(func() {
			apply(changes)
			if complete {
				f.l.Synced()
			}
		})
	})
	if err != nil {
		f.err = err
		return
	}
	f.run = append(f.run, one.Run)
}

func (f *feeds) core(wholePods bool) {
	fields := podFields
	if wholePods {
		fields = nil // extenders get the pod as it is
	}
	follow(f, feed.Options{Fields: nodeFields}, f.l.NodeChanged)
	follow(f, feed.Options{Fields: []string{"metadata.labels"}}, f.l.NamespaceChanged)
	follow[*corev1.Pod](f, feed.Options{Fields: fields, Selection: client.Selection{Fields: unfinished}}, f.l.PodChanged)
}
