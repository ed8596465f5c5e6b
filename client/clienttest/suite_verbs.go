package clienttest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/client"
)

type (
	cm    = corev1.ConfigMap
	tests = map[string]func(t *testing.T, e *Env)
)

var verbTests = tests{
	"create fills in what the system owns":       testCreate,
	"errors are those of Kubernetes":             testErrors,
	"an update needs the newest version":         testConflict,
	"an update that changes nothing is none":     testNoChange,
	"generateName makes names":                   testGenerateName,
	"status and spec are written apart":          testStatus,
	"patches of four types":                      testPatch,
	"a dry run writes nothing":                   testDryRun,
	"finalizers hold a deletion":                 testFinalizers,
	"a graceful deletion waits for its owner":    testGraceful,
	"preconditions of deletions":                 testPreconditions,
	"lists select and share a revision":          testList,
	"collections are deleted by selection":       testDeleteCollection,
	"binding assigns a pod once":                 testBinding,
	"a lease is updated with its version only":   testLeaseVersion,
	"answers can do without the object":          testOmit,
	"namespaces and names are where they belong": testPlaces,
	"a projection has at least what was named":   testProjection,
}

func testCreate(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	in := configMap(ns, "a", "1")
	out := must[*cm](t)(client.Create(ctx, c, in))
	if out.UID == "" || out.CreationTimestamp.IsZero() || out.ResourceVersion == "" || out.Data["value"] != "1" {
		t.Errorf("created %+v", out)
	}
	if in.UID != "" || in.ResourceVersion != "" {
		t.Error("the caller's object was changed")
	}
	got := must[*cm](t)(client.Get[*cm](ctx, c, ns, "a"))
	if got.UID != out.UID || got.ResourceVersion != out.ResourceVersion {
		t.Errorf("read %s at %s, created %s at %s", got.UID, got.ResourceVersion, out.UID, out.ResourceVersion)
	}
	p := must[*corev1.Pod](t)(client.Create(ctx, c, pod(ns, "p")))
	if p.Spec.RestartPolicy != corev1.RestartPolicyAlways || p.Status.Phase != corev1.PodPending {
		t.Errorf("no defaults: %+v", p)
	}
}

func testErrors(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	_, err := client.Get[*cm](ctx, c, ns, "none")
	if !apierrors.IsNotFound(err) || err.Error() != `configmaps "none" not found` {
		t.Errorf("get: %v", err)
	}
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1")))
	_, err = client.Create(ctx, c, configMap(ns, "a", "1"))
	if !apierrors.IsAlreadyExists(err) || err.Error() != `configmaps "a" already exists` {
		t.Errorf("create: %v", err)
	}
	_, err = client.Create(ctx, c, configMap(ns, "Bad_Name", "1"))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "metadata.name") {
		t.Errorf("create with a bad name: %v", err)
	}
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.ErrStatus.Details == nil || len(status.ErrStatus.Details.Causes) == 0 {
		t.Errorf("no causes: %+v", status)
	}
	if err := client.Delete[*cm](ctx, c, ns, "none"); !apierrors.IsNotFound(err) {
		t.Errorf("delete: %v", err)
	}
	_, err = client.Update(ctx, c, configMap(ns, "none", "1"))
	if !apierrors.IsNotFound(err) || errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("update: %v", err)
	}
	_, _, err = client.List[*cm](ctx, c, client.Selection{Fields: "data.value=1"})
	if !apierrors.IsBadRequest(err) {
		t.Errorf("list by an unknown field: %v", err)
	}
}

func testConflict(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	first := must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1")))
	second := first.DeepCopy()
	second.Data["value"] = "2"
	must[*cm](t)(client.Update(ctx, c, second))
	first.Data["value"] = "3"
	if _, err := client.Update(ctx, c, first); !apierrors.IsConflict(err) {
		t.Errorf("update of an old version: %v", err)
	}
	first.ResourceVersion = ""
	must[*cm](t)(client.Update(ctx, c, first))
	first.UID = "other"
	if _, err := client.Update(ctx, c, first); !apierrors.IsConflict(err) {
		t.Errorf("update of another uid: %v", err)
	}
}

func testNoChange(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	a := must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1")))
	b := must[*cm](t)(client.Update(ctx, c, a))
	if a.ResourceVersion != b.ResourceVersion {
		t.Errorf("from %s to %s without a change", a.ResourceVersion, b.ResourceVersion)
	}
}

func testGenerateName(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	seen := map[string]bool{}
	for range 20 {
		obj := configMap(ns, "", "1")
		obj.GenerateName = "made-"
		out := must[*cm](t)(client.Create(ctx, c, obj))
		if !strings.HasPrefix(out.Name, "made-") || len(out.Name) != len("made-")+5 || seen[out.Name] {
			t.Errorf("made %q", out.Name)
		}
		seen[out.Name] = true
	}
}

func testStatus(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	p := must[*corev1.Pod](t)(client.Create(ctx, c, pod(ns, "p")))
	p.Status.Phase = corev1.PodRunning
	p.Spec.Containers[0].Image = "registry.example/image:2"
	out := must[*corev1.Pod](t)(client.UpdateStatus(ctx, c, p))
	if out.Status.Phase != corev1.PodRunning || out.Spec.Containers[0].Image != "registry.example/image:1" {
		t.Errorf("after a status update: %s, %s", out.Status.Phase, out.Spec.Containers[0].Image)
	}
	out.Status.Phase = corev1.PodFailed
	out.Spec.Containers[0].Image = "registry.example/image:3"
	out = must[*corev1.Pod](t)(client.Update(ctx, c, out))
	if out.Status.Phase != corev1.PodRunning || out.Spec.Containers[0].Image != "registry.example/image:3" {
		t.Errorf("after an update: %s, %s", out.Status.Phase, out.Spec.Containers[0].Image)
	}
}

func testPatch(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1")))
	for _, p := range []struct {
		kind  types.PatchType
		patch string
		opts  client.WriteOptions
		want  string
	}{
		{types.MergePatchType, `{"data":{"value":"merge"}}`, client.WriteOptions{}, "merge"},
		{types.JSONPatchType, `[{"op":"replace","path":"/data/value","value":"json"}]`, client.WriteOptions{}, "json"},
		{types.StrategicMergePatchType, `{"data":{"value":"strategic"}}`, client.WriteOptions{}, "strategic"},
		{types.ApplyYAMLPatchType, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {value: apply}", client.WriteOptions{FieldManager: "suite", Force: true}, "apply"},
	} {
		out := must[*cm](t)(client.Patch[*cm](ctx, c, ns, "a", p.kind, []byte(p.patch), p.opts))
		if out.Data["value"] != p.want {
			t.Errorf("%s: %v", p.kind, out.Data)
		}
	}
	_, err := client.Patch[*cm](ctx, c, ns, "none", types.MergePatchType, []byte(`{}`))
	if !apierrors.IsNotFound(err) {
		t.Errorf("patch of nothing: %v", err)
	}
	_, err = client.Patch[*cm](ctx, c, ns, "a", types.MergePatchType, []byte(`{"metadata":{"resourceVersion":"1"}}`))
	if !apierrors.IsConflict(err) {
		t.Errorf("patch of an old version: %v", err)
	}
}

func testDryRun(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1"), client.WriteOptions{DryRun: true}))
	if _, err := client.Get[*cm](ctx, c, ns, "a"); !apierrors.IsNotFound(err) {
		t.Errorf("after a dry run: %v", err)
	}
}

func testFinalizers(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	obj := configMap(ns, "a", "1")
	obj.Finalizers = []string{"example.com/hold"}
	must[*cm](t)(client.Create(ctx, c, obj))
	if err := client.Delete[*cm](ctx, c, ns, "a"); err != nil {
		t.Fatal(err)
	}
	held := must[*cm](t)(client.Get[*cm](ctx, c, ns, "a"))
	if held.DeletionTimestamp == nil {
		t.Fatal("not marked")
	}
	held.Finalizers = nil
	must[*cm](t)(client.Update(ctx, c, held))
	if _, err := client.Get[*cm](ctx, c, ns, "a"); !apierrors.IsNotFound(err) {
		t.Errorf("without finalizers: %v", err)
	}
}

func testGraceful(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	p := pod(ns, "p")
	p.Spec.NodeName = "somewhere"
	must[*corev1.Pod](t)(client.Create(ctx, c, p))
	if err := client.Delete[*corev1.Pod](ctx, c, ns, "p"); err != nil {
		t.Fatal(err)
	}
	marked := must[*corev1.Pod](t)(client.Get[*corev1.Pod](ctx, c, ns, "p"))
	if marked.DeletionTimestamp == nil || marked.DeletionGracePeriodSeconds == nil || *marked.DeletionGracePeriodSeconds != 30 {
		t.Fatalf("not marked for 30 s: %+v", marked.ObjectMeta)
	}
	zero := int64(0)
	if err := client.Delete[*corev1.Pod](ctx, c, ns, "p", client.DeleteOptions{GracePeriod: &zero}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Get[*corev1.Pod](ctx, c, ns, "p"); !apierrors.IsNotFound(err) {
		t.Errorf("after the grace period: %v", err)
	}
}

func testPreconditions(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	a := must[*cm](t)(client.Create(ctx, c, configMap(ns, "a", "1")))
	if err := client.Delete[*cm](ctx, c, ns, "a", client.DeleteOptions{UID: "other"}); !apierrors.IsConflict(err) {
		t.Errorf("delete of another uid: %v", err)
	}
	if err := client.Delete[*cm](ctx, c, ns, "a", client.DeleteOptions{Revision: 1}); !apierrors.IsConflict(err) {
		t.Errorf("delete of an old version: %v", err)
	}
	if err := client.Delete[*cm](ctx, c, ns, "a", client.DeleteOptions{UID: a.UID}); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func testList(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns, other := namespace(t, c), namespace(t, c)
	all := names(700)
	for i, name := range all {
		value := "even"
		if i%2 == 1 {
			value = "odd"
		}
		must[*cm](t)(client.Create(ctx, c, configMap(ns, name, value)))
	}
	last := must[*cm](t)(client.Create(ctx, c, configMap(other, "elsewhere", "odd")))
	items, revision, err := client.List[*cm](ctx, c, client.Selection{Namespace: ns})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range items {
		got = append(got, o.Name)
	}
	if !slices.Equal(got, all) {
		t.Errorf("listed %d objects, or out of order", len(got))
	}
	if rev := revisionOf(t, last); revision < rev {
		t.Errorf("a list at %d after a write at %d", revision, rev)
	}
	for s, want := range map[client.Selection]int{
		{Namespace: ns, Labels: "app=odd"}:                       350,
		{Labels: "app in (odd)", Namespace: other}:               1,
		{Namespace: ns, Fields: "metadata.name=object-0007"}:     1,
		{Namespace: ns, Name: "object-0007"}:                     1,
		{Namespace: ns, Name: "object-0007", Labels: "app=even"}: 0,
		{Namespace: "none"}:                                      0,
	} {
		items, _, err := client.List[*cm](ctx, c, s)
		if err != nil || len(items) != want {
			t.Errorf("%+v: %d objects, %v, want %d", s, len(items), err, want)
		}
	}
}

func testDeleteCollection(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	for i, name := range names(20) {
		must[*cm](t)(client.Create(ctx, c, configMap(ns, name, []string{"a", "b"}[i%2])))
	}
	n, err := client.DeleteCollection[*cm](ctx, c, client.Selection{Namespace: ns, Labels: "app=a"})
	if err != nil || n != 10 {
		t.Errorf("deleted %d, %v", n, err)
	}
	if items, _, err := client.List[*cm](ctx, c, client.Selection{Namespace: ns}); err != nil || len(items) != 10 {
		t.Errorf("%d left, %v", len(items), err)
	}
}

func testBinding(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	must[*corev1.Pod](t)(client.Create(ctx, c, pod(ns, "p")))
	b := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "p"}, Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
	if _, err := client.CreateSubresource[*corev1.Pod](ctx, c, ns, "p", "binding", b); err != nil {
		t.Fatal(err)
	}
	p := must[*corev1.Pod](t)(client.Get[*corev1.Pod](ctx, c, ns, "p"))
	if p.Spec.NodeName != "n1" {
		t.Errorf("bound to %q", p.Spec.NodeName)
	}
	if _, err := client.CreateSubresource[*corev1.Pod](ctx, c, ns, "p", "binding", b); !apierrors.IsConflict(err) {
		t.Errorf("bound again: %v", err)
	}
}

func testLeaseVersion(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	holder := "me"
	l := must[*coordinationv1.Lease](t)(client.Create(ctx, c, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "l"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder}}))
	l.ResourceVersion = ""
	if _, err := client.Update(ctx, c, l); err == nil {
		t.Error("updated without a version")
	}
}

func testOmit(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	obj := configMap(ns, "", "1")
	obj.GenerateName = "made-"
	out := must[*cm](t)(client.Create(ctx, c, obj, client.WriteOptions{OmitObject: true}))
	if out.ResourceVersion == "" || out.Name == "" || len(out.Data) != 0 {
		t.Errorf("answered %+v", out)
	}
	got := must[*cm](t)(client.Get[*cm](ctx, c, ns, out.Name))
	if got.ResourceVersion != out.ResourceVersion {
		t.Errorf("revision %s, want %s", got.ResourceVersion, out.ResourceVersion)
	}
}

func testPlaces(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	if _, err := client.Create(ctx, c, configMap("", "a", "1")); !apierrors.IsBadRequest(err) {
		t.Errorf("a config map in no namespace: %v", err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "n"}}
	if _, err := client.Create(ctx, c, node); !apierrors.IsBadRequest(err) {
		t.Errorf("a node in a namespace: %v", err)
	}
	if _, _, err := client.List[*corev1.Node](ctx, c, client.Selection{Namespace: "default"}); !apierrors.IsBadRequest(err) {
		t.Errorf("nodes of a namespace: %v", err)
	}
}

func testProjection(t *testing.T, e *Env) {
	c, ctx := e.Client(t), testContext(t)
	ns := namespace(t, c)
	p := pod(ns, "p")
	p.Spec.NodeName = "n1"
	must[*corev1.Pod](t)(client.Create(ctx, c, p))
	got := must[*corev1.Pod](t)(client.Get[*corev1.Pod](ctx, c, ns, "p", client.ReadOptions{Fields: []string{"spec.nodeName"}}))
	if got.Spec.NodeName != "n1" || got.Name != "p" {
		t.Errorf("projected %+v", got)
	}
	got = must[*corev1.Pod](t)(client.Get[*corev1.Pod](ctx, c, ns, "p", client.ReadOptions{MetadataOnly: true}))
	if got.UID == "" || got.ResourceVersion == "" {
		t.Errorf("projected %+v", got)
	}
}
