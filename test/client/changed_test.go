package client

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/stream"
	pb "xebec.dev/proto/gen/control/v1"
	"xebec.dev/test/apiservertest"
)

// TestChangedOnly: who wants to hear of what he keeps alone is not woken for
// the rest, loses nothing of it, and is complete up to what he is told.
func TestChangedOnly(t *testing.T) {
	c := dial(t, apiservertest.Start(t, options...))
	ctx := t.Context()
	cm, err := client.Create(ctx, c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	s := stream.New(c, stream.Options{})
	go func() { _ = s.Run(ctx) }() // ends with the test
	sub := s.Add(stream.Request{
		Resource:   &pb.Resource{Version: "v1", Resource: "configmaps"},
		Selection:  client.Selection{Namespace: "default", Fields: "metadata.name=a"},
		Projection: client.Projection(true, nil), ChangedOnly: true,
	})
	defer sub.Close()
	var got []string
	// read gives the revision up to which the subscription is complete once so
	// many events have come.
	read := func(events int) (revision int64) {
		for len(got) < events {
			b, err := sub.Next(ctx)
			if err != nil || b.Err != nil {
				t.Fatal(err, b.Err)
			}
			for _, e := range b.Events {
				m, err := client.DecodeMetadata(e.Object)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprint(e.Type, m.Labels))
			}
			revision = b.Revision
		}
		return revision
	}
	read(1)
	update := func(value, label string) {
		t.Helper()
		cm.Data, cm.Labels = map[string]string{"value": value}, map[string]string{"l": label}
		if cm, err = client.Update(ctx, c, cm); err != nil {
			t.Fatal(err)
		}
	}
	update("1", "x")
	update("2", "x")
	update("3", "x")
	update("3", "y")
	if at := read(3); fmt.Sprint(at) != cm.ResourceVersion {
		t.Errorf("complete up to %d, and the object is at %s", at, cm.ResourceVersion)
	}
	update("4", "y")
	if err := client.Delete[*corev1.ConfigMap](ctx, c, "default", "a"); err != nil {
		t.Fatal(err)
	}
	read(4)
	if want := "[ADDED map[] MODIFIED map[l:x] MODIFIED map[l:y] DELETED map[l:y]]"; fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
