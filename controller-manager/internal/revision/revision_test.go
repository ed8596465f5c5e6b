package revision

import (
	"encoding/json"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func ownerOf(image string) Owner {
	return Owner{
		Object: &metav1.ObjectMeta{Namespace: "ns", Name: "db", UID: "1"}, GVK: appsv1.SchemeGroupVersion.WithKind("StatefulSet"), HashLabel: "hash",
		Template: &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "db"}}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}},
	}
}

// TestHistory: a new template is a new revision, an old one becomes the newest
// again, the same changes nothing.
func TestHistory(t *testing.T) {
	var have []*appsv1.ControllerRevision
	var log string
	for _, image := range []string{"1", "1", "2", "1", "1"} {
		h, err := Plan(ownerOf(image), have)
		if err != nil {
			t.Fatal(err)
		}
		log += fmt.Sprintf("%s:%d:%t:%t ", image, h.Current.Revision, h.Create, h.Bump)
		switch {
		case h.Create:
			have = append(have, h.Current)
		case h.Bump:
			for i := range have {
				if have[i].Name == h.Current.Name {
					have[i] = h.Current
				}
			}
		}
		back, err := Template(h.Current)
		if err != nil || back.Spec.Containers[0].Image != image {
			t.Errorf("template %+v, error %v", back, err)
		}
	}
	if want := "1:1:true:false 1:1:false:false 2:2:true:false 1:3:false:true 1:3:false:false "; log != want {
		t.Errorf("%s\nwant\n%s", log, want)
	}
}

// TestOtherReleasesData: a revision that says the same in other words is the
// same.
func TestOtherReleasesData(t *testing.T) {
	o := ownerOf("1")
	h, err := Plan(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := h.Current.DeepCopy()
	var data map[string]any
	if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
		t.Fatal(err)
	}
	data["spec"].(map[string]any)["template"].(map[string]any)["metadata"].(map[string]any)["creationTimestamp"] = nil
	if r.Data.Raw, err = json.Marshal(data); err != nil {
		t.Fatal(err)
	}
	if again, err := Plan(o, []*appsv1.ControllerRevision{r}); err != nil || again.Create || again.Bump {
		t.Errorf("create %t, bump %t, error %v", again.Create, again.Bump, err)
	}
}

func TestCollisionsGiveOtherNames(t *testing.T) {
	o := ownerOf("1")
	a, err := Plan(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	one := int32(1)
	o.Collisions = &one
	b, err := Plan(o, nil)
	if err != nil || a.Current.Name == b.Current.Name {
		t.Errorf("names %s and %s, error %v", a.Current.Name, b.Current.Name, err)
	}
}

func TestOutdated(t *testing.T) {
	var all []*appsv1.ControllerRevision
	for i := range 5 {
		all = append(all, &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}, Revision: int64(i)})
	}
	limit := int32(2)
	var got []string
	for _, r := range Outdated(all, &limit, func(r *appsv1.ControllerRevision) bool { return r.Name == "0" || r.Name == "4" }) {
		got = append(got, r.Name)
	}
	if fmt.Sprint(got) != "[1]" {
		t.Errorf("outdated: %v", got)
	}
}
