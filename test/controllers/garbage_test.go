package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func (c *cluster) webWithPods(t *testing.T) string {
	t.Helper()
	ns := c.namespace(t)
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.kubectl(t, ns, "", "rollout", "status", "deployment/web", "--timeout=60s")
	return ns
}

func (c *cluster) none(t *testing.T, ns string) {
	t.Helper()
	eventually(t, "nothing left", func() error {
		out, err := c.tryKubectl(t.Context(), ns, "", "get", "deployments,replicasets,pods", "-o", "name")
		if err == nil && strings.TrimSpace(out) != "" {
			err = fmt.Errorf("left: %s", out)
		}
		return err
	})
}

func cascadeBackground(t *testing.T, c *cluster) {
	ns := c.webWithPods(t)
	c.kubectl(t, ns, "", "delete", "deployment/web")
	c.none(t, ns)
}

// cascadeForeground: an owner outlives those that block it.
func cascadeForeground(t *testing.T, c *cluster) {
	ns := c.webWithPods(t)
	// A pod that a finalizer holds holds its owners.
	pod := c.podNames(t, ns, "app=web")[0]
	c.kubectl(t, ns, "", "patch", "pod/"+pod, "-p", `{"metadata":{"finalizers":["test/held"]}}`)
	c.kubectl(t, ns, "", "delete", "deployment/web", "--cascade=foreground", "--wait=false")
	eventually(t, "only the held pod and its owners", func() error {
		if names := c.podNames(t, ns, "app=web"); !slices.Equal(names, []string{pod}) {
			return fmt.Errorf("pods %v", names)
		}
		return nil
	})
	always(t, "the owners stay", 300*time.Millisecond, func() error {
		d, err := c.AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if err == nil && (d.DeletionTimestamp == nil || !slices.Contains(d.Finalizers, metav1.FinalizerDeleteDependents)) {
			err = fmt.Errorf("deployment: deleted at %v, finalizers %v", d.DeletionTimestamp, d.Finalizers)
		}
		return err
	})
	c.kubectl(t, ns, "", "patch", "pod/"+pod, "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	c.none(t, ns)
}

// renewedLease: the collector hears of no renewal, and deletes what it owns by
// a revision that is old.
func renewedLease(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	owner, err := c.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	leases := c.CoordinationV1().Leases(ns)
	l, err := leases.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Name: "l", OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}},
	}}, metav1.CreateOptions{})
	for range 3 {
		if err != nil {
			t.Fatal(err)
		}
		l.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
		l, err = leases.Update(t.Context(), l, metav1.UpdateOptions{})
	}
	if err := c.CoreV1().ConfigMaps(ns).Delete(t.Context(), owner.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lease goes with its owner", func() error {
		if _, err := leases.Get(t.Context(), "l", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the lease: %v", err)
		}
		return nil
	})
}

func cascadeOrphan(t *testing.T, c *cluster) {
	ns := c.webWithPods(t)
	c.kubectl(t, ns, "", "delete", "deployment/web", "--cascade=orphan")
	l, err := c.AppsV1().ReplicaSets(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(l.Items) != 1 {
		t.Fatalf("%d replica sets, error %v", len(l.Items), err)
	}
	if len(l.Items[0].OwnerReferences) > 0 {
		t.Errorf("owners of the orphan: %v", l.Items[0].OwnerReferences)
	}
	c.count(t, ns, "app=web", 4)
	// A new deployment of the same template takes them over.
	c.kubectl(t, ns, web, "apply", "-f", "-")
	c.kubectl(t, ns, "", "rollout", "status", "deployment/web", "--timeout=60s")
	eventually(t, "the adoption", func() error {
		s, err := c.AppsV1().ReplicaSets(ns).Get(t.Context(), l.Items[0].Name, metav1.GetOptions{})
		if err == nil && metav1.GetControllerOf(s) == nil {
			err = fmt.Errorf("no controller")
		}
		return err
	})
	c.count(t, ns, "app=web", 4)
}

func ownedMap(ns, name string, owners ...metav1.OwnerReference) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, OwnerReferences: owners}}
}

func ownerOf(m *corev1.ConfigMap) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: m.Name, UID: m.UID}
}

func (c *cluster) createMap(t *testing.T, m *corev1.ConfigMap) *corev1.ConfigMap {
	t.Helper()
	m, err := c.CoreV1().ConfigMaps(m.Namespace).Create(t.Context(), m, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (c *cluster) gone(t *testing.T, ns, name string) {
	t.Helper()
	eventually(t, name+" gone", func() error {
		_, err := c.CoreV1().ConfigMaps(ns).Get(t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there, error %w", err)
	})
}

// absentOwners: an owner counts by its uid, its name and its namespace.
func absentOwners(t *testing.T, c *cluster) {
	ns, other := c.namespace(t), c.namespace(t)
	owner := c.createMap(t, ownedMap(ns, "owner"))
	stay := c.createMap(t, ownedMap(ns, "stay", ownerOf(owner)))
	never := ownerOf(owner)
	never.UID = types.UID("11111111-2222-3333-4444-555555555555")
	c.createMap(t, ownedMap(ns, "other-uid", never))
	c.gone(t, ns, "other-uid")
	// In another namespace the owner does not exist, which is told.
	c.createMap(t, ownedMap(other, "abroad", ownerOf(owner)))
	c.gone(t, other, "abroad")
	c.event(t, other, "abroad", "garbage-collector-controller", "OwnerRefInvalidNamespace", "does not exist in namespace")
	wrong := ownerOf(owner)
	wrong.Name = "nobody"
	c.createMap(t, ownedMap(ns, "other-name", wrong))
	c.gone(t, ns, "other-name")
	if _, err := c.CoreV1().ConfigMaps(ns).Get(t.Context(), stay.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("the dependent of a living owner: %v", err)
	}
}

// twoOwners: an object stays while one of its owners does.
func twoOwners(t *testing.T, c *cluster) {
	ns := c.namespace(t)
	a, b := c.createMap(t, ownedMap(ns, "a")), c.createMap(t, ownedMap(ns, "b"))
	c.createMap(t, ownedMap(ns, "both", ownerOf(a), ownerOf(b)))
	c.kubectl(t, ns, "", "delete", "configmap/a")
	eventually(t, "the reference to a gone", func() error {
		m, err := c.CoreV1().ConfigMaps(ns).Get(t.Context(), "both", metav1.GetOptions{})
		if err == nil && (len(m.OwnerReferences) != 1 || m.OwnerReferences[0].Name != "b") {
			err = fmt.Errorf("owners %v", m.OwnerReferences)
		}
		return err
	})
	c.kubectl(t, ns, "", "delete", "configmap/b")
	c.gone(t, ns, "both")
}

// namespaceEnds: everything goes, and what holds is named.
func namespaceEnds(t *testing.T, c *cluster) {
	ns := c.webWithPods(t)
	m := ownedMap(ns, "held")
	m.Finalizers = []string{"test/held"}
	c.createMap(t, m)
	c.kubectl(t, ns, "", "create", "secret", "generic", "s")
	c.kubectl(t, ns, "", "create", "service", "clusterip", "svc", "--tcp=80")
	c.kubectl(t, "default", "", "delete", "namespace", ns, "--wait=false")
	eventually(t, "conditions", func() error {
		n, err := c.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
		if err != nil {
			return err
		}
		var texts []string
		for _, cond := range n.Status.Conditions {
			if cond.Status == corev1.ConditionTrue {
				texts = append(texts, fmt.Sprintf("%s %s %s", cond.Type, cond.Reason, cond.Message))
			}
		}
		slices.Sort(texts)
		want := []string{
			"NamespaceContentRemaining SomeResourcesRemain Some resources are remaining: configmaps. has 1 resource instances",
			"NamespaceFinalizersRemaining SomeFinalizersRemain Some content in the namespace has finalizers remaining: test/held in 1 resource instances",
		}
		if !slices.Equal(texts, want) {
			return fmt.Errorf("conditions %q", texts)
		}
		return nil
	})
	c.kubectl(t, ns, "", "patch", "configmap/held", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	eventually(t, "the namespace gone", func() error {
		_, err := c.CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("still there, error %w", err)
	})
}
