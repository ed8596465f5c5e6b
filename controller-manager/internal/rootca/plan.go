// Package rootca publishes the cluster's certificate authority: the config map
// kube-root-ca.crt in every namespace.
package rootca

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	mapName = "kube-root-ca.crt"
	dataKey = "ca.crt"

	descriptionKey = "kubernetes.io/description"
	description    = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. " +
		"No other usage is guaranteed across distributions of Kubernetes clusters."
)

// Plan is what to do in one namespace; one of the fields at most is set.
type Plan struct {
	Create, Update *corev1.ConfigMap
}

func (p Plan) String() string {
	switch {
	case p.Create != nil:
		return fmt.Sprintf("create configmap %s/%s", p.Create.Namespace, p.Create.Name)
	case p.Update != nil:
		return fmt.Sprintf("update configmap %s/%s", p.Update.Namespace, p.Update.Name)
	}
	return ""
}

// plan compares a namespace's map with what it should be.
func plan(ns *corev1.Namespace, have *corev1.ConfigMap, authority string) Plan {
	if ns.Status.Phase == corev1.NamespaceTerminating || ns.DeletionTimestamp != nil {
		return Plan{}
	}
	data := map[string]string{dataKey: authority}
	if have == nil {
		return Plan{Create: &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: mapName, Annotations: map[string]string{descriptionKey: description}},
			Data:       data,
		}}
	}
	if maps.Equal(have.Data, data) && len(have.Annotations[descriptionKey]) > 0 {
		return Plan{}
	}
	m := have.DeepCopy()
	m.Data = data
	if m.Annotations == nil {
		m.Annotations = map[string]string{}
	}
	m.Annotations[descriptionKey] = description
	return Plan{Update: m}
}
