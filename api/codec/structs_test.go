package codec_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"

	"xebec.dev/api/codec"
)

// checkDecode compares DecodeJSON with sigs.k8s.io/json.
func checkDecode(t *testing.T, typ reflect.Type, data []byte) {
	t.Helper()
	for _, strict := range []bool{false, true} {
		got, want := reflect.New(typ).Interface(), reflect.New(typ).Interface()
		var wantProblems []error
		var wantErr error
		if strict {
			wantProblems, wantErr = kjson.UnmarshalStrict(data, want)
		} else {
			wantErr = kjson.UnmarshalCaseSensitivePreserveInts(data, want)
		}
		problems, err := codec.DecodeJSON(data, got, strict)
		if errorText(err) != errorText(wantErr) || errorsText(problems) != errorsText(wantProblems) {
			t.Fatalf("%s: %v %v, want %v %v\n%s", typ, err, problems, wantErr, wantProblems, data)
		}
		if err == nil && !equality.Semantic.DeepEqual(got, want) {
			t.Fatalf("%s strict=%v\n got %+v\nwant %+v\n%s", typ, strict, got, want, data)
		}
		if err == nil {
			sameNils(t, typ, got, want)
		}
	}
}

// sameNils compares what Semantic.DeepEqual does not: nil and empty lists.
func sameNils(t *testing.T, typ reflect.Type, got, want any) {
	t.Helper()
	g, gErr := json.Marshal(got)
	w, wErr := json.Marshal(want)
	if string(g) != string(w) || errorText(gErr) != errorText(wErr) {
		t.Fatalf("%s\n got %s\nwant %s", typ, g, w)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func errorsText(errs []error) string {
	var b strings.Builder
	for _, err := range errs {
		b.WriteString(err.Error() + "\n")
	}
	return b.String()
}

func TestDecodeRandom(t *testing.T) {
	gvks, types := messages(t)
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	quick, all := 0, 0
	for _, gvk := range gvks {
		for i := range rounds {
			r := filler{rand.New(rand.NewPCG(uint64(i), 2)), i % 7}
			v := reflect.New(types[gvk])
			r.fill(v.Elem(), 0)
			data, err := json.Marshal(v.Interface())
			if err != nil {
				t.Fatal(err)
			}
			checkDecode(t, types[gvk], data)
			all++
			if codec.TryJSON(data, reflect.New(types[gvk]).Interface()) {
				quick++
			}
			for range 3 {
				checkDecode(t, types[gvk], mutate(r.Rand, data))
			}
		}
	}
	if quick < all*9/10 {
		t.Errorf("%d of %d were quick", quick, all)
	}
}

var scraps = []string{`null`, `"x"`, `1`, `1.0`, `-1e2`, `99999999999999999999`, `{}`, `[]`, `true`, `,`, `:`, `{`, `]`, `"`, `\`, " ", "\n", `"a":1,`, `\u00e9`, `\ud83d\ude00`, `\ud83d`, "\xff", "é", "\x01", "name", "Name"}

// mutate changes a document in one to three places.
func mutate(r *rand.Rand, data []byte) []byte {
	out := append([]byte(nil), data...)
	for range 1 + r.IntN(3) {
		if len(out) == 0 {
			break
		}
		at := r.IntN(len(out))
		end := min(len(out), at+r.IntN(8))
		switch r.IntN(3) {
		case 0: // cut
			out = append(out[:at:at], out[end:]...)
		case 1: // insert
			out = append(out[:at:at], append([]byte(scraps[r.IntN(len(scraps))]), out[at:]...)...)
		default: // double
			out = append(out[:end:end], append(append([]byte(nil), out[at:end]...), out[end:]...)...)
		}
	}
	return out
}

func TestDecodeGoldenIsQuick(t *testing.T) {
	for _, g := range goldens(t) {
		if !strings.HasPrefix(g.name, "HEAD/") {
			continue
		}
		obj, _ := g.new(t)
		if !codec.TryJSON(g.json, obj) {
			t.Errorf("%s is not quick", g.name)
		}
		checkDecode(t, reflect.TypeOf(obj).Elem(), g.json)
	}
}

// TestDecodeIntoFilled keeps what the struct had, which only the slow way does.
func TestDecodeIntoFilled(t *testing.T) {
	pod := &corev1.Pod{}
	pod.Name = "a"
	pod.Labels = map[string]string{"x": "y"}
	if _, err := codec.DecodeJSON([]byte(`{"metadata":{"labels":{"z":"1"}}}`), pod, true); err != nil {
		t.Fatal(err)
	}
	if pod.Name != "a" || len(pod.Labels) != 2 {
		t.Errorf("%+v", pod.ObjectMeta)
	}
}

func FuzzDecodeJSON(f *testing.F) {
	pod, err := os.ReadFile("testdata/pod.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pod)
	for _, s := range append(scraps, `{"metadata":{"name":"a","name":"b"}}`, `{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1"}}}]}}`,
		`{"metadata":{"creationTimestamp":null,"managedFields":[{"fieldsV1":{"a":[1,{}]}}]}}`, strings.Repeat("[", 20000), strings.Repeat(`{"a":`, 20000)) {
		f.Add([]byte(s))
	}
	types := []runtime.Object{&corev1.Pod{}, &corev1.Service{}, &corev1.ConfigMap{}, &corev1.Secret{}, &corev1.Node{}}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, obj := range types {
			checkDecode(t, reflect.TypeOf(obj).Elem(), data)
		}
	})
}
