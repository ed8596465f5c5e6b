package disruption

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/catalog"
	pb "xebec.dev/proto/gen/control/v1"
)

// scales knows how many pods controllers want: those built in from replicas,
// any other by its scale subresource.
type scales struct {
	client      *client.Client
	catalog     *catalog.Catalog
	sets        *cache.Replica[*appsv1.ReplicaSet]
	controllers *cache.Replica[*corev1.ReplicationController]
	deployments *cache.Replica[*appsv1.Deployment]
	stateful    *cache.Replica[*appsv1.StatefulSet]
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// of a pod is the number of its controller, or of that one's.
func (s *scales) of(ctx context.Context, p *corev1.Pod, ref *metav1.OwnerReference) (types.UID, int32, error) {
	switch ref.Kind {
	case "ReplicaSet":
		if rs, ok := s.sets.Get(p.Namespace, ref.Name); ok && rs.UID == ref.UID {
			if up := metav1.GetControllerOfNoCopy(rs); up != nil && up.Kind == "Deployment" {
				if d, ok := s.deployments.Get(p.Namespace, up.Name); ok && d.UID == up.UID {
					return d.UID, replicas(d.Spec.Replicas), nil
				}
			}
			return rs.UID, replicas(rs.Spec.Replicas), nil
		}
	case "ReplicationController":
		if rc, ok := s.controllers.Get(p.Namespace, ref.Name); ok && rc.UID == ref.UID {
			return rc.UID, replicas(rc.Spec.Replicas), nil
		}
	case "StatefulSet":
		if ss, ok := s.stateful.Get(p.Namespace, ref.Name); ok && ss.UID == ref.UID {
			return ss.UID, replicas(ss.Spec.Replicas), nil
		}
	}
	return s.subresource(ctx, p, ref)
}

func (s *scales) subresource(ctx context.Context, p *corev1.Pod, ref *metav1.OwnerReference) (types.UID, int32, error) {
	r, ok := s.catalog.Kind(ref.APIVersion, ref.Kind)
	if !ok {
		return "", 0, fmt.Errorf("found no controllers for pod %q", p.Name)
	}
	res, err := s.client.Objects().Get(ctx, &pb.GetRequest{Key: &pb.Key{Resource: r.Wire(), Namespace: p.Namespace, Name: ref.Name, Subresource: "scale"}})
	err = client.FromError(err)
	if apierrors.IsNotFound(err) {
		if _, gone := client.GetMetadata(ctx, s.client, r.Wire(), p.Namespace, ref.Name); apierrors.IsNotFound(gone) {
			return "", 0, fmt.Errorf("found no controllers for pod %q", p.Name)
		}
		return "", 0, fmt.Errorf("%s does not implement the scale subresource", r)
	}
	if err != nil {
		return "", 0, fmt.Errorf("scale of %s %s/%s: %w", r, p.Namespace, ref.Name, err)
	}
	scale := &autoscalingv1.Scale{}
	if err := scale.Unmarshal(res.GetObject().GetRaw()); err != nil {
		return "", 0, fmt.Errorf("scale of %s %s/%s: %w", r, p.Namespace, ref.Name, err)
	}
	if scale.UID != ref.UID {
		return "", 0, fmt.Errorf("found no controllers for pod %q", p.Name)
	}
	return scale.UID, scale.Spec.Replicas, nil
}
