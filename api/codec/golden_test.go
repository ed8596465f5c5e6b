package codec_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/codec"
)

// golden is one object of k8s.io/api/testdata.
type golden struct {
	name string // "v1.36.0/core.v1.Pod"
	gvk  schema.GroupVersionKind
	// what an API server of that version wrote
	json, yaml, pb []byte
	// the same after HEAD has read and written it; equal when not given
	wantJSON, wantPB []byte
}

func goldens(t testing.TB) []golden {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "testdata")
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	for _, p := range paths {
		base := strings.TrimSuffix(p, ".json")
		if strings.HasSuffix(base, ".after_roundtrip") {
			continue
		}
		g := golden{name: strings.TrimPrefix(base, dir+"/")}
		g.gvk = goldenKind(filepath.Base(base))
		if !everyKind.Recognizes(g.gvk) {
			continue // dropped since
		}
		g.json, g.yaml, g.pb = read(t, p), read(t, base+".yaml"), read(t, base+".pb")
		g.wantJSON, g.wantPB = g.json, g.pb
		if b := read(t, base+".after_roundtrip.json"); b != nil {
			g.wantJSON = b
		}
		if b := read(t, base+".after_roundtrip.pb"); b != nil {
			g.wantPB = b
		}
		all = append(all, g)
	}
	return all
}

// goldenKind reads "core.v1.Pod" or "rbac.authorization.k8s.io.v1.Role".
func goldenKind(name string) schema.GroupVersionKind {
	parts := strings.Split(name, ".")
	n := len(parts)
	gvk := schema.GroupVersionKind{Group: strings.Join(parts[:n-2], "."), Version: parts[n-2], Kind: parts[n-1]}
	if gvk.Group == "core" {
		gvk.Group = ""
	}
	return gvk
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	heads := 0
	for _, g := range goldens(t) {
		if strings.HasPrefix(g.name, "HEAD/") {
			heads++
		}
		t.Run(g.name, func(t *testing.T) {
			t.Run("JSON", g.testJSON)
			t.Run("YAML", g.testYAML)
			if _, m := g.new(t); m != nil { // not all kinds have one
				t.Run("protobuf", g.testProtobuf)
			}
		})
	}
	if heads < 190 {
		t.Errorf("only %d kinds at HEAD", heads)
	}
}

func (g golden) new(t *testing.T) (runtime.Object, message) {
	t.Helper()
	obj, err := everyKind.New(g.gvk)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := obj.(message)
	return obj, m
}

// testJSON reads the JSON form and writes all forms.
func (g golden) testJSON(t *testing.T) {
	obj, _ := g.new(t)
	// Raw extensions keep the spaces of the golden file, so it is made compact.
	var compact bytes.Buffer
	if err := json.Compact(&compact, g.json); err != nil {
		t.Fatal(err)
	}
	problems, err := codec.DecodeJSON(compact.Bytes(), obj, true)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(g.name, "HEAD/") && len(problems) > 0 {
		t.Error(problems)
	}
	g.checkStruct(t, obj)
}

// envelopeKind is what the golden's envelope says. A WatchEvent has no kind.
func (g golden) envelopeKind() (apiVersion, kind string) {
	if g.gvk.Kind == "WatchEvent" {
		return "", ""
	}
	return g.gvk.ToAPIVersionAndKind()
}

// checkStruct compares a decoded golden with its forms.
func (g golden) checkStruct(t *testing.T, obj runtime.Object) {
	t.Helper()
	b, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	if !sameJSON(t, b, g.wantJSON) {
		t.Errorf("got %s", b)
	}
	m, ok := obj.(message)
	if !ok {
		return
	}
	raw, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	apiVersion, kind := g.envelopeKind()
	pb := codec.AppendEnvelope(nil, apiVersion, kind, raw)
	if !bytes.Equal(pb, g.wantPB) {
		t.Error("the protobuf form differs")
	}
	if n := codec.EnvelopeSize(apiVersion, kind, len(raw)); n != len(pb) {
		t.Errorf("EnvelopeSize is %d, not %d", n, len(pb))
	}
}

func (g golden) testYAML(t *testing.T) {
	obj, _ := g.new(t)
	data, problem, err := codec.JSONFromYAML(g.yaml, true)
	if err != nil || problem != nil {
		t.Fatal(err, problem)
	}
	if _, err := codec.DecodeJSON(data, obj, false); err != nil {
		t.Fatal(err)
	}
	g.checkStruct(t, obj)
	if y, err := codec.YAMLFromJSON(g.json); err != nil || !bytes.Equal(y, g.yaml) {
		t.Errorf("%v: got %s", err, y)
	}
}

// testProtobuf transcodes the protobuf form.
func (g golden) testProtobuf(t *testing.T) {
	obj, m := g.new(t)
	env, err := codec.ParseEnvelope(g.pb)
	if err != nil {
		t.Fatal(err)
	}
	if apiVersion, kind := g.envelopeKind(); env.APIVersion != apiVersion || env.Kind != kind {
		t.Errorf("%s %s in the envelope", env.APIVersion, env.Kind)
	}
	tr := codec.NewTranscoder(m)
	b, err := tr.Append(nil, env.Raw, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := codec.DecodeJSON(g.wantJSON, obj, false); err != nil {
		t.Fatal(err)
	}
	codec.RestoreKinds(obj)
	wantJSON, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	want := parse(t, wantJSON)
	if o, ok := want.(map[string]any); ok && hasTypeMeta(obj) {
		delete(o, "kind")
		delete(o, "apiVersion")
	}
	if _, ok := obj.(*appsv1.StatefulSet); ok {
		spec := want.(map[string]any)["spec"].(map[string]any)
		for _, claim := range spec["volumeClaimTemplates"].([]any) {
			claim.(map[string]any)["kind"], claim.(map[string]any)["apiVersion"] = "PersistentVolumeClaim", "v1"
		}
	}
	if got := parse(t, b); !reflect.DeepEqual(got, want) {
		t.Errorf("got %s", b)
	}
	if !tr.Quick(env.Raw) {
		t.Error("was transcoded by way of the struct")
	}
}

func hasTypeMeta(obj runtime.Object) bool {
	return reflect.ValueOf(obj).Elem().FieldByName("TypeMeta").IsValid()
}
