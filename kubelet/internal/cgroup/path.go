package cgroup

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Names of groups.
const (
	allPods         = "kubepods"
	burstableClass  = "burstable"
	bestEffortClass = "besteffort"
	podPrefix       = "pod"
)

func class(pod *corev1.Pod) string {
	switch QOS(pod) {
	case corev1.PodQOSBurstable:
		return burstableClass
	case corev1.PodQOSBestEffort:
		return bestEffortClass
	}
	return ""
}

// elements are the names of the groups down to all pods', a class' and a
// pod's, as far as they are given.
func (o Options) elements(class string, uid types.UID) []string {
	var out []string
	for _, e := range strings.Split(o.Root, "/") {
		if e != "" {
			out = append(out, e)
		}
	}
	if !o.NoQOS {
		out = append(out, allPods)
		if class != "" {
			out = append(out, class)
		}
	}
	if uid != "" {
		out = append(out, podPrefix+string(uid))
	}
	return out
}

// Path is where a group is below the hierarchy's root.
func (o Options) Path(class string, uid types.UID) string {
	elements := o.elements(class, uid)
	if o.Driver == Systemd {
		return slicePath(elements)
	}
	return "/" + path.Join(elements...)
}

// slicePath is the path of a slice: each is called after all that it is in, and
// a dash separates, so those of names become underscores.
func slicePath(elements []string) string {
	out, name := "", ""
	for _, e := range elements {
		e = strings.ReplaceAll(e, "-", "_")
		if name != "" {
			name += "-"
		}
		name += e
		out += "/" + name + ".slice"
	}
	if out == "" {
		return "/"
	}
	return out
}

// uid reads a pod's UID from the name of its group.
func (o Options) uid(name string) (types.UID, bool) {
	if o.Driver != Systemd {
		s, ok := strings.CutPrefix(name, podPrefix)
		return types.UID(s), ok && s != ""
	}
	name, ok := strings.CutSuffix(name, ".slice")
	i := strings.LastIndex(name, "-"+podPrefix)
	if !ok || i < 0 || i+len(podPrefix)+1 == len(name) {
		return "", false
	}
	return types.UID(strings.ReplaceAll(name[i+len(podPrefix)+1:], "_", "-")), true
}
