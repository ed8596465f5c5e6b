// Package revision keeps the history of the templates that StatefulSets and
// DaemonSets have had, as ControllerRevisions. Everything here is pure.
package revision

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"

	"xebec.dev/controller-manager/internal/owner"
)

// Owner is whose templates are kept.
type Owner struct {
	metav1.Object
	GVK        schema.GroupVersionKind
	Template   *corev1.PodTemplateSpec
	Collisions *int32
	// HashLabel is the label that revisions carry their hash in.
	HashLabel string
}

// History is a plan for an owner's revisions.
type History struct {
	// Current is the revision of the owner's template. Create says that it is
	// not there yet, Bump that it is there and has to become the newest again.
	Current      *appsv1.ControllerRevision
	Create, Bump bool
	// All are the revisions there are, the oldest first.
	All []*appsv1.ControllerRevision
}

// Plan finds the revision of the owner's template among those there are.
func Plan(o Owner, have []*appsv1.ControllerRevision) (History, error) {
	all := slices.Clone(have)
	slices.SortStableFunc(all, func(a, b *appsv1.ControllerRevision) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	h := History{All: all}
	data, err := dataOf(o.Template)
	if err != nil {
		return h, fmt.Errorf("template of %s/%s: %w", o.GetNamespace(), o.GetName(), err)
	}
	newest := int64(0)
	for _, r := range all {
		newest = max(newest, r.Revision)
		if same(r, data, o.Template) {
			h.Current = r
		}
	}
	switch {
	case h.Current == nil:
		h.Create, h.Current = true, o.revision(data, newest+1)
	case h.Current.Revision < newest:
		h.Bump, h.Current = true, h.Current.DeepCopy()
		h.Current.Revision = newest + 1
	}
	return h, nil
}

// same compares a revision with a template: by its bytes, or, where another
// release has written them, by what they mean.
func same(r *appsv1.ControllerRevision, data []byte, t *corev1.PodTemplateSpec) bool {
	if bytes.Equal(r.Data.Raw, data) {
		return true
	}
	was, err := Template(r)
	return err == nil && apiequality.Semantic.DeepEqual(was, t)
}

func (o *Owner) revision(data []byte, n int64) *appsv1.ControllerRevision {
	hash := hashOf(data, o.Collisions)
	labels := maps.Clone(o.Template.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[o.HashLabel] = hash
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.GetNamespace(), Name: name(o.GetName(), hash), Labels: labels, Annotations: maps.Clone(o.GetAnnotations()),
			OwnerReferences: []metav1.OwnerReference{*owner.Ref(o, o.GVK)},
		},
		Data: runtime.RawExtension{Raw: data}, Revision: n,
	}
}

// maxOwner leaves room for the hash.
const maxOwner = 223

func name(owner, hash string) string {
	if len(owner) > maxOwner {
		owner = owner[:maxOwner]
	}
	return owner + "-" + hash
}

func hashOf(data []byte, collisions *int32) string {
	h := fnv.New32()
	_, _ = h.Write(data) // never fails
	if collisions != nil {
		_, _ = h.Write([]byte(strconv.Itoa(int(*collisions))))
	}
	return rand.SafeEncodeString(fmt.Sprint(h.Sum32()))
}

// dataOf is the patch that brings an owner to a template.
func dataOf(t *corev1.PodTemplateSpec) ([]byte, error) {
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	template := map[string]any{}
	if err := json.Unmarshal(raw, &template); err != nil {
		return nil, err
	}
	template["$patch"] = "replace"
	return json.Marshal(map[string]any{"spec": map[string]any{"template": template}})
}

// Template is what a revision keeps.
func Template(r *appsv1.ControllerRevision) (*corev1.PodTemplateSpec, error) {
	var data struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
		return nil, fmt.Errorf("revision %s/%s: %w", r.Namespace, r.Name, err)
	}
	return &data.Spec.Template, nil
}

// Outdated are the revisions beyond the limit, the oldest first; live says of
// a revision that it is in use, and such don't count.
func Outdated(all []*appsv1.ControllerRevision, limit *int32, live func(*appsv1.ControllerRevision) bool) []*appsv1.ControllerRevision {
	if limit == nil {
		return nil
	}
	var idle []*appsv1.ControllerRevision
	for _, r := range all {
		if !live(r) {
			idle = append(idle, r)
		}
	}
	if n := len(idle) - int(*limit); n > 0 {
		return idle[:n]
	}
	return nil
}
