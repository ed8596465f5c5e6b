package resourcequota

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	counting "xebec.dev/api/quota"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/admission/admissiontest"
)

func list(pairs ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

func quota(name string, hard, used corev1.ResourceList, scopes ...corev1.ResourceQuotaScope) *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name},
		Spec:       corev1.ResourceQuotaSpec{Hard: hard, Scopes: scopes},
		Status:     corev1.ResourceQuotaStatus{Hard: hard, Used: used},
	}
}

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "a", Name: name} }

func pod(requests, limits corev1.ResourceList) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: meta("p"), Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Name: "c", Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits}},
	}}}
}

func service(t corev1.ServiceType, ports int) *corev1.Service {
	return &corev1.Service{ObjectMeta: meta("s"), Spec: corev1.ServiceSpec{Type: t, Ports: make([]corev1.ServicePort, ports)}}
}

func claim(class, size string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: meta("v"), Spec: corev1.PersistentVolumeClaimSpec{
		StorageClassName: &class, Resources: corev1.VolumeResourceRequirements{Requests: list("storage", size)},
	}}
}

func plugin(w *admissiontest.World, limited ...LimitedResource) *Plugin {
	return New(w.Store, w.Store, w.Resource("", "resourcequotas"), limited)
}

func used(w *admissiontest.World, name string) string {
	return text(admissiontest.Read[*corev1.ResourceQuota](w, w.Resource("", "resourcequotas"), "a", name).Status.Used)
}

func TestCharge(t *testing.T) {
	finished := pod(list("cpu", "1"), nil)
	finished.Status.Phase = corev1.PodSucceeded
	devices := &resourcev1.ResourceClaim{ObjectMeta: meta("r"), Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
		{Name: "x", Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 2}},
		{Name: "y", FirstAvailable: []resourcev1.DeviceSubRequest{
			{Name: "1", DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 3},
			{Name: "2", DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 1},
		}},
	}}}}
	for _, x := range []struct {
		name       string
		hard, used corev1.ResourceList
		obj, old   scheme.Object
		sub        string
		refused    string
		after      string
	}{
		{"config map", list("configmaps", "2"), list("configmaps", "1"), &corev1.ConfigMap{ObjectMeta: meta("c")}, nil, "", "", "configmaps=2"},
		{"one too many", list("configmaps", "1"), list("configmaps", "1"), &corev1.ConfigMap{ObjectMeta: meta("c")}, nil, "", "exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1", "configmaps=1"},
		{"no status yet", nil, nil, &corev1.ConfigMap{ObjectMeta: meta("c")}, nil, "", "", ""},
		{"not counted yet", list("configmaps", "1"), nil, &corev1.ConfigMap{ObjectMeta: meta("c")}, nil, "", "status unknown for quota: q, resources: configmaps", ""},
		{"events are free", list("count/events", "0"), list("count/events", "0"), &corev1.Event{ObjectMeta: meta("e")}, nil, "", "", "count/events=0"},
		{"an update of a count", list("configmaps", "0"), list("configmaps", "1"), &corev1.ConfigMap{ObjectMeta: meta("c")}, &corev1.ConfigMap{ObjectMeta: meta("c")}, "", "", "configmaps=1"},
		{"load balancer", list("services", "9", "services.loadbalancers", "9", "services.nodeports", "9"), list("services", "0", "services.loadbalancers", "0", "services.nodeports", "0"),
			service(corev1.ServiceTypeLoadBalancer, 2), nil, "", "", "services=1,services.loadbalancers=1,services.nodeports=2"},
		{"to a node port", list("services.nodeports", "1"), list("services.nodeports", "1"), service(corev1.ServiceTypeNodePort, 1), service(corev1.ServiceTypeClusterIP, 1), "",
			"exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1", "services.nodeports=1"},
		{"fewer ports than a full quota", list("services.nodeports", "1"), list("services.nodeports", "3"), service(corev1.ServiceTypeNodePort, 1), service(corev1.ServiceTypeNodePort, 2), "", "", "services.nodeports=3"},
		{"claim of a class", list("requests.storage", "5Gi", "gold.storageclass.storage.k8s.io/requests.storage", "2Gi", "gold.storageclass.storage.k8s.io/persistentvolumeclaims", "5"),
			list("requests.storage", "0", "gold.storageclass.storage.k8s.io/requests.storage", "0", "gold.storageclass.storage.k8s.io/persistentvolumeclaims", "0"), claim("gold", "2Gi"), nil, "", "",
			"gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=2Gi,requests.storage=2Gi"},
		{"claim grows", list("requests.storage", "5Gi"), list("requests.storage", "4Gi"), claim("", "6Gi"), claim("", "4Gi"), "",
			"exceeded quota: q, requested: requests.storage=2Gi, used: requests.storage=4Gi, limited: requests.storage=5Gi", "requests.storage=4Gi"},
		{"must specify", list("requests.cpu", "2", "limits.memory", "1Gi"), list("requests.cpu", "0", "limits.memory", "0"), pod(nil, nil), nil, "", "failed quota: q: must specify limits.memory for: c; requests.cpu for: c", "limits.memory=0,requests.cpu=0"},
		{"pod", list("cpu", "2", "requests.cpu", "2", "limits.cpu", "4", "pods", "3", "requests.example.com/gpu", "1"), list("cpu", "0", "requests.cpu", "0", "limits.cpu", "0", "pods", "0", "requests.example.com/gpu", "0"),
			pod(list("cpu", "1", "example.com/gpu", "1"), list("cpu", "2", "example.com/gpu", "1")), nil, "", "", "cpu=1,limits.cpu=2,pods=1,requests.cpu=1,requests.example.com/gpu=1"},
		{"resize", list("requests.cpu", "2"), list("requests.cpu", "1"), pod(list("cpu", "2"), nil), pod(list("cpu", "1"), nil), "resize", "", "requests.cpu=2"},
		{"finished", list("count/pods", "5", "pods", "0"), list("count/pods", "0", "pods", "0"), finished, nil, "", "", "count/pods=1,pods=0"},
		{"devices", list("gpu.deviceclass.resource.k8s.io/devices", "5", "count/resourceclaims.resource.k8s.io", "2"), list("gpu.deviceclass.resource.k8s.io/devices", "0", "count/resourceclaims.resource.k8s.io", "0"),
			devices, nil, "", "", "count/resourceclaims.resource.k8s.io=1,gpu.deviceclass.resource.k8s.io/devices=5"},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := admissiontest.New(t, quota("q", x.hard, x.used))
			r := w.Create(x.obj)
			if x.old != nil {
				r = w.Update(x.obj, x.old, x.sub)
			}
			admissiontest.Refused(t, admissiontest.Run(plugin(w), r), x.refused)
			if got := used(w, "q"); got != x.after {
				t.Errorf("used %s, want %s", got, x.after)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	best, burst := pod(nil, nil), pod(list("cpu", "1"), nil)
	ends := pod(nil, nil)
	ends.Spec.ActiveDeadlineSeconds = new(int64)
	critical := pod(nil, nil)
	critical.Spec.PriorityClassName = "high"
	far := pod(nil, nil)
	far.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{Namespaces: []string{"b"}}}}}
	for _, x := range []struct {
		scope corev1.ResourceQuotaScope
		in    []*corev1.Pod
		out   []*corev1.Pod
	}{
		{corev1.ResourceQuotaScopeBestEffort, []*corev1.Pod{best, ends}, []*corev1.Pod{burst}},
		{corev1.ResourceQuotaScopeNotBestEffort, []*corev1.Pod{burst}, []*corev1.Pod{best}},
		{corev1.ResourceQuotaScopeTerminating, []*corev1.Pod{ends}, []*corev1.Pod{best, burst}},
		{corev1.ResourceQuotaScopeNotTerminating, []*corev1.Pod{best}, []*corev1.Pod{ends}},
		{corev1.ResourceQuotaScopePriorityClass, []*corev1.Pod{critical}, []*corev1.Pod{best}},
		{corev1.ResourceQuotaScopeCrossNamespacePodAffinity, []*corev1.Pod{far}, []*corev1.Pod{best}},
	} {
		q := quota("q", list("pods", "1"), list("pods", "0"), x.scope)
		for _, p := range x.in {
			if !counting.InScopes(q, p) {
				t.Errorf("%s leaves out a pod", x.scope)
			}
		}
		for _, p := range x.out {
			if counting.InScopes(q, p) {
				t.Errorf("%s takes in a pod", x.scope)
			}
		}
	}
	q := quota("q", nil, nil)
	for _, x := range []struct {
		op     corev1.ScopeSelectorOperator
		values []string
		want   bool
	}{
		{corev1.ScopeSelectorOpIn, []string{"high"}, true}, {corev1.ScopeSelectorOpIn, []string{"low"}, false},
		{corev1.ScopeSelectorOpNotIn, []string{"high"}, false}, {corev1.ScopeSelectorOpNotIn, []string{"low"}, true},
		{corev1.ScopeSelectorOpExists, nil, true}, {corev1.ScopeSelectorOpDoesNotExist, nil, false},
	} {
		q.Spec.ScopeSelector = &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: x.op, Values: x.values}}}
		if got := counting.InScopes(q, critical); got != x.want {
			t.Errorf("%s %v: %v", x.op, x.values, got)
		}
	}
}

// TestTwoQuotas: all or none is charged.
func TestTwoQuotas(t *testing.T) {
	w := admissiontest.New(t, quota("q", list("configmaps", "5"), list("configmaps", "0")), quota("z", list("configmaps", "0"), list("configmaps", "0")))
	err := admissiontest.Run(plugin(w), w.Create(&corev1.ConfigMap{ObjectMeta: meta("c")}))
	admissiontest.Refused(t, err, "exceeded quota: z, requested: configmaps=1, used: configmaps=0, limited: configmaps=0")
	if got := used(w, "q"); got != "configmaps=0" {
		t.Errorf("q is charged: %s", got)
	}
}

func TestDryRun(t *testing.T) {
	w := admissiontest.New(t, quota("q", list("configmaps", "1"), list("configmaps", "0")))
	r := w.Create(&corev1.ConfigMap{ObjectMeta: meta("c")})
	r.DryRun = true
	admissiontest.Refused(t, admissiontest.Run(plugin(w), r), "")
	if got := used(w, "q"); got != "configmaps=0" {
		t.Errorf("charged: %s", got)
	}
}

// TestAttempts: a request that takes several attempts to store is charged
// once, and for what it ends up with.
func TestAttempts(t *testing.T) {
	w := admissiontest.New(t, quota("q", list("requests.storage", "20Gi"), list("requests.storage", "4Gi")))
	p := plugin(w)
	receipt := &admission.Receipt{}
	attempt := func(size, before, want string) {
		t.Helper()
		r := w.Update(claim("", size), claim("", before), "")
		r.Receipt = receipt
		admissiontest.Refused(t, admissiontest.Run(p, r), "")
		if got := used(w, "q"); got != "requests.storage="+want {
			t.Errorf("from %s to %s: used %s, want %s", before, size, got, want)
		}
	}
	attempt("6Gi", "4Gi", "6Gi")
	attempt("6Gi", "4Gi", "6Gi") // someone changed a label meanwhile
	attempt("6Gi", "5Gi", "6Gi") // grown by another
	attempt("9Gi", "4Gi", "9Gi") // the request asks for more now
	receipt = nil                // another request
	attempt("9Gi", "8Gi", "10Gi")
	// Names that are taken are tried with the same attributes.
	r := w.Create(claim("", "1Gi"))
	for range 3 {
		admissiontest.Refused(t, admissiontest.Run(p, r), "")
	}
	if got := used(w, "q"); got != "requests.storage=11Gi" {
		t.Errorf("a create of three attempts: used %s", got)
	}
}

// TestManyServers: however many create at once, through several servers, no
// more get in than there is room, and each that got in is charged.
func TestManyServers(t *testing.T) {
	const room, each, servers = 40, 50, 2
	w := admissiontest.New(t, quota("q", list("configmaps", fmt.Sprint(room)), list("configmaps", "0")), quota("r", list("count/configmaps", "1000"), list("count/configmaps", "0")))
	var in atomic.Int64
	var wg sync.WaitGroup
	for range servers {
		world := w.Again()
		p := plugin(world)
		for i := range each {
			wg.Go(func() {
				if admissiontest.Run(p, world.Create(&corev1.ConfigMap{ObjectMeta: meta(fmt.Sprint(i))})) == nil {
					in.Add(1)
				}
			})
		}
	}
	wg.Wait()
	if in.Load() != room {
		t.Errorf("%d got in, want %d", in.Load(), room)
	}
	if got, want := used(w, "q"), fmt.Sprintf("configmaps=%d", room); got != want {
		t.Errorf("used %s, want %s", got, want)
	}
}

func TestLimited(t *testing.T) {
	high := pod(nil, nil)
	high.Spec.PriorityClassName = "high"
	l := LimitedResource{Resource: "pods", MatchScopes: []corev1.ScopedResourceSelectorRequirement{{ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: corev1.ScopeSelectorOpIn, Values: []string{"high"}}}}
	w := admissiontest.New(t)
	admissiontest.Refused(t, admissiontest.Run(plugin(w, l), w.Create(high)), "insufficient quota to match these scopes: [{PriorityClass In [high]}]")
	admissiontest.Refused(t, admissiontest.Run(plugin(w, l), w.Create(pod(nil, nil))), "")
	w.Put(quota("q", list("pods", "5"), list("pods", "0"), corev1.ResourceQuotaScopePriorityClass))
	admissiontest.Refused(t, admissiontest.Run(plugin(w, l), w.Create(high)), "")
	gold := LimitedResource{Resource: "persistentvolumeclaims", MatchContains: []string{"gold.storageclass"}}
	admissiontest.Refused(t, admissiontest.Run(plugin(w, gold), w.Create(claim("gold", "1Gi"))),
		"insufficient quota to consume: gold.storageclass.storage.k8s.io/persistentvolumeclaims,gold.storageclass.storage.k8s.io/requests.storage")
}

// TestManyQuotas: with several quotas, of which one has less room, what the
// others are charged covers at least what got in.
func TestManyQuotas(t *testing.T) {
	const room, each = 15, 30
	w := admissiontest.New(t, quota("q", list("configmaps", "1000"), list("configmaps", "0")), quota("z", list("configmaps", fmt.Sprint(room)), list("configmaps", "0")))
	var in atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		world := w.Again()
		p := plugin(world)
		for i := range each {
			wg.Go(func() {
				if admissiontest.Run(p, world.Create(&corev1.ConfigMap{ObjectMeta: meta(fmt.Sprint(i))})) == nil {
					in.Add(1)
				}
			})
		}
	}
	wg.Wait()
	q := admissiontest.Read[*corev1.ResourceQuota](w, w.Resource("", "resourcequotas"), "a", "q").Status.Used["configmaps"]
	if got := used(w, "z"); in.Load() != room || got != fmt.Sprintf("configmaps=%d", room) || q.Value() < room {
		t.Errorf("%d got in, z has %s, q %d; want %d", in.Load(), got, q.Value(), room)
	}
}
