package fieldmanager

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"reflect"
	"testing"
	"time"

	apiserverinternalv1alpha1 "k8s.io/api/apiserverinternal/v1alpha1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"xebec.dev/api/builtin"
	"xebec.dev/api/scheme"
)

// The walk and the merge library must agree to the byte, for every kind, on
// objects with anything in them.
func TestWalkEqualsLibrary(t *testing.T) {
	types := NewTypes()
	for _, r := range builtin.Scheme().Resources() {
		if r.StoragePrefix == "" {
			continue
		}
		for _, v := range r.ServedVersions() {
			served := scheme.Served{Resource: r, At: v}
			t.Run(r.Group+"/"+r.Plural+"/"+v.Group+v.Version, func(t *testing.T) { differ(t, New(served, types), rounds(t)) })
		}
	}
}

func rounds(t *testing.T) int {
	if testing.Short() {
		return 5
	}
	return 10
}

func differ(t *testing.T, m *Manager, rounds int) {
	if m.endpoint("").plan == nil {
		_, err := m.types.plan(m.kind(), reflect.TypeOf(m.conv.newAt(m.served.At)))
		t.Fatalf("no plan: %v", err)
	}
	walked := 0
	for seed := range rounds {
		d := &duel{t: t, m: m, seed: int64(seed), rand: rand.New(rand.NewSource(int64(seed)))}
		walked += d.run()
	}
	t.Logf("%d steps were walked", walked)
	if walked < rounds {
		t.Errorf("only %d of %d rounds were walked", walked, rounds)
	}
}

// duel runs one history of an object both ways.
type duel struct {
	t    *testing.T
	m    *Manager
	seed int64
	rand *rand.Rand
	now  time.Time
}

func (d *duel) run() (walked int) {
	d.now = time.Unix(1e9, 0)
	live := d.random(nil)
	live.SetUID("")
	live.SetManagedFields(nil)
	walked += d.both("create", nil, live, func(obj scheme.Object, fast bool) bool {
		if fast {
			return d.m.createFast(obj, "maker", d.now)
		}
		empty, err := d.m.conv.New(d.m.kind())
		if err != nil {
			d.t.Fatal(err)
		}
		return d.m.update(empty, obj, "maker", "", d.now) == nil
	})
	live.SetUID("u")
	for step := range 6 {
		d.now = d.now.Add(time.Duration(d.rand.Intn(3)) * time.Second)
		next := d.random(live)
		next.SetUID("u")
		next.SetManagedFields(nil)
		if d.rand.Intn(3) == 0 {
			next.SetManagedFields(live.DeepCopyObject().(scheme.Object).GetManagedFields())
		}
		sub := ""
		if s := d.m.served.Resource.Subresource("status"); s != nil && d.rand.Intn(3) == 0 {
			sub = "status"
		}
		who := fmt.Sprintf("m%d", d.rand.Intn(4))
		walked += d.both(fmt.Sprintf("update %d by %s %s", step, who, sub), live, next, func(obj scheme.Object, fast bool) bool {
			if fast {
				return d.m.updateFast(live, obj, who, sub, d.now)
			}
			return d.m.update(live, obj, who, sub, d.now) == nil
		})
		live = next
	}
	return walked
}

// both does a step by the walk and by the library; obj keeps the library's
// outcome.
func (d *duel) both(what string, live, obj scheme.Object, do func(obj scheme.Object, fast bool) bool) int {
	d.t.Helper()
	mine := obj.DeepCopyObject().(scheme.Object)
	fast := do(mine, true)
	if !do(obj, false) {
		d.t.Fatal("the library failed")
	}
	if !fast {
		return 0
	}
	if a, b := entries(mine), entries(obj); a != b {
		was, _ := json.Marshal(live)
		is, _ := json.Marshal(obj)
		d.t.Fatalf("seed %d, %s:\nwalk    %s\nlibrary %s\nlive %s\nobj  %s", d.seed, what, a, b, was, is)
	}
	return 1
}

func entries(obj scheme.Object) string {
	b, _ := json.Marshal(obj.GetManagedFields())
	return string(b)
}

// random makes an object, or changes parts of one.
func (d *duel) random(from scheme.Object) scheme.Object {
	obj := d.m.served.New().(scheme.Object)
	d.filler().Fill(obj)
	obj.GetObjectKind().SetGroupVersionKind(d.m.kind())
	if from == nil {
		return obj
	}
	base := from.DeepCopyObject().(scheme.Object)
	d.mix(reflect.ValueOf(base).Elem(), reflect.ValueOf(obj).Elem())
	base.GetObjectKind().SetGroupVersionKind(d.m.kind())
	return base
}

// mix replaces parts of a by those of b: nothing, all, or some within.
func (d *duel) mix(a, b reflect.Value) {
	switch n := d.rand.Intn(10); {
	case n < 5:
	case n == 9:
		a.Set(b)
	case a.Kind() == reflect.Struct && a.Type() != reflect.TypeFor[metav1.Time]() && a.Type() != reflect.TypeFor[metav1.MicroTime]() && a.Type() != reflect.TypeFor[resource.Quantity]():
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() {
				d.mix(a.Field(i), b.Field(i))
			}
		}
	case a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		d.mix(a.Elem(), b.Elem())
	case a.Kind() == reflect.Slice && a.Len() > 0 && b.Len() > 0 && a.Type().Elem().Kind() != reflect.Uint8:
		d.mix(a.Index(0), b.Index(0))
		if d.rand.Intn(2) == 0 {
			a.Set(reflect.Append(a, b.Index(b.Len()-1)))
		}
	case a.Kind() == reflect.Map && a.Len() > 0 && b.Len() > 0:
		for it := b.MapRange(); it.Next(); {
			a.SetMapIndex(it.Key(), it.Value())
		}
	}
}

func (d *duel) filler() *randfill.Filler {
	words := []string{"a", "b", "name", "x.io/y", "q<uo>&", `s"l\t`, "é", "", "10", "Ready", "TCP"}
	return randfill.NewWithSeed(d.rand.Int63()).NilChance(0.45).NumElements(0, 3).MaxDepth(12).Funcs(
		func(s *string, c randfill.Continue) { *s = words[c.Intn(len(words))] },
		func(n *int32, c randfill.Continue) { *n = int32(c.Intn(4)) },
		func(n *int64, c randfill.Continue) { *n = int64(c.Intn(4)) },
		func(n *int, c randfill.Continue) { *n = c.Intn(4) },
		func(q *resource.Quantity, c randfill.Continue) {
			*q = resource.MustParse([]string{"0", "1", "100m", "1Gi", "2"}[c.Intn(5)])
		},
		func(t *metav1.Time, c randfill.Continue) {
			if c.Intn(3) > 0 {
				*t = metav1.Unix(int64(c.Intn(4)), 0)
			}
		},
		func(t *metav1.MicroTime, c randfill.Continue) {
			if c.Intn(3) > 0 {
				*t = metav1.NewMicroTime(time.Unix(int64(c.Intn(4)), 1000))
			}
		},
		func(v *intstr.IntOrString, c randfill.Continue) {
			*v = intstr.FromInt32(int32(c.Intn(3)))
			if c.Bool() {
				*v = intstr.FromString(words[c.Intn(len(words))])
			}
		},
		func(v *runtime.RawExtension, c randfill.Continue) {
			*v = runtime.RawExtension{}
			if raw := []string{"", `{}`, `{"a":1}`, `{"a":{"b":[1,{"c":2}]},"d":"e"}`, `{"a":{},"z":null}`}[c.Intn(5)]; raw != "" {
				v.Raw = []byte(raw)
			}
		},
		func(v *apiserverinternalv1alpha1.ServerStorageVersion, c randfill.Continue) {
			c.FillNoCustom(v)
			// JSON leaves an empty key out, and then the library gives up on
			// the object even where the walk does not look: in a status.
			v.APIServerID += "s"
		},
		func(v *metav1.FieldsV1, c randfill.Continue) {},
		func(v *runtime.Object, c randfill.Continue) {},
	)
}

func TestCompareElementsIsTheLibrarys(t *testing.T) {
	sets := []string{
		`{"f:a":{},"k:{\"a\":1}":{},"k:{\"a\":2,\"b\":\"x\"}":{},"k:{\"a\":10}":{},"v:\"a\"":{},"v:\"ab\"":{},"v:1":{},"i:0":{}}`,
		`{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{},"k:{\"containerPort\":80}":{},"k:{\"containerPort\":9,\"protocol\":\"UDP\"}":{}}`,
		`{"v:\"a\\u003cb\"":{},"v:\"a!\"":{},"v:true":{},"v:-5":{},"v:3":{},"v:1.5":{}}`,
	}
	for _, s := range sets {
		var f metav1.FieldsV1
		f.SetRawString(s)
		e := []metav1.ManagedFieldsEntry{{Manager: "m", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: &f}}
		// The library's own form of the set, through a no-op update.
		m := New(configMaps(t), NewTypes())
		live := m.served.New().(scheme.Object)
		live.SetUID("u")
		live.SetManagedFields(e)
		obj := live.DeepCopyObject().(scheme.Object)
		if err := m.update(live, obj, "x", "", time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
		raw := rawFields(&obj.GetManagedFields()[0])
		var a arena
		n, err := a.parseFields(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if again := n.appendFields(nil); string(again) != string(raw) {
			t.Errorf("%s becomes %s", raw, again)
		}
	}
}

func configMaps(t testing.TB) scheme.Served {
	s, ok := builtin.Scheme().At(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})
	if !ok {
		t.Fatal("no configmaps")
	}
	return s
}
