// Package envtest holds the server to the contract of controller-runtime's
// envtest, with a real etcd beside it.
package envtest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"xebec.dev/test/apiservertest"
)

// start runs the environment as a suite would.
func start(t *testing.T, configure func(*envtest.Environment)) *rest.Config {
	t.Helper()
	e := &envtest.Environment{BinaryAssetsDirectory: filepath.Dir(apiservertest.Binary("kube-apiserver"))}
	// A loaded machine gets more time than envtest's 20 s.
	e.ControlPlaneStartTimeout = 2 * time.Minute
	e.ControlPlaneStopTimeout = time.Minute
	if configure != nil {
		configure(e)
	}
	config, err := e.Start()
	if err != nil {
		t.Fatalf("envtest (make build kubectl etcd makes its programs): %v", err)
	}
	t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return config
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// check ends the test for an error.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after a minute: %s", what)
		}
	}
}

func TestHelp(t *testing.T) {
	out, err := exec.Command(apiservertest.Binary("kube-apiserver"), "--help").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if regexp.MustCompile(`(?m)^\s*--insecure-port\b`).Match(out) {
		t.Error("--help offers --insecure-port")
	}
	for _, flag := range []string{"--etcd-servers", "--cert-dir", "--service-cluster-ip-range", "--feature-gates"} {
		if !bytes.Contains(out, []byte(flag)) {
			t.Errorf("--help does not say %s", flag)
		}
	}
}

func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: labels}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
	}}
}

func TestClient(t *testing.T) {
	t.Parallel()
	config := start(t, nil)
	ctx := t.Context()
	c := newClient(t, config)
	var ns corev1.Namespace
	check(t, c.Get(ctx, types.NamespacedName{Name: "default"}, &ns))

	d := deployment("web")
	check(t, c.Create(ctx, d))
	if d.UID == "" || *d.Spec.Replicas != 1 || d.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		t.Errorf("created %+v", d)
	}
	if err := c.Create(ctx, deployment("web")); !apierrors.IsAlreadyExists(err) {
		t.Errorf("created twice: %v", err)
	}
	stale := d.DeepCopy()
	d.Labels["a"] = "b"
	check(t, c.Update(ctx, d))
	if err := c.Update(ctx, stale); !apierrors.IsConflict(err) {
		t.Errorf("a stale update: %v", err)
	}
	before := d.DeepCopy()
	d.Annotations = map[string]string{"patched": "merge"}
	check(t, c.Patch(ctx, d, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
	before = d.DeepCopy()
	d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, corev1.Container{Name: "side", Image: "side"})
	check(t, c.Patch(ctx, d, client.StrategicMergeFrom(before)))
	if n := len(d.Spec.Template.Spec.Containers); n != 2 || d.Generation != 3 { // annotations of deployments count
		t.Errorf("%d containers, generation %d", n, d.Generation)
	}
	d.Status.ObservedGeneration = 2
	d.Status.Replicas = 1
	d.Labels["not"] = "of the status"
	check(t, c.Status().Update(ctx, d))
	if d.Status.Replicas != 1 || d.Generation != 3 {
		t.Errorf("status %+v, generation %d", d.Status, d.Generation)
	}
	check(t, c.Get(ctx, client.ObjectKeyFromObject(d), d))

	// Other shapes of the same object.
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"})
	check(t, c.Get(ctx, client.ObjectKeyFromObject(d), u))
	if n, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); n != 1 {
		t.Errorf("unstructured replicas %d", n)
	}
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(u.GroupVersionKind())
	check(t, c.Get(ctx, client.ObjectKeyFromObject(d), m))
	if m.UID != d.UID || m.Labels["a"] != "b" {
		t.Errorf("metadata %+v", m)
	}
	applied := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "applied", "namespace": "default"}, "data": map[string]any{"a": "b"}}}
	check(t, c.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner("me"), client.ForceOwnership))
	dry := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "dry", Namespace: "default"}}
	check(t, client.NewDryRunClient(c).Create(ctx, dry))
	if err := c.Get(ctx, client.ObjectKeyFromObject(dry), dry); !apierrors.IsNotFound(err) {
		t.Errorf("a dry run's object: %v", err)
	}
	strict := client.WithFieldValidation(c, metav1.FieldValidationStrict)
	wrong := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "wrong", "namespace": "default"}, "x": "y"}}
	if err := strict.Create(ctx, wrong); err == nil || !strings.Contains(err.Error(), `strict decoding error: unknown field "x"`) {
		t.Errorf("strict: %v", err)
	}
	for i := range 5 {
		check(t, c.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m%d", i), Namespace: "default", Labels: map[string]string{"many": "yes"}}}))
	}
	var page corev1.ConfigMapList
	check(t, c.List(ctx, &page, client.InNamespace("default"), client.MatchingLabels{"many": "yes"}, client.Limit(2)))
	if len(page.Items) != 2 || page.Continue == "" {
		t.Errorf("a page of %d, %+v", len(page.Items), page.ListMeta)
	}
	check(t, c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace("default"), client.MatchingLabels{"many": "yes"}))
	check(t, c.List(ctx, &page, client.InNamespace("default"), client.MatchingLabels{"many": "yes"}))
	if len(page.Items) != 0 {
		t.Errorf("%d left", len(page.Items))
	}
	check(t, c.Delete(ctx, d, client.Preconditions{UID: &d.UID}))
	if err := c.Get(ctx, client.ObjectKeyFromObject(d), d); !apierrors.IsNotFound(err) {
		t.Errorf("after its deletion: %v", err)
	}
	// No controllers run: a namespace stays until it is finalized.
	gone := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}
	check(t, c.Create(ctx, gone))
	check(t, c.Delete(ctx, gone))
	check(t, c.Get(ctx, client.ObjectKeyFromObject(gone), gone))
	if gone.Status.Phase != corev1.NamespaceTerminating {
		t.Errorf("phase %s", gone.Status.Phase)
	}
	gone.Spec.Finalizers = nil
	check(t, c.SubResource("finalize").Update(ctx, gone))
	if err := c.Get(ctx, client.ObjectKeyFromObject(gone), gone); !apierrors.IsNotFound(err) {
		t.Errorf("after finalizing: %v", err)
	}
}

func TestManager(t *testing.T) {
	t.Parallel()
	config := start(t, func(e *envtest.Environment) {
		e.ControlPlane.GetAPIServer().Configure().Append("feature-gates", "DynamicResourceAllocation=true").Append("runtime-config", "api/all=true").Append("v", "4")
	})
	ctx, cancel := context.WithCancel(t.Context())
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		LeaderElection: true, LeaderElectionID: "e2e", LeaderElectionNamespace: "default", LeaderElectionReleaseOnCancel: true,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{"default": {}}},
	})
	check(t, err)
	check(t, mgr.GetFieldIndexer().IndexField(ctx, &corev1.ConfigMap{}, "data.kind", func(o client.Object) []string { return []string{o.(*corev1.ConfigMap).Data["kind"]} }))
	c := mgr.GetClient()
	skip := true
	// A secret for every config map that asks for one.
	check(t, ctrl.NewControllerManagedBy(mgr).For(&corev1.ConfigMap{}).Owns(&corev1.Secret{}).WithOptions(controller.Options{SkipNameValidation: &skip}).
		Complete(reconcile.Func(func(ctx context.Context, q reconcile.Request) (reconcile.Result, error) {
			var cm corev1.ConfigMap
			if err := c.Get(ctx, q.NamespacedName, &cm); err != nil {
				return reconcile.Result{}, client.IgnoreNotFound(err)
			}
			if cm.Data["kind"] != "wanted" {
				return reconcile.Result{}, nil
			}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: cm.Name, Namespace: cm.Namespace}}
			_, err := ctrl.CreateOrUpdate(ctx, c, secret, func() error {
				secret.StringData = map[string]string{"for": cm.Name}
				return ctrl.SetControllerReference(&cm, secret, mgr.GetScheme())
			})
			return reconcile.Result{}, err
		})))
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("manager: %v", err)
		}
	}()
	select {
	case <-mgr.Elected():
	case err := <-done:
		done <- nil
		t.Fatalf("manager: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("not elected in a minute")
	}
	direct := newClient(t, config)
	for i := range 10 {
		kind := []string{"wanted", "other"}[i%2]
		check(t, direct.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("c%d", i), Namespace: "default"}, Data: map[string]string{"kind": kind}}))
	}
	eventually(t, "five secrets", func() bool {
		var l corev1.SecretList
		check(t, direct.List(ctx, &l, client.InNamespace("default")))
		return len(l.Items) == 5 && string(l.Items[0].Data["for"]) == l.Items[0].Name && metav1.IsControlledBy(&l.Items[0], &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{UID: l.Items[0].OwnerReferences[0].UID}})
	})
	eventually(t, "the index of the cache", func() bool {
		var l corev1.ConfigMapList
		check(t, c.List(ctx, &l, client.InNamespace("default"), client.MatchingFields{"data.kind": "wanted"}))
		return len(l.Items) == 5
	})
	check(t, direct.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "c0", Namespace: "default"}}))
	eventually(t, "the secret again", func() bool {
		return direct.Get(ctx, types.NamespacedName{Namespace: "default", Name: "c0"}, &corev1.Secret{}) == nil
	})
}
