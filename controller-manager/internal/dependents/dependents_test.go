package dependents

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/client/clienttest"
	"xebec.dev/client/event"
	"xebec.dev/client/stream"
	"xebec.dev/client/workqueue"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/write"
)

var kind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

// told keeps events as text.
type told struct{ all []string }

func (r *told) Event(_ scheme.Object, kind, reason, message string) {
	r.all = append(r.all, kind+" "+reason+": "+message)
}
func (r *told) Eventf(o scheme.Object, kind, reason, format string, args ...any) {
	r.Event(o, kind, reason, fmt.Sprintf(format, args...))
}
func (r *told) Record(event.Note) {}

// cluster is a server in memory, refusing what intercept refuses, and replicas of it.
func cluster(t *testing.T, intercept func(method string, q any) error) (*control.Env, *told, *cache.Replica[*appsv1.ReplicaSet], *cache.Replica[*corev1.Pod]) {
	t.Helper()
	srv := clienttest.New(t, builtin.Scheme())
	srv.Intercept = func(_ context.Context, method string, q any) error { return intercept(method, q) }
	c := srv.Client(t)
	s, b := stream.New(c, stream.Options{}), client.NewBatch(c, 0)
	sets, err := cache.New(c, s, cache.Options[*appsv1.ReplicaSet]{})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := cache.New(c, s, cache.Options[*corev1.Pod]{})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context) error{s.Run, sets.Run, pods.Run, b.Run} {
		go func() { _ = run(t.Context()) }() // ends with the test
	}
	if err := errors.Join(sets.WaitForSync(t.Context()), pods.WaitForSync(t.Context())); err != nil {
		t.Fatal(err)
	}
	r := &told{}
	return &control.Env{Client: c, Write: write.NewWriter(c, b), Events: r}, r, sets, pods
}

func set(name string) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec:       appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, Template: template(name)},
	}
}

func template(app string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x"}}}}
}

func pod(name, app string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{"app": app}}, Spec: template(app).Spec}
	for _, f := range change {
		f(p)
	}
	return p
}

func ownedBy(name, group string) func(*corev1.Pod) {
	gvk := kind
	gvk.Group = group
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(&metav1.ObjectMeta{Name: name, UID: "1"}, gvk)}
	}
}

func dying(p *corev1.Pod) { now := metav1.Now(); p.DeletionTimestamp = &now }

// TestFollow: who is queued by the change of a pod.
func TestFollow(t *testing.T) {
	e, _, sets, _ := cluster(t, func(string, any) error { return nil })
	for _, name := range []string{"a", "b"} {
		if _, err := client.Create(t.Context(), e.Client, set(name)); err != nil {
			t.Fatal(err)
		}
	}
	_, revision, err := client.List[*appsv1.ReplicaSet](t.Context(), e.Client, client.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sets.WaitFor(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	named := func(s *appsv1.ReplicaSet, p *corev1.Pod) bool { return p.Name != "nobody's" }
	for _, c := range []struct {
		what     string
		old, new *corev1.Pod
		want     []string
	}{
		{"new and owned", nil, pod("p", "a", ownedBy("a", "apps")), []string{"a"}},
		{"gone", pod("p", "b", ownedBy("a", "apps")), nil, []string{"a"}},
		{"from one to another", pod("p", "a", ownedBy("a", "apps")), pod("p", "a", ownedBy("b", "apps")), []string{"a", "b"}},
		{"let go, and another selects it", pod("p", "a", ownedBy("a", "apps")), pod("p", "b"), []string{"a", "b"}},
		{"an orphan", nil, pod("p", "b"), []string{"b"}},
		{"an orphan that nobody selects", nil, pod("p", "c"), nil},
		{"an orphan that nobody may adopt", nil, pod("nobody's", "b"), nil},
		{"a dying orphan", nil, pod("p", "b", dying), nil},
		{"owned by a set of another group", nil, pod("p", "a", ownedBy("a", "example.com")), nil},
	} {
		q := workqueue.New("q", workqueue.Options[cache.Key]{})
		f := Follow[*appsv1.ReplicaSet, *corev1.Pod]{Kind: kind, Queue: q, Owners: sets, May: named,
			Selector: func(s *appsv1.ReplicaSet) *metav1.LabelSelector { return s.Spec.Selector }}
		f.Changed(cache.Change[*corev1.Pod]{Old: c.old, New: c.new, HasOld: c.old != nil, HasNew: c.new != nil})
		var got []string
		for q.Len() > 0 {
			k, _ := q.Get(t.Context())
			got = append(got, k.Name)
			q.Done(k)
		}
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v queued, want %v", c.what, got, c.want)
		}
	}
}

// TestPods: what is created and deleted is told and noted; what is refused
// comes back as an error, and a namespace that goes away is none.
func TestPods(t *testing.T) {
	var refuse error
	e, r, _, pods := cluster(t, func(method string, _ any) error {
		if method == "Create" || method == "Delete" {
			return refuse
		}
		return nil
	})
	o := set("a")
	p := Pods{Env: e, Ledger: write.NewLedger(pods)}
	if err := p.Create(t.Context(), o, []*corev1.Pod{pod("one", "a"), pod("two", "a")}); err != nil {
		t.Fatal(err)
	}
	_, revision, err := client.List[*corev1.Pod](t.Context(), e.Client, client.Selection{})
	if err != nil {
		t.Fatal(err)
	}
	if err := pods.WaitFor(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	one, _ := pods.Get("ns", "one")
	other := one.DeepCopy()
	other.Name = "two" // has one's uid: it is not this pod that is to be deleted
	if err := p.Delete(t.Context(), o, []*corev1.Pod{one, other}); err != nil {
		t.Fatal(err)
	}
	refuse = apierrors.NewForbidden(corev1.Resource("pods"), "x", errors.New("exceeded quota: q"))
	if err := p.Create(t.Context(), o, []*corev1.Pod{pod("three", "a")}); !apierrors.IsForbidden(err) {
		t.Errorf("a refused create: %v", err)
	}
	two, _ := pods.Get("ns", "two")
	if err := p.Delete(t.Context(), o, []*corev1.Pod{two}); !apierrors.IsForbidden(err) {
		t.Errorf("a refused delete: %v", err)
	}
	refuse = ending()
	if err := p.Create(t.Context(), o, []*corev1.Pod{pod("four", "a")}); err != nil {
		t.Errorf("in a namespace that goes away: %v", err)
	}
	want := []string{
		"Normal SuccessfulCreate: Created pod: one", "Normal SuccessfulCreate: Created pod: two", "Normal SuccessfulDelete: Deleted pod: one",
		`Warning FailedCreate: Error creating: pods "x" is forbidden: exceeded quota: q`,
		`Warning FailedDelete: Error deleting: pods "x" is forbidden: exceeded quota: q`,
	}
	if !slices.Equal(r.all, want) {
		t.Errorf("told %q", r.all)
	}
	live, _, err := client.List[*corev1.Pod](t.Context(), e.Client, client.Selection{})
	if err != nil || len(live) != 1 || live[0].Name != "two" {
		t.Errorf("left: %d pods, error %v", len(live), err)
	}
}

// ending is how the API server refuses creation in a namespace that goes away.
func ending() error {
	err := apierrors.NewForbidden(corev1.Resource("pods"), "x", errors.New("unable to create new content in namespace ns because it is being terminated"))
	err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	return err
}
