package limitranger

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

func limits(name string, items ...corev1.LimitRangeItem) *corev1.LimitRange {
	return &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}, Spec: corev1.LimitRangeSpec{Limits: items}}
}

func container(name string, requests, limits corev1.ResourceList) corev1.Container {
	return corev1.Container{Name: name, Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits}}
}

func pod(containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}, Spec: corev1.PodSpec{Containers: containers}}
}

func TestDefaults(t *testing.T) {
	w := admissiontest.New(t,
		limits("l", corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Default: list("cpu", "1", "memory", "1Gi"), DefaultRequest: list("cpu", "500m")}),
		limits("m", corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, DefaultRequest: list("example.com/x", "1")}),
	)
	p := New(w.Store, w.Resource("", "limitranges"))
	o := pod(container("c", nil, list("cpu", "2")), container("d", list("cpu", "1"), nil))
	o.Spec.InitContainers = []corev1.Container{container("i", nil, nil)}
	r := w.Create(o)
	if err := admissiontest.Run(p, r); err != nil {
		t.Fatal(err)
	}
	c := o.Spec.Containers
	for _, x := range []struct {
		what string
		got  resource.Quantity
		want string
	}{
		{"c limit cpu", c[0].Resources.Limits["cpu"], "2"},
		{"c limit memory", c[0].Resources.Limits["memory"], "1Gi"},
		{"c request cpu", c[0].Resources.Requests["cpu"], "500m"},
		{"d request cpu", c[1].Resources.Requests["cpu"], "1"},
		{"i request x", o.Spec.InitContainers[0].Resources.Requests["example.com/x"], "1"},
	} {
		if x.got.String() != x.want {
			t.Errorf("%s: %s, want %s", x.what, x.got.String(), x.want)
		}
	}
	// The second range's text replaces the first's.
	want := "LimitRanger plugin set: example.com/x request for container c; example.com/x request for container d; example.com/x request for init container i"
	if got := o.Annotations[annotation]; got != want {
		t.Errorf("annotation\n%s\nwant\n%s", got, want)
	}
	// A pod that is there gets nothing.
	old := pod(container("c", nil, nil))
	now := old.DeepCopy()
	if err := admissiontest.Run(p, w.Update(now, old, "")); err != nil || len(now.Spec.Containers[0].Resources.Limits) > 0 {
		t.Errorf("an update got defaults: %v", err)
	}
}

func TestLimits(t *testing.T) {
	type item = corev1.LimitRangeItem
	const c, whole, claims = corev1.LimitTypeContainer, corev1.LimitTypePod, corev1.LimitTypePersistentVolumeClaim
	claim := func(size string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "v"}, Spec: corev1.PersistentVolumeClaimSpec{
			Resources: corev1.VolumeResourceRequirements{Requests: list("storage", size)},
		}}
	}
	for _, x := range []struct {
		name string
		item item
		do   func(w *admissiontest.World) *admissiontest.Request
		want string
	}{
		{"min, no request", item{Type: c, Min: list("cpu", "1")}, create(pod(container("c", nil, nil))), "minimum cpu usage per Container is 1.  No request is specified"},
		{"min, request", item{Type: c, Min: list("cpu", "1")}, create(pod(container("c", list("cpu", "500m"), nil))), "minimum cpu usage per Container is 1, but request is 500m"},
		{"min, ok", item{Type: c, Min: list("cpu", "1")}, create(pod(container("c", list("cpu", "1"), nil))), ""},
		{"max, no limit", item{Type: c, Max: list("cpu", "1")}, create(pod(container("c", list("cpu", "1"), nil))), "maximum cpu usage per Container is 1.  No limit is specified"},
		{"max, two", item{Type: c, Max: list("cpu", "1", "memory", "1Gi")}, create(pod(container("c", nil, list("cpu", "2", "memory", "2Gi")))),
			"[maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]"},
		{"ratio", item{Type: c, MaxLimitRequestRatio: list("cpu", "2")}, create(pod(container("c", list("cpu", "500m"), list("cpu", "1500m")))),
			"cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"},
		{"ratio, none", item{Type: c, MaxLimitRequestRatio: list("cpu", "2")}, create(pod(container("c", nil, list("cpu", "1")))),
			"cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"},
		{"pod sum", item{Type: whole, Max: list("cpu", "1")}, create(pod(container("c", nil, list("cpu", "600m")), container("d", nil, list("cpu", "600m")))),
			"maximum cpu usage per Pod is 1, but limit is 1200m"},
		{"claim over", item{Type: claims, Max: list("storage", "2Gi")}, create(claim("3Gi")), "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"},
		{"claim grows", item{Type: claims, Max: list("storage", "2Gi")}, update(claim("3Gi"), claim("1Gi"), ""), "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"},
		{"claim status", item{Type: claims, Max: list("storage", "2Gi")}, update(claim("3Gi"), claim("3Gi"), "status"), ""},
		{"pod update", item{Type: c, Max: list("cpu", "1")}, update(pod(container("c", nil, list("cpu", "2"))), pod(container("c", nil, list("cpu", "2"))), ""), ""},
		{"resize", item{Type: c, Max: list("cpu", "1")}, update(pod(container("c", nil, list("cpu", "2"))), pod(container("c", nil, list("cpu", "1"))), "resize"), "maximum cpu usage per Container is 1, but limit is 2"},
		{"leaving", item{Type: claims, Max: list("storage", "2Gi")}, leaving(claim("3Gi"), claim("3Gi")), ""},
		{"other namespace's", item{Type: c, Max: list("cpu", "1")}, func(w *admissiontest.World) *admissiontest.Request {
			p := pod(container("c", nil, list("cpu", "2")))
			p.Namespace = "b"
			return w.Create(p)
		}, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := admissiontest.New(t, limits("l", x.item))
			r := x.do(w)
			err := New(w.Store, w.Resource("", "limitranges")).Validate(t.Context(), r.Attributes)
			admissiontest.Refused(t, err, x.want)
		})
	}
}

func create(p metav1.Object) func(w *admissiontest.World) *admissiontest.Request {
	return func(w *admissiontest.World) *admissiontest.Request {
		switch o := p.(type) {
		case *corev1.Pod:
			return w.Create(o)
		default:
			return w.Create(o.(*corev1.PersistentVolumeClaim))
		}
	}
}

func update(now, old metav1.Object, sub string) func(w *admissiontest.World) *admissiontest.Request {
	return func(w *admissiontest.World) *admissiontest.Request {
		if o, ok := now.(*corev1.Pod); ok {
			return w.Update(o, old.(*corev1.Pod), sub)
		}
		return w.Update(now.(*corev1.PersistentVolumeClaim), old.(*corev1.PersistentVolumeClaim), sub)
	}
}

func leaving(now, old *corev1.PersistentVolumeClaim) func(w *admissiontest.World) *admissiontest.Request {
	at := metav1.Now()
	old.DeletionTimestamp = &at
	return update(now, old, "")
}

var _ admission.Validator = (*Plugin)(nil)
