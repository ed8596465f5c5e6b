package resources

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"xebec.dev/test/apiservertest"
)

// TestRefusedService: a write that is refused keeps neither addresses nor node
// ports, and takes none from the service that is stored.
func TestRefusedService(t *testing.T) {
	s := newSuiteOf(t, apiservertest.Start(t))
	services := &rest{client: s.client, collection: s.server.URL + "/api/v1/namespaces/default/services"}
	service := func(name, ip string, port int, more object) object {
		o := object{"apiVersion": "v1", "kind": "Service", "metadata": object{"name": name}, "spec": object{
			"type": "NodePort", "clusterIP": ip, "ports": []any{object{"port": 80, "nodePort": port}},
		}}
		return merged(o, object{"spec": more})
	}
	refused := func(what string, err error) {
		t.Helper()
		var no *refusal
		if !errors.As(err, &no) || no.code != http.StatusUnprocessableEntity && no.code != http.StatusConflict {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must(t, "create")(services.create(service("a", "10.0.0.20", 30020, nil)))

	_, err := services.create(service("a", "10.0.0.21", 30021, nil))
	refused("a name that is taken", err)
	_, err = services.create(service("b", "10.0.0.21", 30021, object{"externalIPs": []any{"nonsense"}}))
	refused("an invalid service", err)
	a := &rest{client: s.client, collection: services.collection, name: "a"}
	for _, patch := range []object{
		{"clusterIP": "10.0.0.22"},
		{"clusterIP": "10.0.0.22", "clusterIPs": []any{"10.0.0.22"}},
		{"ports": []any{object{"port": 80, "nodePort": 30022}}, "externalIPs": []any{"nonsense"}},
		{"type": "ExternalName", "externalName": "not a name"},
	} {
		text, err := json.Marshal(object{"spec": patch})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.patch("", mergePatch, text)
		refused(fmt.Sprint(patch), err)
	}
	// What a has, nobody else can have.
	_, err = services.create(service("c", "10.0.0.20", 30023, nil))
	refused("the address of another", err)
	_, err = services.create(service("c", "10.0.0.23", 30020, nil))
	refused("the node port of another", err)
	// All else is still to be had.
	for i := 21; i <= 23; i++ {
		must(t, "what was refused before")(services.create(service(fmt.Sprint("free", i), fmt.Sprint("10.0.0.", i), 30000+i, nil)))
	}
	// An update that is accepted gives back what it no longer needs.
	must(t, "another port")(a.patch("", mergePatch, []byte(`{"spec":{"ports":[{"port":80,"nodePort":30024}]}}`)))
	must(t, "its old port")(services.create(service("d", "10.0.0.25", 30020, nil)))
	must(t, "no address")(a.patch("", mergePatch, []byte(`{"spec":{"type":"ExternalName","externalName":"example.com","ports":null}}`)))
	must(t, "its old address")(services.create(service("e", "10.0.0.20", 30024, nil)))
}
