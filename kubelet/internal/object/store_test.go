package object

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/clienttest"
	"xebec.dev/client/stream"
)

func ref(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

func pod(uid string, configMaps ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: uid, UID: types.UID(uid)}}
	for _, name := range configMaps {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: ref(name)}}})
	}
	return p
}

func TestReferences(t *testing.T) {
	p := pod("u", "volume", "volume")
	p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{ref("pull"), ref("")}
	p.Spec.Volumes = append(p.Spec.Volumes,
		corev1.Volume{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume"}}},
		corev1.Volume{VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &corev1.LocalObjectReference{Name: "csi"}}}},
		corev1.Volume{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{Secret: &corev1.SecretProjection{LocalObjectReference: ref("projected")}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: ref("projected")}},
		}}}})
	vars := func(s string) ([]corev1.EnvVar, []corev1.EnvFromSource) {
		return []corev1.EnvVar{
				{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref("key-" + s)}}},
				{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref("key-" + s)}}},
			}, []corev1.EnvFromSource{
				{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref("from-" + s)}},
				{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("from-" + s)}},
			}
	}
	var c, i corev1.Container
	var e corev1.EphemeralContainer
	c.Env, c.EnvFrom = vars("c")
	i.Env, i.EnvFrom = vars("i")
	e.Env, e.EnvFrom = vars("e")
	p.Spec.Containers, p.Spec.InitContainers, p.Spec.EphemeralContainers = []corev1.Container{c}, []corev1.Container{i}, []corev1.EphemeralContainer{e}
	var have []string
	for _, k := range References(p) {
		have = append(have, fmt.Sprintf("%s %s/%s", k.Kind, k.Namespace, k.Name))
	}
	want := `configmap ns/from-c
configmap ns/from-e
configmap ns/from-i
configmap ns/key-c
configmap ns/key-e
configmap ns/key-i
configmap ns/projected
configmap ns/volume
secret ns/csi
secret ns/from-c
secret ns/from-e
secret ns/from-i
secret ns/key-c
secret ns/key-e
secret ns/key-i
secret ns/projected
secret ns/pull
secret ns/volume`
	if strings.Join(have, "\n") != want {
		t.Errorf("have\n%s", strings.Join(have, "\n"))
	}
}

// An object matters to the containers that have something of it, and to all
// whose images it may open.
func TestReaders(t *testing.T) {
	p := pod("u", "mounted", "unused")
	p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{ref("pull")}
	p.Spec.InitContainers = []corev1.Container{{Name: "init", VolumeMounts: []corev1.VolumeMount{{Name: "mounted"}}}}
	p.Spec.Containers = []corev1.Container{
		{Name: "env", Env: []corev1.EnvVar{{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref("key")}}}}},
		{Name: "none"},
	}
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug", EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("mounted")}}},
	}}}
	for key, want := range map[Key]string{
		{ConfigMap, "ns", "mounted"}: "[init debug]", {ConfigMap, "ns", "unused"}: "[]", {ConfigMap, "ns", "key"}: "[]", {Secret, "ns", "key"}: "[env]",
		{Secret, "ns", "pull"}: "[init env none debug]", {Secret, "other", "pull"}: "[]",
	} {
		if have := fmt.Sprint(Readers(p, key)); have != want {
			t.Errorf("%v: %s, want %s", key, have, want)
		}
	}
}

type told struct {
	mu   sync.Mutex
	seen []string // guarded by mu
}

func (c *told) add(k Key, users []types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = append(c.seen, fmt.Sprint(k.Name, users))
}

func (c *told) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.seen, " ")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestStoreFollowsWhatPodsName(t *testing.T) {
	api := clienttest.New(t, builtin.Scheme()).Client(t)
	s := stream.New(api, stream.Options{})
	var changes told
	store := New(api, s, Options{OnChange: changes.add})
	var too told
	store.OnChange(too.add)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) }) // ends with ctx
	running.Go(func() { _ = store.Run(ctx) })
	defer running.Wait()
	defer cancel()

	a := pod("a", "x", "fixed")
	store.Track(a)
	if _, err := store.ConfigMap(ctx, "ns", "x"); !apierrors.IsNotFound(err) || err.Error() != `configmap "x" not found` {
		t.Errorf("have %v", err)
	}
	yes := true
	for _, c := range []*corev1.ConfigMap{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "x"}, Data: map[string]string{"k": "1"}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "fixed"}, Immutable: &yes},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "other"}},
	} {
		if _, err := client.Create(ctx, api, c); err != nil {
			t.Fatal(err)
		}
	}
	x, err := store.ConfigMap(ctx, "ns", "x") // at once, whatever the stream has brought
	if err != nil || x.Data["k"] != "1" {
		t.Fatal(x, err)
	}
	if _, err := store.ConfigMap(ctx, "ns", "other"); err != nil { // not tracked: read directly
		t.Error(err)
	}
	eventually(t, "the pod is told of what it had missed", func() bool { return strings.Contains(changes.text(), "x[a]") })
	store.Track(pod("b", "x"))
	x = x.DeepCopy()
	x.Data["k"] = "2"
	if _, err := client.Update(ctx, api, x); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change is told to both", func() bool { return strings.Contains(changes.text(), "x[a b]") })
	eventually(t, "and by whoever asked for it", func() bool { return strings.Contains(too.text(), "x[a b]") })
	if x, err = store.ConfigMap(ctx, "ns", "x"); err != nil || x.Data["k"] != "2" {
		t.Error(x, err)
	}
	store.Track(pod("a", "fixed")) // no longer names x
	store.Forget("b")
	if store.Len() != 1 {
		t.Errorf("%d objects are kept", store.Len())
	}
	if _, err := store.ConfigMap(ctx, "ns", "fixed"); err != nil {
		t.Error(err)
	}
	store.Forget("a")
	if store.Len() != 0 {
		t.Errorf("%d objects are kept", store.Len())
	}
}

func TestWithoutServer(t *testing.T) {
	var store *Store
	store.Track(pod("a", "x"))
	if _, err := store.Secret(t.Context(), "ns", "x"); err != ErrStandalone {
		t.Error(err)
	}
	store.Forget("a")
}
