package deployment

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"xebec.dev/controller-manager/internal/owner"
)

// Annotations and labels of a deployment's sets.
const (
	revisionKey = "deployment.kubernetes.io/revision"
	historyKey  = "deployment.kubernetes.io/revision-history"
	desiredKey  = "deployment.kubernetes.io/desired-replicas"
	maxKey      = "deployment.kubernetes.io/max-replicas"
	hashKey     = appsv1.DefaultDeploymentUniqueLabelKey

	// maxHistory bounds the history annotation, in bytes.
	maxHistory = 2000
)

// private are annotations that are not handed from a deployment to its sets.
var private = map[string]bool{
	corev1.LastAppliedConfigAnnotation: true, revisionKey: true, historyKey: true, desiredKey: true, maxKey: true,
	appsv1.DeprecatedRollbackTo: true,
}

// sameTemplate compares templates but for the hash, which only sets have.
func sameTemplate(d, s *corev1.PodTemplateSpec) bool {
	a, b := *d, *s
	a.Labels, b.Labels = maps.Clone(d.Labels), maps.Clone(s.Labels)
	delete(a.Labels, hashKey)
	delete(b.Labels, hashKey)
	return apiequality.Semantic.DeepEqual(&a, &b)
}

// hashOf names a template; collisions tells templates apart whose names
// clashed.
func hashOf(t *corev1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	raw, err := t.Marshal()
	if err != nil {
		raw = []byte(err.Error()) // can't be: it came over the wire
	}
	_, _ = h.Write(raw) // never fails
	if collisions != nil {
		_, _ = h.Write(binary.LittleEndian.AppendUint32(nil, uint32(*collisions)))
	}
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}

func annotated(s *appsv1.ReplicaSet, key string) (int32, bool) {
	n, err := strconv.ParseInt(s.Annotations[key], 10, 32)
	return int32(n), err == nil
}

func revision(annotations map[string]string) int64 {
	n, err := strconv.ParseInt(annotations[revisionKey], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// nextRevision is one more than the sets of the past have.
func (r *rollout) nextRevision() int64 {
	newest := int64(0)
	for _, s := range r.past {
		newest = max(newest, revision(s.Annotations))
	}
	return newest + 1
}

// keepRevision makes the current set the newest revision and hands the
// deployment's annotations on. It reports whether the set has to be written
// before anything else.
func (r *rollout) keepRevision() bool {
	if r.current == nil {
		return false
	}
	s := r.current.DeepCopy()
	changed := r.annotate(s, r.nextRevision())
	if s.Spec.MinReadySeconds != r.d.Spec.MinReadySeconds {
		s.Spec.MinReadySeconds = r.d.Spec.MinReadySeconds
		changed = true
	}
	if changed {
		r.plan.Update = []Change{{Set: s, From: size(s)}}
		return true
	}
	r.noteRevision(s.Annotations[revisionKey])
	if hasDeadline(r.d) && condition(&r.d.Status, appsv1.DeploymentProgressing) == nil {
		setCondition(&r.d.Status, r.condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, foundReason, fmt.Sprintf("Found new replica set %q", s.Name)))
	}
	return false
}

func (r *rollout) noteRevision(n string) {
	if r.d.Annotations[revisionKey] == n {
		return
	}
	if r.d.Annotations == nil {
		r.d.Annotations = map[string]string{}
	}
	r.d.Annotations[revisionKey] = n
}

// annotate sets a set's annotations from the deployment's and reports a
// change. A revision of its own that it leaves goes into its history.
func (r *rollout) annotate(s *appsv1.ReplicaSet, next int64) bool {
	changed := false
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	for k, v := range r.d.Annotations {
		if have, ok := s.Annotations[k]; !private[k] && (!ok || have != v) {
			s.Annotations[k] = v
			changed = true
		}
	}
	old, had := s.Annotations[revisionKey]
	if revision(s.Annotations) >= next {
		return changed
	}
	s.Annotations[revisionKey] = strconv.FormatInt(next, 10)
	if had && old != "" {
		s.Annotations[historyKey] = appendHistory(s.Annotations[historyKey], old)
	}
	return true
}

func appendHistory(history, revision string) string {
	if history == "" {
		return revision
	}
	for len(history)+1+len(revision) > maxHistory {
		_, rest, ok := strings.Cut(history, ",")
		if !ok {
			return revision
		}
		history = rest
	}
	return history + "," + revision
}

// create plans the set of the deployment's template.
func (r *rollout) create(n int32) {
	hash := hashOf(&r.d.Spec.Template, r.d.Status.CollisionCount)
	s := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.d.Namespace, Name: nameOf(r.d.Name, hash), Labels: with(r.d.Spec.Template.Labels, hash),
			OwnerReferences: []metav1.OwnerReference{*owner.Ref(r.d, gvk)},
		},
		Spec: appsv1.ReplicaSetSpec{Replicas: &n, MinReadySeconds: r.d.Spec.MinReadySeconds, Selector: r.d.Spec.Selector.DeepCopy(), Template: *r.d.Spec.Template.DeepCopy()},
	}
	s.Spec.Template.Labels = with(r.d.Spec.Template.Labels, hash)
	s.Spec.Selector.MatchLabels = with(s.Spec.Selector.MatchLabels, hash)
	r.annotate(s, r.nextRevision())
	surge, _ := bounds(r.d)
	annotateSizes(s, *r.d.Spec.Replicas, *r.d.Spec.Replicas+surge)
	r.plan.Create = s
	r.noteRevision(s.Annotations[revisionKey])
	if hasDeadline(r.d) {
		setCondition(&r.d.Status, r.condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, createdReason, fmt.Sprintf("Created new replica set %q", s.Name)))
	}
}

func with(labels map[string]string, hash string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	out[hashKey] = hash
	return out
}

// maxName is what an object's name may have, in bytes.
const maxName = 253

func nameOf(deployment, hash string) string {
	if most := maxName - 1 - len(hash); len(deployment) > most {
		deployment = deployment[:most]
	}
	return deployment + "-" + hash
}
