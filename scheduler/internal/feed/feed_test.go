package feed

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/clienttest"
	"xebec.dev/client/stream"
	"xebec.dev/scheduler/workload"
)

// A feed tells of each object before and after, says when the initial ones
// are complete, and goes on where it was when the connection breaks.
func TestFeed(t *testing.T) {
	s := clienttest.New(t, builtin.Scheme())
	c := s.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	watch := stream.New(c, stream.Options{})
	told := make(chan string, 100)
	f, err := New(c, watch, Options{Fields: []string{"spec"}}, func(changes []Change[*corev1.Node], synced bool) {
		var out []string
		for _, ch := range changes {
			switch {
			case ch.Old == nil:
				out = append(out, "+"+ch.New.Name)
			case ch.New == nil:
				out = append(out, "-"+ch.Old.Name)
			default:
				out = append(out, fmt.Sprintf("%s %v→%v", ch.New.Name, ch.Old.Spec.Unschedulable, ch.New.Spec.Unschedulable))
			}
		}
		slices.Sort(out)
		told <- fmt.Sprint(out, synced)
	})
	if err != nil {
		t.Fatal(err)
	}
	create := func(name string) {
		n := workload.Node(name, nil)
		n.UID = ""
		if _, err := client.Create(ctx, c, n); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("nothing, want %s", want)
		}
	}
	create("a")
	create("b")
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{}, 2)
	go func() { _ = watch.Run(running); ended <- struct{}{} }()
	go func() { _ = f.Run(running); ended <- struct{}{} }()
	expect("[+a +b] true")
	n, err := client.Get[*corev1.Node](ctx, c, "", "a")
	if err != nil {
		t.Fatal(err)
	}
	n.Spec.Unschedulable = true
	if _, err := client.Update(ctx, c, n); err != nil {
		t.Fatal(err)
	}
	expect("[a false→true] false")
	s.Stop()
	s.Start()
	for { // the connection may yet turn out to be broken
		err := client.Delete[*corev1.Node](ctx, c, "", "b")
		if err == nil || apierrors.IsNotFound(err) {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	expect("[-b] false")
	stop()
	<-ended
	<-ended
}
