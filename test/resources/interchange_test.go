package resources

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"

	"xebec.dev/test/apiservertest"
)

// peer is the codec that Kubernetes stores built-in kinds with.
var peer = protobuf.NewSerializer(types, types)

// paths of keys that are not the resource's plural name.
var paths = map[string]string{
	"endpoints": "services/endpoints", "services": "services/specs", "nodes": "minions", "replicationcontrollers": "controllers",
	"ingresses": "ingress", "customresourcedefinitions": "apiextensions.k8s.io/customresourcedefinitions",
	"apiservices": "apiregistration.k8s.io/apiservices",
}

// storedAsJSON are the kinds of Kubernetes' own extension servers.
var storedAsJSON = map[string]bool{"customresourcedefinitions": true, "apiservices": true}

// storedBefore are kinds of v1.37's new stable versions, stored so that v1.36
// can read them.
var storedBefore = map[string]string{
	"ClusterTrustBundle": "certificates.k8s.io/v1beta1", "PodCertificateRequest": "certificates.k8s.io/v1beta1",
	"StorageVersionMigration": "storagemigration.k8s.io/v1beta1",
}

// TestInterchange looks at every kind's value in etcd with Kubernetes' own
// codec: ours are read and written again byte for byte, and theirs are served.
func TestInterchange(t *testing.T) {
	etcd := apiservertest.StartEtcd(t)
	db, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s := newSuiteOf(t, apiservertest.Start(t, "--etcd-servers="+etcd, "--disable-admission-plugins=ServiceAccount"))
	ways := map[string]*rest{} // by key, what the peer wrote
	for i, f := range loadFixtures(t) {
		gv := f.Object["apiVersion"]
		if f.Review != nil || gv == "autoscaling/v1" || gv == "events.k8s.io/v1" {
			continue // not stored, or not at this version
		}
		t.Run(fmt.Sprint(gv, ".", f.Resource), func(t *testing.T) {
			namespace := fmt.Sprintf("i%d", i)
			f := f.in(t, namespace, i+1)
			r := s.api(t, f, namespace, "json").(*rest)
			created := must(t, "create")(r.create(f.Object))
			key := storageKey(f)
			value := stored(t, db, key)
			if storedAsJSON[f.Resource] {
				o, err := fromJSON(value)
				if err != nil || o["kind"] != f.Object["kind"] || o["apiVersion"] != gv {
					t.Errorf("stored %.200s, %v", value, err)
				}
				return
			}
			readByPeer(t, value, created)

			// A value of the peer's under another name, and its next version.
			other := namespace + "-peer"
			if f.Resource == "ipaddresses" {
				other = fmt.Sprintf("192.0.3.%d", i+1)
			}
			obj, _, err := peer.Decode(value, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			o, err := untyped(obj)
			if err != nil {
				t.Fatal(err)
			}
			metadata(o)["name"], metadata(o)["uid"] = other, "11111111-2222-3333-4444-555555555555"
			switch f.Resource {
			case "jobs": // its labels name the other
				o["spec"].(object)["manualSelector"] = true
			case "services": // headless, without the other's address
				o["spec"].(object)["clusterIP"], o["spec"].(object)["clusterIPs"] = "None", []any{"None"}
			}
			key = strings.TrimSuffix(key, f.Name) + other
			theirs := writtenByPeer(t, o)
			if _, err := db.Put(t.Context(), key, string(theirs)); err != nil {
				t.Fatal(err)
			}
			r.name = other
			got := served200(t, r)
			readByPeer(t, theirs, got)
			must(t, "label")(r.patch("", mergePatch, []byte(`{"metadata":{"labels":{"a":"b"}}}`)))
			labelled := must(t, "get")(r.get(""))
			readByPeer(t, stored(t, db, key), labelled)
			if _, err := db.Put(t.Context(), key, string(theirs)); err != nil {
				t.Fatal(err)
			}
			ways[key] = r
		})
	}
	// A server that starts on the peer's values.
	s.server.Stop(t)
	s.server.Run(t)
	for _, key := range slices.Sorted(maps.Keys(ways)) {
		readByPeer(t, stored(t, db, key), served200(t, ways[key]))
	}
}

func storageKey(f fixture) string {
	path := paths[f.Resource]
	if path == "" {
		path = f.Resource
	}
	key := "/registry/" + path + "/"
	if ns, _ := f.metadata()["namespace"].(string); ns != "" {
		key += ns + "/"
	}
	return key + f.Name
}

func stored(t *testing.T, db *clientv3.Client, key string) []byte {
	t.Helper()
	got, err := db.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) != 1 {
		t.Fatalf("nothing at %s", key)
	}
	return got.Kvs[0].Value
}

// readByPeer checks that the peer's codec reads what is served, and would
// store the same bytes.
func readByPeer(t *testing.T, value []byte, served object) {
	t.Helper()
	obj, _, err := peer.Decode(value, nil, nil)
	if err != nil {
		t.Fatalf("the peer reads: %v\n%.300q", err, value)
	}
	o, err := untyped(obj)
	if err != nil {
		t.Fatal(err)
	}
	if v := metadata(o)["resourceVersion"]; v != nil {
		t.Errorf("a resourceVersion is stored: %v", v)
	}
	want := merged(served, object{"metadata": object{"resourceVersion": nil}})
	if version := storedBefore[served["kind"].(string)]; version != "" {
		want["apiVersion"] = version
		// What v1 has no more is null.
		maps.DeleteFunc(o["spec"].(object), func(_ string, v any) bool { return v == nil })
	}
	same(t, "stored and served", o, want)
	var again bytes.Buffer
	if err := peer.Encode(obj, &again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), value) {
		t.Errorf("the peer stores other bytes of %v\n%q\n%q", o["kind"], value, again.Bytes())
	}
}

func writtenByPeer(t *testing.T, o object) []byte {
	t.Helper()
	obj, err := typed(o)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := peer.Encode(obj, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// served200 waits for an object that was written past the server.
func served200(t *testing.T, r *rest) object {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		o, err := r.get("")
		if err == nil {
			return o
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestForeignValues are values that Kubernetes may have left: of older
// versions, in JSON, without a UID.
func TestForeignValues(t *testing.T) {
	etcd := apiservertest.StartEtcd(t)
	db, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for key, o := range map[string]object{
		"/registry/configmaps/default/json": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "json", "namespace": "default"}, "data": object{"a": "b"}},
		"/registry/horizontalpodautoscalers/default/old": {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": object{"name": "old", "namespace": "default"},
			"spec": object{"maxReplicas": 3, "targetCPUUtilizationPercentage": 70, "scaleTargetRef": object{"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}},
	} {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Put(t.Context(), key, string(text)); err != nil {
			t.Fatal(err)
		}
	}
	s := newSuiteOf(t, apiservertest.Start(t, "--etcd-servers="+etcd))
	plain := &rest{client: s.client}
	o, err := plain.do(http.MethodGet, s.server.URL+"/api/v1/namespaces/default/configmaps/json", "", nil)
	if err != nil || fmt.Sprint(o["data"]) != "map[a:b]" {
		t.Errorf("stored in JSON: %v, %v", o, err)
	}
	o, err = plain.do(http.MethodGet, s.server.URL+"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/old", "", nil)
	if err != nil || !strings.Contains(fmt.Sprint(o["spec"]), "averageUtilization:70") {
		t.Errorf("stored at autoscaling/v1: %v, %v", o, err)
	}
}
