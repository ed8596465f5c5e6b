package clienttest

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	pb "xebec.dev/proto/gen/control/v1"
)

// TestWithoutTypes: objects of any kind by their metadata.
func TestWithoutTypes(t *testing.T) {
	srv := New(t, builtin.Scheme())
	c := srv.Client(t)
	ctx := t.Context()
	maps := &pb.Resource{Version: "v1", Resource: "configmaps"}
	for _, name := range []string{"a", "b"} {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"app": name}}, Data: map[string]string{"k": "v"}}
		if _, err := client.Create(ctx, c, m); err != nil {
			t.Fatal(err)
		}
	}
	m, err := client.GetMetadata(ctx, c, maps, "default", "a")
	if err != nil || m.Name != "a" || m.UID == "" || m.ResourceVersion == "" {
		t.Fatalf("metadata %+v, error %v", m, err)
	}
	all, rev, err := client.ListMetadata(ctx, c, maps, client.Selection{Namespace: "default", Labels: "app"})
	if err != nil || len(all) != 2 || rev == 0 {
		t.Fatalf("list of %d at %d, error %v", len(all), rev, err)
	}
	batch := client.NewBatch(c, 0)
	go func() { _ = batch.Run(ctx) }() // ends with the test
	patch, err := client.PatchWriteOf(maps, "default", "a", types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"c"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if res, err := batch.Do(ctx, patch); err != nil || res.Object.GetRevision() == 0 {
		t.Fatalf("patch: %v, %v", res, err)
	}
	if m, err = client.GetMetadata(ctx, c, maps, "default", "a"); err != nil || m.Labels["app"] != "c" {
		t.Fatalf("after the patch: %v, %v", m, err)
	}
	if _, err := batch.Do(ctx, client.DeleteWriteOf(maps, "default", "a", client.DeleteOptions{UID: "another"})); !apierrors.IsConflict(err) {
		t.Fatalf("delete with another's uid: %v", err)
	}
	if _, err := batch.Do(ctx, client.DeleteWriteOf(maps, "default", "a", client.DeleteOptions{UID: m.UID})); err != nil {
		t.Fatal(err)
	}
	if n, err := client.DeleteAllOf(ctx, c, maps, client.Selection{Namespace: "default"}); err != nil || n != 1 {
		t.Fatalf("deleted %d, error %v", n, err)
	}
	if _, err := client.GetMetadata(ctx, c, maps, "default", "b"); !apierrors.IsNotFound(err) {
		t.Fatalf("b is still there: %v", err)
	}
}
