package bootstrap

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/bootstrap/rbac"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/request"
)

// manager is the field manager of what the server writes itself.
const manager = "kube-apiserver"

// Maker creates objects through the registry, as the server itself.
type Maker struct {
	Scheme   *scheme.Scheme
	Registry *registry.Registry
	Log      *zap.Logger
}

// Context is a request by the server itself.
func Context(ctx context.Context) context.Context {
	return request.With(ctx, &request.Request{
		User:      request.User{Name: "system:apiserver", Groups: []string{"system:masters", "system:authenticated"}},
		UserAgent: manager, Received: time.Now(),
	})
}

// Target names an object for the registry.
func (m *Maker) Target(group, version, plural, namespace, name string) (registry.Target, error) {
	served, ok := m.Scheme.At(schema.GroupVersionResource{Group: group, Version: version, Resource: plural})
	if !ok {
		return registry.Target{}, fmt.Errorf("%s/%s %s is not in the table", group, version, plural)
	}
	return registry.Target{Served: served, Namespace: namespace, Name: name}, nil
}

// Create makes an object unless it is there; created tells which.
func (m *Maker) Create(ctx context.Context, group, version, plural string, obj scheme.Object) (created bool, err error) {
	t, err := m.Target(group, version, plural, obj.GetNamespace(), "")
	if err != nil {
		return false, err
	}
	if m.Registry.Store.Collection(t.Resource).Newest(obj.GetNamespace(), obj.GetName()) != nil {
		return false, nil
	}
	if d := t.Strategy.Default; d != nil {
		d(obj)
	}
	obj.GetObjectKind().SetGroupVersionKind(t.GroupVersionKind())
	_, err = m.Registry.Create(Context(ctx), t, obj, &metav1.CreateOptions{FieldManager: manager})
	if apierrors.IsAlreadyExists(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("create %s %s: %w", plural, obj.GetName(), err)
	}
	return true, nil
}

// Namespaces makes the system namespaces.
func (m *Maker) Namespaces(ctx context.Context) error {
	for _, name := range SystemNamespaces {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := m.Create(ctx, "", "v1", "namespaces", ns); err != nil {
			return err
		}
	}
	return nil
}

// SystemPriorities makes the system's priority classes.
func (m *Maker) SystemPriorities(ctx context.Context) error {
	for _, pc := range PriorityClasses() {
		if _, err := m.Create(ctx, "scheduling.k8s.io", "v1", "priorityclasses", pc); err != nil {
			return err
		}
	}
	return nil
}

// Policy makes one object of the default RBAC policy what it should be.
func (m *Maker) Policy(ctx context.Context, want scheme.Object) error {
	t, err := m.Target(rbacv1.GroupName, "v1", policyResource(want), want.GetNamespace(), want.GetName())
	if err != nil {
		return err
	}
	var have scheme.Object
	if o := m.Registry.Store.Collection(t.Resource).Newest(t.Namespace, t.Name); o != nil {
		if have, err = registry.Decode(t.Resource, o); err != nil {
			return err
		}
	}
	ctx = Context(ctx)
	action, next := rbac.Reconcile(have, want)
	switch action {
	case rbac.Keep:
		return nil
	case rbac.Update:
		_, err := m.Registry.Update(ctx, t, next, &metav1.UpdateOptions{FieldManager: manager})
		return err
	case rbac.Recreate:
		if _, err := m.Registry.Delete(ctx, t, &metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		next.SetResourceVersion("")
		next.SetUID("")
	}
	t.Name = ""
	_, err = m.Registry.Create(ctx, t, next, &metav1.CreateOptions{FieldManager: manager})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func policyResource(obj scheme.Object) string {
	switch obj.(type) {
	case *rbacv1.ClusterRole:
		return "clusterroles"
	case *rbacv1.ClusterRoleBinding:
		return "clusterrolebindings"
	case *rbacv1.Role:
		return "roles"
	}
	return "rolebindings"
}

// atOnce is how many objects are written at once at the start.
const atOnce = 16

// Together does the same with each of many things, some at once; the first
// error is returned.
func Together[T any](ctx context.Context, all []T, do func(context.Context, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, one := range all {
		g.Go(func() error { return do(ctx, one) })
	}
	return g.Wait()
}
