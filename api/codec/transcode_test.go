package codec_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"sort"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/codec"
)

type message interface {
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}

// messages are all kinds with a protobuf form.
func messages(t testing.TB) (gvks []schema.GroupVersionKind, types map[schema.GroupVersionKind]reflect.Type) {
	t.Helper()
	types = map[schema.GroupVersionKind]reflect.Type{}
	for gvk, typ := range everyKind.AllKnownTypes() {
		if _, ok := reflect.New(typ).Interface().(message); ok && gvk.Version != "__internal" {
			types[gvk] = typ
			gvks = append(gvks, gvk)
		}
	}
	sort.Slice(gvks, func(i, j int) bool { return gvks[i].String() < gvks[j].String() })
	return gvks, types
}

// sameJSON compares two documents as values.
func sameJSON(t testing.TB, got, want []byte) bool {
	t.Helper()
	return reflect.DeepEqual(parse(t, got), parse(t, want))
}

func parse(t testing.TB, data []byte) any {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	if d.More() {
		t.Fatalf("more than one document in %s", data)
	}
	return v
}

func TestEveryKindIsPlanned(t *testing.T) {
	gvks, types := messages(t)
	for _, gvk := range gvks {
		if err := codec.NewTranscoder(reflect.New(types[gvk]).Interface().(message)).Planned(); err != nil {
			t.Errorf("%v: %v", gvk, err)
		}
	}
}

func TestTranscodeRandom(t *testing.T) {
	gvks, types := messages(t)
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for _, gvk := range gvks {
		tr := codec.NewTranscoder(reflect.New(types[gvk]).Interface().(message))
		for i := range rounds {
			r := filler{rand.New(rand.NewPCG(uint64(i), 1)), i % 7}
			v := reflect.New(types[gvk])
			r.fill(v.Elem(), 0)
			raw, err := v.Interface().(message).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			checkTranscode(t, gvk, tr, types[gvk], raw)
		}
	}
}

// checkTranscode compares with the way over the struct.
func checkTranscode(t *testing.T, gvk schema.GroupVersionKind, tr *codec.Transcoder, typ reflect.Type, raw []byte) {
	t.Helper()
	obj := reflect.New(typ).Interface()
	if err := obj.(message).Unmarshal(raw); err != nil {
		return
	}
	codec.RestoreKinds(obj)
	revision := int64(0)
	if m, ok := obj.(metav1.Object); ok {
		revision = 12345
		m.SetResourceVersion("12345")
	}
	apiVersion, kind := gvk.ToAPIVersionAndKind()
	head := ""
	if f := reflect.ValueOf(obj).Elem().FieldByName("TypeMeta"); f.IsValid() {
		f.Set(reflect.ValueOf(metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}))
		head = `"kind":"` + kind + `","apiVersion":"` + apiVersion + `"`
	}
	want, wantErr := json.Marshal(obj)
	got, err := tr.Append(nil, raw, head, revision)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("%v: %v, want %v", gvk, err, wantErr)
	}
	if err == nil && !sameJSON(t, got, want) {
		t.Fatalf("%v\n got %s\nwant %s", gvk, got, want)
	}
}

func TestClaimTemplatesHaveTheirKind(t *testing.T) {
	s := &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{VolumeClaimTemplates: make([]corev1.PersistentVolumeClaim, 1)}}
	raw, err := s.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := codec.NewTranscoder(s).Append(nil, raw, "", 0)
	if err != nil || !bytes.Contains(got, []byte(`"volumeClaimTemplates":[{"kind":"PersistentVolumeClaim","apiVersion":"v1","metadata":{}`)) {
		t.Errorf("%s %v", got, err)
	}
	claim := &corev1.PersistentVolumeClaim{}
	if raw, err = claim.Marshal(); err != nil {
		t.Fatal(err)
	}
	if got, err := codec.NewTranscoder(claim).Append(nil, raw, "", 0); err != nil || bytes.Contains(got, []byte("kind")) {
		t.Errorf("%s %v", got, err)
	}
}
