package openapi

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gnostic "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"
	smdproto "k8s.io/kube-openapi/pkg/util/proto"

	"xebec.dev/api/builtin"
	"xebec.dev/api/observedtest"
	"xebec.dev/apiserver/internal/discovery"
)

func groups() []discovery.Group {
	s := builtin.Scheme()
	return discovery.FromScheme(s, func(gv schema.GroupVersion, resource string) bool {
		served, ok := s.At(gv.WithResource(resource))
		return ok && !served.At.OffByDefault && !observedtest.Since137(gv, resource)
	})
}

func handler() *Handler {
	h := NewHandler("v1.37.2")
	h.Set(groups())
	return h
}

func get(t testing.TB, h *Handler, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	if found, err := h.Serve(w, r); !found || err != nil {
		t.Fatalf("%s: %v %v", path, found, err)
	}
	return w
}

func document3(t testing.TB, h *Handler, path string) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(get(t, h, path).Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// The index names what Kubernetes' names, and each entry leads to a document.
func TestIndex(t *testing.T) {
	h := handler()
	paths := document3(t, h, "/openapi/v3")["paths"].(map[string]any)
	data, err := os.ReadFile(filepath.Join(observedtest.Dir(), "static", "openapi-v3-paths.txt"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(data))
	for _, p := range want {
		if strings.Contains(p, "apiextensions") || strings.Contains(p, "apiregistration") {
			continue
		}
		if paths[p] == nil {
			t.Errorf("%s is missing", p)
		}
	}
	for p, e := range paths {
		if !slices.Contains(want, p) {
			t.Errorf("%s is not served by Kubernetes", p)
		}
		w := get(t, h, e.(map[string]any)["serverRelativeURL"].(string))
		if w.Code != 200 || w.Header().Get("Cache-Control") != "public, immutable" || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %v", p, w.Code, w.Header())
		}
	}
}

func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func TestOperations(t *testing.T) {
	h := handler()
	core, apps := document3(t, h, "/openapi/v3/api/v1"), document3(t, h, "/openapi/v3/apis/apps/v1")
	for _, c := range []struct {
		doc                      map[string]any
		path, method, id, action string
	}{
		{core, "/api/v1/", "get", "getCoreV1APIResources", ""},
		{core, "/api/v1/nodes", "get", "listCoreV1Node", "list"},
		{core, "/api/v1/nodes", "delete", "deleteCoreV1CollectionNode", "deletecollection"},
		{core, "/api/v1/pods", "get", "listCoreV1PodForAllNamespaces", "list"},
		{core, "/api/v1/namespaces/{namespace}/pods", "post", "createCoreV1NamespacedPod", "post"},
		{core, "/api/v1/namespaces/{namespace}/pods/{name}", "get", "readCoreV1NamespacedPod", "get"},
		{core, "/api/v1/namespaces/{namespace}/pods/{name}/status", "put", "replaceCoreV1NamespacedPodStatus", "put"},
		{core, "/api/v1/namespaces/{namespace}/pods/{name}/binding", "post", "createCoreV1NamespacedPodBinding", "post"},
		{core, "/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "readCoreV1NamespacedPodLog", "get"},
		{core, "/api/v1/namespaces/{namespace}/pods/{name}/exec", "post", "connectCoreV1PostNamespacedPodExec", "connect"},
		{core, "/api/v1/nodes/{name}/proxy/{path}", "head", "connectCoreV1HeadNodeProxyWithPath", "connect"},
		{core, "/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", "post", "createCoreV1NamespacedServiceAccountToken", "post"},
		{core, "/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize", "put"},
		{core, "/api/v1/watch/namespaces/{namespace}/pods", "get", "watchCoreV1NamespacedPodList", "watchlist"},
		{core, "/api/v1/watch/nodes/{name}", "get", "watchCoreV1Node", "watch"},
		{core, "/api/v1/watch/pods", "get", "watchCoreV1PodListForAllNamespaces", "watchlist"},
		{apps, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "patch", "patchAppsV1NamespacedDeploymentScale", "patch"},
	} {
		o, _ := at(c.doc, "paths", c.path, c.method).(map[string]any)
		if action, _ := o["x-kubernetes-action"].(string); o["operationId"] != c.id || action != c.action {
			t.Errorf("%s %s: %v %v", c.method, c.path, o["operationId"], action)
		}
	}
	scale := at(apps, "paths", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "get", "x-kubernetes-group-version-kind")
	if at(scale, "group") != "autoscaling" || at(scale, "kind") != "Scale" {
		t.Errorf("scale: %v", scale)
	}
	if at(core, "components", "schemas", "io.k8s.api.core.v1.PodSpec", "properties", "containers", "x-kubernetes-patch-merge-key") != "name" {
		t.Error("containers without a merge key")
	}
	if at(core, "components", "schemas", "io.k8s.api.core.v1.Pod", "properties", "spec", "allOf") == nil {
		t.Error("a reference with a default is not wrapped")
	}
	for _, p := range at(core, "paths", "/api/v1/namespaces/{namespace}/pods", "post", "parameters").([]any) {
		if at(p, "name") == "fieldValidation" {
			return
		}
	}
	t.Error("create has no fieldValidation, which clients look for")
}

// Clients read the protobuf form with kube-openapi's models.
func TestV2Protobuf(t *testing.T) {
	w := get(t, handler(), "/openapi/v2", "Accept", typeV2Old+",application/json")
	if w.Header().Get("Content-Type") != typeV2 {
		t.Errorf("%v", w.Header())
	}
	doc := &gnostic.Document{}
	if err := proto.Unmarshal(w.Body.Bytes(), doc); err != nil {
		t.Fatal(err)
	}
	models, err := smdproto.NewOpenAPIData(doc)
	if err != nil {
		t.Fatal(err)
	}
	pod, ok := models.LookupModel("io.k8s.api.core.v1.Pod").(*smdproto.Kind)
	if !ok || pod.Fields["spec"] == nil || pod.GetExtensions()["x-kubernetes-group-version-kind"] == nil {
		t.Errorf("Pod: %v", pod)
	}
	for _, name := range models.ListModels() {
		if models.LookupModel(name) == nil {
			t.Errorf("%s cannot be read", name)
		}
	}
}

// The library's own conversion of our JSON says the same.
func TestV2ProtobufIsTheLibrarys(t *testing.T) {
	few := slices.DeleteFunc(groups(), func(g discovery.Group) bool { return g.Name != "apps" })
	h := NewHandler("v1.37.2")
	h.Set(few)
	want, err := gnostic.ParseDocument(get(t, h, "/openapi/v2").Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	got := &gnostic.Document{}
	if err := proto.Unmarshal(get(t, h, "/openapi/v2", "Accept", typeV2).Body.Bytes(), got); err != nil {
		t.Fatal(err)
	}
	if a, b := len(got.Definitions.AdditionalProperties), len(want.Definitions.AdditionalProperties); a != b || a == 0 {
		t.Errorf("%d definitions, want %d", a, b)
	}
	for i, d := range want.Definitions.AdditionalProperties {
		plainYAML(d.Value)
		if g := got.Definitions.AdditionalProperties[i]; !proto.Equal(dropYAML(g), dropYAML(d)) {
			t.Errorf("%s\n got %v\nwant %v", d.Name, g, d)
		}
	}
	for i, p := range want.Paths.Path {
		if g := got.Paths.Path[i]; !proto.Equal(dropPathYAML(g), dropPathYAML(p)) {
			t.Errorf("%s\n got %v\nwant %v", p.Name, g, p)
		}
	}
}

func plainYAML(*gnostic.Schema) {}

// dropYAML leaves out extension values, which are YAML in one and JSON in the
// other.
func dropYAML(s *gnostic.NamedSchema) *gnostic.NamedSchema {
	s = proto.Clone(s).(*gnostic.NamedSchema)
	var clean func(s *gnostic.Schema)
	clean = func(s *gnostic.Schema) {
		if s == nil {
			return
		}
		for _, e := range s.VendorExtension {
			e.Value = nil
		}
		for _, e := range s.Enum {
			e.Yaml = strings.Trim(strings.TrimSpace(e.Yaml), `"`)
		}
		for _, p := range s.GetProperties().GetAdditionalProperties() {
			clean(p.Value)
		}
		for _, i := range s.GetItems().GetSchema() {
			clean(i)
		}
		clean(s.GetAdditionalProperties().GetSchema())
	}
	clean(s.Value)
	return s
}

func dropPathYAML(p *gnostic.NamedPathItem) *gnostic.NamedPathItem {
	p = proto.Clone(p).(*gnostic.NamedPathItem)
	for _, o := range []*gnostic.Operation{p.Value.Get, p.Value.Put, p.Value.Post, p.Value.Delete, p.Value.Patch} {
		if o != nil {
			for _, e := range o.VendorExtension {
				e.Value = nil
			}
		}
	}
	return p
}

func TestV3Protobuf(t *testing.T) {
	w := get(t, handler(), "/openapi/v3/apis/coordination.k8s.io/v1", "Accept", typeV3)
	if w.Code != 200 || w.Header().Get("Content-Type") != typeV3 || w.Body.Len() < 10000 {
		t.Errorf("%d %v %d bytes", w.Code, w.Header(), w.Body.Len())
	}
}

func TestCaching(t *testing.T) {
	h := handler()
	const path = "/openapi/v3/apis/batch/v1"
	w := get(t, h, path, "Accept-Encoding", "gzip")
	if w.Header().Get("Content-Encoding") != "gzip" || w.Header().Get("Cache-Control") != "" {
		t.Errorf("%v", w.Header())
	}
	if w = get(t, h, path, "If-None-Match", w.Header().Get("ETag")); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("%d", w.Code)
	}
	if w = get(t, h, path+"?hash=other"); w.Code != 301 || !strings.HasPrefix(w.Header().Get("Location"), path+"?hash=") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w = get(t, h, path, "Accept", "text/html"); w.Code != 406 {
		t.Errorf("%d", w.Code)
	}
	for _, p := range []string{"/openapi/v3/apis/none.io/v1", "/openapi/v3/api/v9", "/openapi/v3/nope"} {
		if w = get(t, h, p); w.Code != 404 || w.Body.Len() != 0 {
			t.Errorf("%s: %d", p, w.Code)
		}
	}
	again := handler()
	if a, b := get(t, h, "/openapi/v3").Body.String(), get(t, again, "/openapi/v3").Body.String(); a != b {
		t.Error("the index changes between servers of one build")
	}
}

func BenchmarkCoreV3(b *testing.B) {
	g := groups()
	b.ReportAllocs()
	for b.Loop() {
		h := NewHandler("v1.37.2")
		h.Set(g)
		get(b, h, "/openapi/v3/api/v1", "Accept-Encoding", "gzip")
	}
}

func BenchmarkV2Protobuf(b *testing.B) {
	g := groups()
	b.ReportAllocs()
	for b.Loop() {
		h := NewHandler("v1.37.2")
		h.Set(g)
		get(b, h, "/openapi/v2", "Accept-Encoding", "gzip", "Accept", typeV2)
	}
}
