package observedtest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"xebec.dev/api/scheme"
)

// Options narrow a pure replay.
type Options struct {
	// Kinds to replay; empty is all that the scheme knows.
	Kinds []string
	// Ignore are paths of created objects that admission or allocation set.
	Ignore []string
	// Skip are case ids that a pure replay can't decide, with the reason.
	Skip map[string]string
	// Settle does to a created object what controllers do at once.
	Settle func(obj runtime.Object)
}

// Run replays, without a server, the single creates of the files: decode,
// default, prepare, validate; it compares the object or the Status. Cases with
// other steps, other users or tables are left to the replay against a server.
func Run(t *testing.T, s *scheme.Scheme, o Options, files ...string) {
	t.Helper()
	kinds := map[string]bool{}
	for _, k := range o.Kinds {
		kinds[k] = true
	}
	ran := 0
	for _, file := range files {
		cases, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			for i := range c.Steps {
				if i >= len(c.Observed) || !pureCreate(&c.Steps[i], &c.Observed[i]) {
					continue
				}
				r, ok := resourceOf(s, c.Steps[i].Path)
				if !ok || len(kinds) > 0 && !kinds[r.Kind] || o.Skip[c.ID] != "" {
					continue
				}
				ran++
				t.Run(c.ID, func(t *testing.T) { replayCreate(t, r, &c.Steps[i], &c.Observed[i], o.Ignore) })
			}
		}
	}
	if ran == 0 {
		t.Fatal("no recorded create matched")
	}
}

func pureCreate(s *Step, o *Observed) bool {
	_, isObject := s.Body.(map[string]any)
	return s.Do == "POST" && isObject && !strings.Contains(s.Path, "?") && (s.Type == "" || s.Type == "application/json") &&
		(s.Accept == "" || s.Accept == "application/json") && (o.Code == 201 || o.Code == 422)
}

func resourceOf(s *scheme.Scheme, path string) (scheme.Served, bool) {
	p := strings.Split(strings.Trim(path, "/"), "/")
	var gvr schema.GroupVersionResource
	switch {
	case len(p) > 2 && p[0] == "api":
		gvr.Version, p = p[1], p[2:]
	case len(p) > 3 && p[0] == "apis":
		gvr.Group, gvr.Version, p = p[1], p[2], p[3:]
	default:
		return scheme.Served{}, false
	}
	if p[0] == "namespaces" && len(p) == 3 {
		p = p[2:]
	}
	if len(p) != 1 {
		return scheme.Served{}, false
	}
	gvr.Resource = p[0]
	r, ok := s.At(gvr)
	return r, ok && r.At.New == nil
}

func replayCreate(t *testing.T, r scheme.Served, step *Step, want *Observed, ignore []string) {
	t.Helper()
	const namespace = "r0123456789"
	text, _ := json.Marshal(step.Body)
	obj := r.New()
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "$NS", namespace)), obj); err != nil {
		t.Skipf("does not decode: %v", err)
	}
	got := Observed{Code: 201, Body: obj}
	if status := create(r.Resource, obj, namespace); status != nil {
		got = Observed{Code: int(status.Code), Body: status}
	}
	var body any
	text, _ = json.Marshal(got.Body)
	if err := json.Unmarshal(text, &body); err != nil {
		t.Fatal(err)
	}
	s := *step
	s.Ignore = append(append([]string{}, step.Ignore...), ignore...)
	var diff []string
	if got.Code != want.Code {
		diff = append(diff, "code differs: "+brief(body)+" / want "+brief(want.Body))
	} else {
		diff = Differences(Normal(want.Body, namespace, &s, nil), Normal(body, namespace, &s, nil), "")
	}
	if len(diff) > 0 {
		t.Errorf("%s\n  %s", brief(step.Body), strings.Join(diff, "\n  "))
	}
}

func create(r *scheme.Resource, obj runtime.Object, namespace string) *metav1.Status {
	st := &r.Strategy
	if st.Default != nil {
		st.Default(obj)
	}
	obj.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
	meta := obj.(metav1.Object)
	if r.Namespaced {
		meta.SetNamespace(namespace)
	}
	if meta.GetName() == "" && meta.GetGenerateName() != "" {
		meta.SetName(meta.GetGenerateName() + "abcde")
	}
	meta.SetUID("12345678-1234-1234-1234-123456789012")
	meta.SetCreationTimestamp(metav1.NewTime(time.Now()))
	c := scheme.Context{User: scheme.UserInfo{Name: "admin", Groups: []string{"system:masters", "system:authenticated"}}, Now: metav1.Now()}
	if st.PrepareCreate != nil {
		st.PrepareCreate(c, obj)
	}
	if st.SpecChanged != nil {
		meta.SetGeneration(1)
	}
	var errs field.ErrorList
	if !st.OwnMetadata {
		errs = r.ValidateMetadata(meta)
	}
	if st.ValidateCreate != nil {
		errs = append(errs, st.ValidateCreate(obj)...)
	}
	if len(errs) == 0 {
		return nil
	}
	status := apierrors.NewInvalid(r.GroupVersionKind().GroupKind(), meta.GetName(), errs).Status()
	status.Kind, status.APIVersion = "Status", "v1"
	return &status
}
