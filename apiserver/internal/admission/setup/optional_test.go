package setup

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/admissiontest"
)

// TestOptional puts requests to the plugins that are off by default.
func TestOptional(t *testing.T) {
	meta := metav1.ObjectMeta{Namespace: "a", Name: "x"}
	pod := func(edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: meta, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", ImagePullPolicy: corev1.PullIfNotPresent}}}}
		if edit != nil {
			edit(p)
		}
		return p
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{
		"scheduler.alpha.kubernetes.io/node-selector":        "zone=z",
		"scheduler.alpha.kubernetes.io/defaultTolerations":   `[{"key":"d","operator":"Exists"}]`,
		"scheduler.alpha.kubernetes.io/tolerationsWhitelist": `[{"key":"d","operator":"Exists"},{"key":"e","operator":"Equal","value":"1"},{"key":"node.kubernetes.io/memory-pressure","operator":"Exists"}]`,
	}}}
	service := func(ips ...string) *corev1.Service {
		return &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{ExternalIPs: ips}}
	}
	spread := func(key string) *corev1.Pod {
		return pod(func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{TopologyKey: key}}}}
		})
	}
	yes := true
	owned := func(uid string, block bool) *corev1.ConfigMap {
		c := &corev1.ConfigMap{ObjectMeta: meta}
		if uid != "" {
			c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "d", UID: "u"}}
			if block {
				c.OwnerReferences[0].BlockOwnerDeletion = &yes
			}
		}
		return c
	}
	type world = admissiontest.World
	for _, x := range []struct {
		plugin, name string
		do           func(w *world) *admissiontest.Request
		want         string
		after        func(r *admissiontest.Request) bool
	}{
		{"AlwaysAdmit", "a pod", make1(pod(nil)), "", nil},
		{"AlwaysDeny", "a pod", make1(pod(nil)), "admission control is denying all modifications", nil},
		{"AlwaysPullImages", "a pod", make1(pod(nil)), "", func(r *admissiontest.Request) bool {
			return r.Object.(*corev1.Pod).Spec.Containers[0].ImagePullPolicy == corev1.PullAlways
		}},
		{"AlwaysPullImages", "a new label", func(w *world) *admissiontest.Request { return w.Update(pod(nil), pod(nil), "") }, "", func(r *admissiontest.Request) bool {
			return r.Object.(*corev1.Pod).Spec.Containers[0].ImagePullPolicy == corev1.PullIfNotPresent
		}},
		{"DenyServiceExternalIPs", "a new one", make1(service("1.2.3.4")), "Use of external IPs is denied by admission control", nil},
		{"DenyServiceExternalIPs", "another", func(w *world) *admissiontest.Request {
			return w.Update(service("1.2.3.4", "1.2.3.5"), service("1.2.3.4"), "")
		}, "Use of external IPs is denied by admission control", nil},
		{"DenyServiceExternalIPs", "fewer", func(w *world) *admissiontest.Request {
			return w.Update(service("1.2.3.4"), service("1.2.3.5", "1.2.3.4"), "")
		}, "", nil},
		{"ExtendedResourceToleration", "a gpu", make1(pod(func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"example.com/gpu": resource.MustParse("1"), "cpu": resource.MustParse("1")}
		})), "", func(r *admissiontest.Request) bool {
			ts := r.Object.(*corev1.Pod).Spec.Tolerations
			return len(ts) == 1 && ts[0].Key == "example.com/gpu" && ts[0].Operator == corev1.TolerationOpExists
		}},
		{"LimitPodHardAntiAffinityTopology", "host", make1(spread(corev1.LabelHostname)), "", nil},
		{"LimitPodHardAntiAffinityTopology", "zone", make1(spread("zone")), "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key kubernetes.io/hostname is allowed", nil},
		{"NamespaceExists", "is there", make1(pod(nil)), "", nil},
		{"NamespaceExists", "is not", make1(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: "x"}}), `namespaces "b" not found`, nil},
		{"NamespaceAutoProvision", "is not there", make1(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: "x"}}), "made b", nil},
		{"NamespaceAutoProvision", "is there", make1(pod(nil)), "", nil},
		{"PodNodeSelector", "selects", make1(pod(nil)), "", func(r *admissiontest.Request) bool {
			return r.Object.(*corev1.Pod).Spec.NodeSelector["zone"] == "z"
		}},
		{"PodNodeSelector", "conflicts", make1(pod(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"zone": "y"} })), "pod node label selector conflicts with its namespace node label selector", nil},
		{"PodTolerationRestriction", "defaults", make1(pod(nil)), "", func(r *admissiontest.Request) bool {
			ts := r.Object.(*corev1.Pod).Spec.Tolerations
			return len(ts) == 1 && ts[0].Key == "d"
		}},
		{"PodTolerationRestriction", "allowed", make1(pod(func(p *corev1.Pod) {
			p.Spec.Tolerations = []corev1.Toleration{{Key: "e", Value: "1", Effect: "NoSchedule"}}
		})), "", nil},
		{"PodTolerationRestriction", "not allowed", make1(pod(func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Key: "e", Operator: "Exists"}} })),
			"pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist", nil},
		{"OwnerReferencesPermissionEnforcement", "a new object's", make1(owned("u", false)), "", nil},
		{"OwnerReferencesPermissionEnforcement", "may delete", func(w *world) *admissiontest.Request {
			return w.Update(owned("u", false), owned("", false), "").As("deleter")
		}, "", nil},
		{"OwnerReferencesPermissionEnforcement", "may not delete", func(w *world) *admissiontest.Request {
			return w.Update(owned("u", false), owned("", false), "").As("none")
		}, "cannot set an ownerRef on a resource you can't delete: , <nil>", nil},
		{"OwnerReferencesPermissionEnforcement", "may finalize", func(w *world) *admissiontest.Request { return w.Create(owned("u", true)).As("finalizer") }, "", nil},
		{"OwnerReferencesPermissionEnforcement", "may not finalize", func(w *world) *admissiontest.Request { return w.Create(owned("u", true)).As("none") },
			"cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>", nil},
		{"EventRateLimit", "the first", make1(&corev1.Event{ObjectMeta: meta}), "", nil},
	} {
		t.Run(x.plugin+" "+x.name, func(t *testing.T) {
			w := admissiontest.New(t, namespace.DeepCopy())
			p := one(t, w, x.plugin)
			r := x.do(w)
			admissiontest.Refused(t, admissiontest.Run(p, r), x.want)
			if x.after != nil && !x.after(r) {
				t.Errorf("after: %+v", r.Object)
			}
		})
	}
}

func make1(o scheme.Object) func(w *admissiontest.World) *admissiontest.Request {
	return func(w *admissiontest.World) *admissiontest.Request { return w.Create(o) }
}

const eventLimits = `{apiVersion: eventratelimit.admission.k8s.io/v1alpha1, kind: Configuration, limits: [{type: Namespace, qps: 1, burst: 2}, {type: User, qps: 1, burst: 5, cacheSize: 1}]}`

// one makes a plugin by its name.
func one(t *testing.T, w *admissiontest.World, name string) admission.Plugin {
	t.Helper()
	d := deps(w)
	d.Authorizer = admissiontest.Authorizer{"deleter delete configmaps x": true, "finalizer update deployments/finalizers d": true}
	d.Create = func(_ context.Context, _ *scheme.Resource, o scheme.Object) error { return made(o.GetName()) }
	for _, c := range (&builder{&Options{}, &d}).plugins() {
		if c.name != name {
			continue
		}
		config := ""
		if name == "EventRateLimit" {
			config = eventLimits
		}
		p, err := c.make([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Fatalf("no plugin %s", name)
	return nil
}

// made tells of an object by way of an error.
type made string

func (m made) Error() string { return "made " + string(m) }

func TestEventRate(t *testing.T) {
	w := admissiontest.New(t)
	p := one(t, w, "EventRateLimit")
	event := func(namespace string) error {
		return admissiontest.Run(p, w.Create(&corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "e"}}))
	}
	for i, want := range []string{"", "", "Too many requests: limit reached on type Namespace for key a"} {
		if err := event("a"); (err == nil) != (want == "") || err != nil && err.Error() != want {
			t.Errorf("event %d: %v, want %q", i, err, want)
		}
	}
	if err := event("b"); err != nil {
		t.Errorf("another namespace: %v", err)
	}
	if err := event("b"); err != nil {
		t.Errorf("another namespace: %v", err)
	}
	if err := event("c"); err == nil || !strings.Contains(err.Error(), "limit reached on type User for key admin") {
		t.Errorf("one user: %v", err)
	}
}
