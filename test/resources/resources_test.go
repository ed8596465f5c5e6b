package resources

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	pb "xebec.dev/proto/gen/control/v1"
	"xebec.dev/test/apiservertest"
)

const (
	jsonPatch      = "application/json-patch+json"
	mergePatch     = "application/merge-patch+json"
	strategicPatch = "application/strategic-merge-patch+json"
	applyPatch     = "application/apply-patch+yaml"
)

// served is what discovery says of a resource.
type served struct {
	Name       string
	Kind       string
	Namespaced bool
	Verbs      []string
}

type suite struct {
	server    *apiservertest.Server
	client    *http.Client
	objects   pb.ObjectsClient
	resources map[string]served // by group/version/name, with subresources
}

// notStored are resources at versions other than that of their storage.
var notStored = map[string]bool{
	"autoscaling/v1/horizontalpodautoscalers": true, "events.k8s.io/v1/events": true,
	"certificates.k8s.io/v1/clustertrustbundles": true, "certificates.k8s.io/v1/podcertificaterequests": true,
	"storagemigration.k8s.io/v1/storageversionmigrations": true,
}

// TestResources is the matrix: every resource, every verb, both encodings,
// both front doors.
func TestResources(t *testing.T) {
	s := newSuiteOf(t, apiservertest.Start(t, "--disable-admission-plugins=ServiceAccount"))
	fixtures := loadFixtures(t)
	s.covered(t, fixtures)
	for i, f := range fixtures {
		group, version := f.groupVersion()
		t.Run(strings.Trim(group+"."+version+"."+f.Resource, "."), func(t *testing.T) {
			t.Parallel()
			for j, way := range []string{"json", "protobuf", "grpc"} {
				t.Run(way, func(t *testing.T) {
					namespace := fmt.Sprintf("m%d%s", i, way)
					f := f.in(t, namespace, 3*i+j+1)
					a := s.api(t, f, namespace, way)
					if way == "grpc" && notStored[fmt.Sprint(f.Object["apiVersion"], "/", f.Resource)] {
						t.Skip("gRPC carries the version that is stored")
					}
					if f.Review != nil {
						review(t, f, a)
					} else {
						exercise(t, s, f, a)
					}
					refuse(t, f, a)
				})
			}
		})
	}
}

func newSuiteOf(t *testing.T, server *apiservertest.Server) *suite {
	s := &suite{server: server, client: server.Client(t), resources: map[string]served{}}
	conn, err := grpc.NewClient(strings.TrimPrefix(server.URL, "https://"), grpc.WithTransportCredentials(credentials.NewTLS(server.TLS(t))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s.objects = pb.NewObjectsClient(conn)
	plain := &rest{client: s.client}
	groups, err := plain.do(http.MethodGet, server.URL+"/apis", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	versions := []string{"/api/v1"}
	for _, g := range groups["groups"].([]any) {
		for _, v := range g.(object)["versions"].([]any) {
			versions = append(versions, "/apis/"+v.(object)["groupVersion"].(string))
		}
	}
	for _, v := range versions {
		l, err := plain.do(http.MethodGet, server.URL+v, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(l["resources"])
		if err != nil {
			t.Fatal(err)
		}
		var all []served
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			s.resources[fmt.Sprint(l["groupVersion"], "/", r.Name)] = r
		}
	}
	return s
}

// covered fails for a resource that can be created and has no fixture.
func (s *suite) covered(t *testing.T, fixtures []fixture) {
	have := map[string]bool{}
	for _, f := range fixtures {
		have[fmt.Sprint(f.Object["apiVersion"], "/", f.Resource)] = true
	}
	for key, r := range s.resources {
		if slices.Contains(r.Verbs, "create") && !strings.Contains(r.Name, "/") && !have[key] {
			t.Errorf("no fixture for %s", key)
		}
	}
}

// api is a way to the fixture's object; its namespace is made for it.
func (s *suite) api(t *testing.T, f fixture, namespace, way string) api {
	apiVersion := f.Object["apiVersion"].(string)
	r, ok := s.resources[apiVersion+"/"+f.Resource]
	if !ok {
		t.Fatalf("%s %s is not served", apiVersion, f.Resource)
	}
	if !r.Namespaced {
		namespace = ""
	} else {
		f.metadata()["namespace"] = namespace
		ns := &rest{client: s.client, collection: s.server.URL + "/api/v1/namespaces"}
		if _, err := ns.create(object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": namespace}}); err != nil {
			t.Fatal(err)
		}
	}
	if way == "grpc" {
		group, version := f.groupVersion()
		return &rpc{objects: s.objects, resource: &pb.Resource{Group: group, Version: version, Resource: f.Resource},
			namespace: namespace, name: f.Name, apiVersion: apiVersion, kind: f.Object["kind"].(string)}
	}
	return s.rest(f, namespace, way == "protobuf")
}

func (s *suite) rest(f fixture, namespace string, protobuf bool) *rest {
	root := "/apis/" + f.Object["apiVersion"].(string)
	if f.Object["apiVersion"] == "v1" {
		root = "/api/v1"
	}
	if namespace != "" {
		root += "/namespaces/" + namespace
	}
	return &rest{client: s.client, collection: s.server.URL + root + "/" + f.Resource, name: f.Name, protobuf: protobuf}
}

// must ends the test for errors of calls that have to succeed.
func must(t *testing.T, what string) func(o object, err error) object {
	return func(o object, err error) object {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return o
	}
}

// exercise takes an object through its life and compares what every way shows.
func exercise(t *testing.T, s *suite, f fixture, a api) {
	namespace, _ := f.metadata()["namespace"].(string)
	plain := s.rest(f, namespace, false)
	items, version, err := a.list()
	if err != nil || len(items) != 0 {
		t.Fatalf("first list: %v, %v", items, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	events, err := a.watch(ctx, version)
	if err != nil {
		t.Fatal(err)
	}
	next := watcher(t, events)

	created := must(t, "create")(a.create(f.Object))
	for _, k := range []string{"uid", "resourceVersion", "creationTimestamp"} {
		if v, _ := metadata(created)[k].(string); v == "" {
			t.Errorf("created without %s", k)
		}
	}
	same(t, "created and got", created, must(t, "get")(a.get("")))
	same(t, "created and got as JSON", created, must(t, "get")(plain.get("")))
	same(t, "created and watched", created, next("ADDED", created))
	if items, _, err = a.list(); err != nil || len(items) != 1 {
		t.Fatalf("list: %d items, %v", len(items), err)
	}
	items[0]["apiVersion"], items[0]["kind"] = created["apiVersion"], created["kind"] // items of lists have none
	same(t, "created and listed", created, items[0])

	labels := func(o object, k, v string) object {
		return merged(o, object{"metadata": object{"labels": object{k: v}}})
	}
	changed := must(t, "update")(a.update("", labels(merged(created, f.Change), "by", "update")))
	if d := covers(changed, f.Change, ""); d != "" {
		t.Errorf("update: %s", d)
	}
	same(t, "updated and watched", changed, next("MODIFIED", changed))
	var stale *refusal
	if _, err := a.update("", labels(created, "by", "stale")); !errors.As(err, &stale) || stale.code != http.StatusConflict {
		t.Errorf("a stale update: %v", err)
	}
	for mediaType, patch := range map[string]string{
		jsonPatch:      `[{"op":"add","path":"/metadata/labels/json","value":"yes"}]`,
		mergePatch:     `{"metadata":{"labels":{"merge":"yes"}}}`,
		strategicPatch: `{"metadata":{"labels":{"strategic":"yes"}}}`,
		applyPatch:     fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %q, labels: {apply: \"yes\"}}", f.Object["apiVersion"], f.Object["kind"], f.Name),
	} {
		changed = must(t, mediaType)(a.patch("", mediaType, []byte(patch)))
		same(t, mediaType+" and watch", changed, next("MODIFIED", changed))
	}
	want := object{"by": "update", "json": "yes", "merge": "yes", "strategic": "yes", "apply": "yes"}
	if d := covers(metadata(changed)["labels"], want, "labels"); d != "" {
		t.Error(d)
	}
	if f.Status != nil {
		changed = statusOf(t, f, a, changed, next)
	}
	same(t, "at last as JSON", changed, must(t, "get")(plain.get("")))
	end(t, f, a, plain)
	for e := range events {
		if e.err != nil {
			t.Fatal(e.err)
		}
		if e.kind == "DELETED" {
			break
		}
	}
}

// statusOf writes the status subresource, which must leave the rest alone.
func statusOf(t *testing.T, f fixture, a api, have object, next func(string, object) object) object {
	patch, err := json.Marshal(object{"status": f.Status, "metadata": object{"labels": object{"status": "patched"}}})
	if err != nil {
		t.Fatal(err)
	}
	changed := must(t, "patch of the status")(a.patch("status", mergePatch, patch))
	if d := covers(changed["status"], f.Status, "status"); d != "" {
		t.Errorf("patch of the status: %s", d)
	}
	same(t, "the spec beside a status", object{"spec": have["spec"]}, object{"spec": changed["spec"]})
	next("MODIFIED", changed)
	got := must(t, "get of the status")(a.get("status"))
	same(t, "status and object", changed, got)
	annotated := merged(got, object{"status": f.Status, "metadata": object{"annotations": object{"a": "b"}}})
	changed = must(t, "update of the status")(a.update("status", annotated))
	if metadata(changed)["resourceVersion"] != metadata(got)["resourceVersion"] {
		next("MODIFIED", changed)
	}
	// An update of the object itself leaves the status alone.
	bare := merged(changed, object{"metadata": object{"labels": object{"last": "yes"}}})
	delete(bare, "status")
	changed = must(t, "update without a status")(a.update("", bare))
	if d := covers(changed["status"], f.Status, "status"); d != "" && f.Resource != "horizontalpodautoscalers" {
		t.Errorf("an update of the object took the status: %s", d)
	}
	next("MODIFIED", changed)
	return changed
}

// end deletes the object, taking away the finalizers that controllers would.
func end(t *testing.T, f fixture, a api, plain *rest) {
	if err := a.remove(); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if _, err := plain.get(""); err == nil {
		if f.Resource == "namespaces" {
			must(t, "finalize")(plain.update("finalize", object{"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": f.Name}, "spec": object{"finalizers": []any{}}}))
		} else if f.Resource != "customresourcedefinitions" {
			must(t, "unprotect")(plain.patch("", mergePatch, []byte(`{"metadata":{"finalizers":null}}`)))
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var gone *refusal
		if _, err := a.get(""); errors.As(err, &gone) && gone.code == http.StatusNotFound {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("deleted, and yet %v", err)
		}
	}
}

// watcher returns the object of the next event, which must be of a type and
// a version.
func watcher(t *testing.T, events <-chan event) func(kind string, o object) object {
	return func(kind string, o object) object {
		t.Helper()
		want := metadata(o)["resourceVersion"]
		for {
			select {
			case e := <-events:
				if e.err != nil {
					t.Fatalf("watch: %v", e.err)
				}
				if v := metadata(e.object)["resourceVersion"]; v != want {
					// The server's own controllers write too (of a CRD its conditions).
					if len(fmt.Sprint(v)) > len(fmt.Sprint(want)) || fmt.Sprint(v) > fmt.Sprint(want) {
						t.Fatalf("watched version %v, want %v", v, want)
					}
					continue
				}
				if e.kind != kind {
					t.Errorf("watched %s, want %s", e.kind, kind)
				}
				return e.object
			case <-time.After(time.Minute):
				t.Fatalf("no %s event", kind)
			}
		}
	}
}

func same(t *testing.T, what string, a, b object) {
	t.Helper()
	if !reflect.DeepEqual(a, b) {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		t.Errorf("%s differ\n%s\n%s", what, x, y)
	}
}

// review posts what is answered and not stored.
func review(t *testing.T, f fixture, a api) {
	want, ok := f.Review.(object)
	if !ok {
		return // nothing to be had without an object to act on
	}
	f.metadata()["name"] = nil
	delete(f.metadata(), "name")
	answer := must(t, "create")(a.create(f.Object))
	status, _ := want["status"].(object)
	if message, _ := status["error"].(string); message != "" {
		delete(status, "error")
		got, _ := answer["status"].(object)
		if text, _ := got["error"].(string); !strings.Contains(text, message) {
			t.Errorf("error %q, want %q", text, message)
		}
	}
	if d := covers(answer, want, ""); d != "" {
		t.Error(d)
	}
}

// refuse posts the invalid variants.
func refuse(t *testing.T, f fixture, a api) {
	for _, v := range f.Invalid {
		o := merged(f.Object, v.Patch)
		var no *refusal
		_, err := a.create(o)
		if !errors.As(err, &no) || no.code < 400 || no.code >= 500 || !strings.Contains(no.message, v.Says) {
			t.Errorf("%v: %v, want %s", v.Patch, err, v.Says)
		}
	}
}
