package runtime

import (
	"fmt"
	"hash/fnv"
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Labels and annotations that sandboxes and containers carry: Kubernetes'
// own, which tools around the runtime read, and which tell a restarted
// kubelet whose they are.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"

	annotationHash          = "io.kubernetes.container.hash"
	annotationRestartCount  = "io.kubernetes.container.restartCount"
	annotationMessagePath   = "io.kubernetes.container.terminationMessagePath"
	annotationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy"
	annotationGrace         = "io.kubernetes.pod.terminationGracePeriod"
	annotationPodDeletion   = "io.kubernetes.pod.deletionGracePeriod"
	annotationPorts         = "io.kubernetes.container.ports"
	annotationPreStop       = "io.kubernetes.container.preStopHandler"
)

// Annotations of pods about where they come from.
const (
	ConfigSource = "kubernetes.io/config.source"
	ConfigMirror = "kubernetes.io/config.mirror"
	ConfigHash   = "kubernetes.io/config.hash"
	ConfigSeen   = "kubernetes.io/config.seen"
)

func podLabels(pod *corev1.Pod) map[string]string {
	labels := make(map[string]string, len(pod.Labels)+3)
	for k, v := range pod.Labels {
		labels[k] = v
	}
	labels[LabelPodName], labels[LabelPodNamespace], labels[LabelPodUID] = pod.Name, pod.Namespace, string(pod.UID)
	return labels
}

func containerLabels(pod *corev1.Pod, name string) map[string]string {
	return map[string]string{
		LabelPodName: pod.Name, LabelPodNamespace: pod.Namespace, LabelPodUID: string(pod.UID), LabelContainerName: name,
	}
}

// ContainerHash changes when a container has to be made anew.
func ContainerHash(c *corev1.Container) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q", c.Name, c.Image)
	return strconv.FormatUint(h.Sum64(), 16)
}

// Key names a pod to people.
type Key struct{ Namespace, Name string }

// KeyOf is a pod's key.
func KeyOf(pod *corev1.Pod) Key { return Key{pod.Namespace, pod.Name} }

// String is namespace/name.
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// IsStatic reports whether a pod comes from the node rather than the API.
func IsStatic(pod *corev1.Pod) bool {
	source := pod.Annotations[ConfigSource]
	return source != "" && source != "api"
}

// FromAPI is a pod as the API gave it, without its claim, should it make one,
// to come from the node: anybody can annotate a pod, and static ones are spared
// from eviction and taints, and have others ended for them.
func FromAPI(pod *corev1.Pod) *corev1.Pod {
	if !IsStatic(pod) {
		return pod
	}
	out := *pod // shallow: the API's is shared and read-only
	out.Annotations = maps.Clone(pod.Annotations)
	out.Annotations[ConfigSource] = "api"
	return &out
}

// IsMirror reports whether a pod of the API stands for a static one.
func IsMirror(pod *corev1.Pod) bool { return pod.Annotations[ConfigMirror] != "" }

func uidOf(labels map[string]string) types.UID { return types.UID(labels[LabelPodUID]) }
