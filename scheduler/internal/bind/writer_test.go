package bind

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/api/builtin"
	"xebec.dev/client"
	"xebec.dev/client/clienttest"
	"xebec.dev/scheduler/workload"
)

// Status patches and deletions go through in order, one after the other of a
// pod; errors are the API's.
func TestWriter(t *testing.T) {
	s := clienttest.New(t, builtin.Scheme())
	busy := 2 // refusals of a server that has too much to do are no answer
	s.Intercept = func(_ context.Context, method string, _ any) error {
		if method != "Patch" || busy == 0 {
			return nil
		}
		busy--
		return apierrors.NewTooManyRequests("Too many requests, please try again later.", 1)
	}
	c := s.Client(t)
	w := NewWriter(c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	p := workload.Pod("t", "p")
	p.UID, p.Status = "", corev1.PodStatus{}
	p, err := client.Create(ctx, c, p)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 4)
	done := func(err error) { result <- err }
	w.PatchStatus(p, []byte(`{"status":{"nominatedNodeName":"n"}}`), done)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	now, err := client.Get[*corev1.Pod](ctx, c, "t", "p")
	if err != nil || now.Status.NominatedNodeName != "n" {
		t.Errorf("nominated %q: %v", now.Status.NominatedNodeName, err)
	}
	other := p.DeepCopy()
	other.UID = "of-another"
	w.Delete(other, done)
	if err := <-result; !apierrors.IsConflict(err) {
		t.Errorf("the deletion of another pod of the name: %v", err)
	}
	gone := p.DeepCopy()
	gone.Name = "gone"
	w.PatchStatus(gone, []byte(`{"status":{}}`), done)
	if err := <-result; !apierrors.IsNotFound(err) {
		t.Errorf("a pod that is not there: %v", err)
	}
	cancel()
	<-ended
	w.Bind(p, "n", done)
	if err := <-result; err == nil {
		t.Error("a binding after the end succeeded")
	}
}
