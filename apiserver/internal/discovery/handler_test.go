package discovery

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"xebec.dev/api/builtin"
	"xebec.dev/api/observedtest"
)

func handler() *Handler {
	h := NewHandler("127.0.0.1:6443")
	s := builtin.Scheme()
	h.Set(FromScheme(s, func(gv schema.GroupVersion, resource string) bool {
		served, ok := s.At(gv.WithResource(resource))
		return ok && !served.At.OffByDefault && !observedtest.Since137(gv, resource)
	}))
	return h
}

func get(t *testing.T, h *Handler, path, accept string) (int, string, any) {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	found, err := h.Serve(w, r)
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status):
		s := status.Status()
		s.Kind, s.APIVersion = "Status", "v1"
		return int(s.Code), "", plain(t, s)
	case err != nil:
		t.Fatal(err)
	case !found:
		return 404, "", nil
	}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/yaml") {
		return w.Code, w.Header().Get("Content-Type"), w.Body.String()
	}
	var v any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return w.Code, w.Header().Get("Content-Type"), v
}

func plain(t *testing.T, v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRecorded(t *testing.T) {
	cases, err := observedtest.Load("machinery-negotiation.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	h := handler()
	for _, c := range cases {
		if !strings.Contains(c.ID, "/discovery") {
			continue
		}
		for i, step := range c.Steps {
			want := c.Observed[i]
			code, _, got := get(t, h, step.Path, step.Accept)
			if code != want.Code {
				t.Errorf("%s %s: %d, want %d", step.Path, step.Accept, code, want.Code)
			}
			strip(got, step.Ignore)
			strip(want.Body, step.Ignore)
			if step.Path == "/apis" && code == 200 && len(step.Ignore) == 0 {
			}
			if !reflect.DeepEqual(got, want.Body) {
				t.Errorf("%s %s\n got %s\nwant %s", step.Path, step.Accept, text(got), text(want.Body))
			}
		}
	}
}

func strip(v any, fields []string) {
	if m, ok := v.(map[string]any); ok {
		for _, f := range fields {
			delete(m, f)
		}
	}
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestAggregatedAsRecorded(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(observedtest.Dir(), "static", "discovery-aggregated.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
	h := handler()
	for _, path := range []string{"api", "apis"} {
		_, media, got := get(t, h, "/"+path, accept)
		if media != accept {
			t.Errorf("Content-Type %q", media)
		}
		if !reflect.DeepEqual(got, want[path]) {
			t.Errorf("/%s\n got %s\nwant %s", path, text(got), text(want[path]))
		}
	}
}

func TestETag(t *testing.T) {
	h := handler()
	r := httptest.NewRequest("GET", "/apis", nil)
	r.Header.Set("Accept", "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	w := httptest.NewRecorder()
	if _, err := h.Serve(w, r); err != nil {
		t.Fatal(err)
	}
	etag := w.Header().Get("ETag")
	if len(etag) != 130 || w.Code != 200 {
		t.Fatalf("%d, ETag %s", w.Code, etag)
	}
	unknown := runtime.Unknown{}
	if err := unknown.Unmarshal(w.Body.Bytes()[4:]); err != nil {
		t.Fatal(err)
	}
	var list apidiscovery.APIGroupDiscoveryList
	if err := list.Unmarshal(unknown.Raw); err != nil || len(list.Items) < 15 {
		t.Fatalf("%d groups, %v", len(list.Items), err)
	}
	r.Header.Set("If-None-Match", etag)
	w = httptest.NewRecorder()
	if _, err := h.Serve(w, r); err != nil || w.Code != 304 || w.Body.Len() != 0 {
		t.Fatalf("%d, %d bytes, %v", w.Code, w.Body.Len(), err)
	}
}

func TestOffByDefaultIsNotListed(t *testing.T) {
	groups := FromScheme(builtin.Scheme(), func(gv schema.GroupVersion, _ string) bool { return gv.Group == "apps" })
	if len(groups) != 1 || groups[0].Name != "apps" {
		t.Errorf("%v", groups)
	}
}
