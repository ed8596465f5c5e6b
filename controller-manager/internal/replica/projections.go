package replica

import (
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/client/cache"
)

// Indexes of the shared replicas. An object's controller is an index value
// by UID; objects without one are found by Orphans of their namespace.
var (
	PodsByOwner        = byOwner[*corev1.Pod]()
	ReplicaSetsByOwner = byOwner[*appsv1.ReplicaSet]()
	RevisionsByOwner   = byOwner[*appsv1.ControllerRevision]()
	JobsByOwner        = byOwner[*batchv1.Job]()

	// PodsByNode finds pods by spec.nodeName; pods without a node by "".
	PodsByNode = &cache.Index[*corev1.Pod]{Name: "node", Values: func(p *corev1.Pod) []string { return []string{p.Spec.NodeName} }}

	// PodsByClaim finds pods by NAMESPACE/NAME of the claims they use, their
	// ephemeral volumes' included.
	PodsByClaim = &cache.Index[*corev1.Pod]{Name: "claim", Values: claimsOf}

	// SlicesByService finds slices by NAMESPACE/NAME of their service.
	SlicesByService = &cache.Index[*discoveryv1.EndpointSlice]{Name: "service", Values: func(s *discoveryv1.EndpointSlice) []string {
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
			return []string{s.Namespace + "/" + name}
		}
		return nil
	}}
)

// Orphans is the index value of objects without a controller.
func Orphans(namespace string) string { return "~" + namespace }

func byOwner[T scheme.Object]() *cache.Index[T] {
	return &cache.Index[T]{Name: "owner", Values: func(obj T) []string {
		if ref := metav1.GetControllerOfNoCopy(obj); ref != nil {
			return []string{string(ref.UID)}
		}
		return []string{Orphans(obj.GetNamespace())}
	}}
}

func claimsOf(p *corev1.Pod) []string {
	var out []string
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		switch {
		case v.PersistentVolumeClaim != nil:
			out = append(out, p.Namespace+"/"+v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			out = append(out, p.Namespace+"/"+p.Name+"-"+v.Name)
		}
	}
	return out
}

// projections say what the shared replicas hold, by type; a type that is not
// here is held whole, without indexes.
var projections = map[reflect.Type]any{
	// A pod without what only the kubelet needs: images, commands, mounts,
	// probes, environment.
	reflect.TypeFor[*corev1.Pod](): cache.Options[*corev1.Pod]{
		Fields: []string{
			"spec.nodeName", "spec.hostname", "spec.subdomain", "spec.hostNetwork", "spec.restartPolicy", "spec.volumes",
			"spec.tolerations", "spec.affinity", "spec.activeDeadlineSeconds", "spec.terminationGracePeriodSeconds",
			"spec.priorityClassName", "spec.overhead", "spec.resources", "spec.resourceClaims", "spec.schedulingGates",
			"spec.containers.name", "spec.containers.ports", "spec.containers.resources",
			"spec.initContainers.name", "spec.initContainers.ports", "spec.initContainers.resources", "spec.initContainers.restartPolicy",
			"status",
		},
		Indexes: []*cache.Index[*corev1.Pod]{PodsByOwner, PodsByNode, PodsByClaim},
	},
	reflect.TypeFor[*appsv1.ReplicaSet](): cache.Options[*appsv1.ReplicaSet]{
		Indexes: []*cache.Index[*appsv1.ReplicaSet]{ReplicaSetsByOwner},
	},
	reflect.TypeFor[*appsv1.ControllerRevision](): cache.Options[*appsv1.ControllerRevision]{
		Indexes: []*cache.Index[*appsv1.ControllerRevision]{RevisionsByOwner},
	},
	reflect.TypeFor[*batchv1.Job](): cache.Options[*batchv1.Job]{
		Indexes: []*cache.Index[*batchv1.Job]{JobsByOwner},
	},
	reflect.TypeFor[*discoveryv1.EndpointSlice](): cache.Options[*discoveryv1.EndpointSlice]{
		Indexes: []*cache.Index[*discoveryv1.EndpointSlice]{SlicesByService},
	},
	// Definitions without their schemas.
	reflect.TypeFor[*apiextensionsv1.CustomResourceDefinition](): cache.Options[*apiextensionsv1.CustomResourceDefinition]{
		Fields: []string{"spec.group", "spec.names", "spec.scope", "spec.versions.name", "spec.versions.served", "spec.versions.storage", "status.conditions"},
	},
	// Nodes without the images they have.
	reflect.TypeFor[*corev1.Node](): cache.Options[*corev1.Node]{
		Trim: func(n *corev1.Node) { n.Status.Images, n.ManagedFields = nil, nil },
	},
}
