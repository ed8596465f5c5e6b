package encode

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"xebec.dev/api/builtin"
	"xebec.dev/api/codec"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/storage"
)

// stored is a kind with some objects as they are stored.
type stored struct {
	scheme.Served
	objects []*storage.Object
}

// everyStored are all stored kinds at all versions, each with a full object
// from k8s.io/api's golden files and an empty one.
func everyStored(t testing.TB) []stored {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "testdata", "HEAD")
	var all []stored
	for _, r := range builtin.Scheme().Resources() {
		if r.StoragePrefix == "" {
			continue
		}
		if _, ok := r.New().(scheme.Object); !ok {
			continue
		}
		objects := []*storage.Object{{Name: "full", Raw: goldenRaw(t, dir, r), Revision: 9876543210}, {Name: "empty", Revision: 7}}
		for _, v := range r.ServedVersions() {
			all = append(all, stored{scheme.Served{Resource: r, At: v}, objects})
		}
	}
	return all
}

// goldenRaw is the golden object as it would be stored.
func goldenRaw(t testing.TB, dir string, r *scheme.Resource) []byte {
	group := r.Group
	if group == "" {
		group = "core"
	}
	b, err := os.ReadFile(filepath.Join(dir, group+"."+r.Version+"."+r.Kind+".pb"))
	if err != nil {
		t.Logf("%s: %v", r.Kind, err)
		return nil
	}
	env, err := codec.ParseEnvelope(b)
	if err != nil {
		t.Fatal(err)
	}
	obj := r.New().(scheme.Object)
	if err := obj.Unmarshal(env.Raw); err != nil {
		t.Fatal(err)
	}
	obj.SetResourceVersion("")
	raw, err := obj.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// shown is what the struct of an object answers: the way without shortcuts.
func shown(t *testing.T, e *Encoder, f Format, o *storage.Object) []byte {
	t.Helper()
	obj, err := e.Decode(o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.AppendStruct(nil, f, obj)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var plainFormats = []Format{{}, {Pretty: true}, {Media: YAML}, {Media: Protobuf},
	{Shape: Partial}, {Shape: Partial, Beta: true}, {Shape: Partial, Media: YAML}, {Shape: Partial, Media: Protobuf},
	{Shape: Table}, {Shape: Table, Include: IncludeNone, Beta: true}, {Shape: Table, Include: IncludeObject, NoColumns: true}, {Shape: Table, Media: YAML}}

func TestObjects(t *testing.T) {
	quick := 0
	for _, s := range everyStored(t) {
		e := New(s.Served)
		for _, f := range plainFormats {
			if e.fromBytes(f) {
				quick++
			} else if s.At.Encode == nil && s.At.New == nil && f.Shape != Table {
				t.Errorf("%s %s %+v goes over structs", s.At.Version, s.Kind, f)
			}
			for _, o := range s.objects {
				if s.At.New != nil && s.At.Encode == nil {
					continue // the version has no conversion yet
				}
				got, err := e.AppendObject([]byte("before"), f, o)
				if err != nil {
					t.Fatalf("%s %+v: %v", s.Kind, f, err)
				}
				sameAnswer(t, s.Kind, f, bytes.TrimPrefix(got, []byte("before")), shown(t, e, f, o), o.Revision)
			}
		}
	}
	if quick == 0 {
		t.Error("nothing was made of bytes")
	}
}

// sameAnswer compares answers: text by value, protobuf by what it decodes to.
func sameAnswer(t *testing.T, name string, f Format, got, want []byte, revision int64) {
	t.Helper()
	if f.Media == Protobuf {
		sameMessage(t, name, got, want, revision)
		return
	}
	if f.Media == JSON && !f.Pretty && (bytes.Count(got, []byte{'\n'}) != 1 || got[len(got)-1] != '\n') {
		t.Errorf("%s: not one line: %s", name, got)
	}
	var g, w any
	if err := yaml.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v in %s", name, err, got)
	}
	if err := yaml.Unmarshal(want, &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s %+v\n got %s\nwant %s", name, f, got, want)
	}
	if f.Media == YAML && !bytes.Equal(got, want) {
		t.Errorf("%s: YAML in another form: %s", name, got)
	}
}

func sameMessage(t *testing.T, name string, got, want []byte, revision int64) {
	t.Helper()
	g, err := codec.ParseEnvelope(got)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	w, err := codec.ParseEnvelope(want)
	if err != nil {
		t.Fatal(err)
	}
	if g.APIVersion != w.APIVersion || g.Kind != w.Kind {
		t.Errorf("%s: %s %s, want %s %s", name, g.APIVersion, g.Kind, w.APIVersion, w.Kind)
	}
	gm, wm := newOf(w), newOf(w)
	if err := gm.Unmarshal(g.Raw); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := wm.Unmarshal(w.Raw); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gm, wm) {
		t.Errorf("%s\n got %v\nwant %v", name, gm, wm)
	}
	if m, ok := gm.(metav1.Object); ok && m.GetResourceVersion() != strconv.FormatInt(revision, 10) {
		t.Errorf("%s: resourceVersion %q", name, m.GetResourceVersion())
	}
}

var table = builtin.Scheme()

// newOf makes an empty struct of an envelope's kind.
func newOf(env codec.Envelope) scheme.Message {
	switch env.Kind {
	case partialKind:
		return &metav1.PartialObjectMetadata{}
	case partialsKind:
		return &metav1.PartialObjectMetadataList{}
	}
	kind, isList := strings.CutSuffix(env.Kind, "List")
	gvk := parseKind(env.APIVersion, kind)
	s, ok := table.Kind(gvk)
	if !ok {
		panic(gvk.String())
	}
	pick := func(version, stored func() runtime.Object) scheme.Message {
		if version != nil {
			return version().(scheme.Message)
		}
		return stored().(scheme.Message)
	}
	if isList {
		return pick(s.At.NewList, s.NewList)
	}
	return pick(s.At.New, s.New)
}

func TestLists(t *testing.T) {
	remaining := int64(12)
	for _, s := range everyStored(t) {
		if s.At.New != nil && s.At.Encode == nil {
			continue
		}
		e := New(s.Served)
		for _, l := range []*storage.List{
			{Revision: 5, Objects: s.objects},
			{Revision: 1 << 40},
			{Revision: 6, Objects: s.objects, Continue: "token<>", Remaining: &remaining},
		} {
			for _, f := range []Format{{}, {Pretty: true}, {Media: YAML}, {Media: Protobuf},
				{Shape: Table}, {Shape: Table, Pretty: true, Include: IncludeNone}, {Shape: Table, Include: IncludeObject},
				{Shape: PartialList}, {Shape: PartialList, Media: Protobuf}, {Shape: PartialList, Media: YAML, Beta: true}} {
				checkList(t, e, f, l)
			}
		}
	}
}

func checkList(t *testing.T, e *Encoder, f Format, l *storage.List) {
	t.Helper()
	var got, want bytes.Buffer
	if err := e.WriteList(&got, f, l); err != nil {
		t.Fatal(err)
	}
	if err := e.writeDecoded(&want, f, l); err != nil {
		t.Fatal(err)
	}
	sameAnswer(t, e.listKind, f, got.Bytes(), want.Bytes(), l.Revision)
}

func TestLargeListGoesOutInPieces(t *testing.T) {
	e, o := podEncoder(t)
	l := &storage.List{Revision: 1}
	for range 400 {
		l.Objects = append(l.Objects, o)
	}
	for _, f := range []Format{{}, {Media: Protobuf}} {
		var got, want bytes.Buffer
		w := &largest{w: &got}
		if err := e.WriteList(w, f, l); err != nil {
			t.Fatal(err)
		}
		if w.size > 2*piece || w.writes < 3 {
			t.Errorf("%d writes of at most %d bytes", w.writes, w.size)
		}
		if err := e.writeDecoded(&want, f, l); err != nil {
			t.Fatal(err)
		}
		sameAnswer(t, "pods", f, got.Bytes(), want.Bytes(), 1)
		if err := e.WriteList(failing{}, f, l); err != io.ErrClosedPipe {
			t.Errorf("a failed write gave %v", err)
		}
	}
}

type largest struct {
	w            io.Writer
	size, writes int
}

func (l *largest) Write(b []byte) (int, error) {
	l.size = max(l.size, len(b))
	l.writes++
	return l.w.Write(b)
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// podEncoder has an ordinary running pod.
func podEncoder(t testing.TB) (*Encoder, *storage.Object) {
	t.Helper()
	s, _ := table.Kind(parseKind("v1", "Pod"))
	b, err := os.ReadFile("../../../api/codec/testdata/pod.json")
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		t.Fatal(err)
	}
	pod := s.New().(scheme.Object)
	if err := json.Unmarshal(compact.Bytes(), pod); err != nil {
		t.Fatal(err)
	}
	raw, err := pod.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return New(s), &storage.Object{Namespace: pod.GetNamespace(), Name: pod.GetName(), Raw: raw, Revision: 4711}
}
