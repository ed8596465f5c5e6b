package csrcleaner

import (
	"context"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "certificatesigningrequest-cleaner-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "csrcleaner",
	ServiceAccount: "certificate-controller", EventSource: name,
	Reads:  []string{"certificatesigningrequests"},
	Writes: []string{"certificatesigningrequests"},
	New:    newController,
}

func newController(e *control.Env) (control.Runner, error) {
	requests := replica.Of[*certificatesv1.CertificateSigningRequest](e.Replicas)
	q := e.Queue("csrcleaner")
	requests.OnChange(func(c cache.Change[*certificatesv1.CertificateSigningRequest]) {
		if c.HasNew {
			q.Add(c.Key)
		}
	})
	return e.Loop(name, q, 1, func(ctx context.Context, key cache.Key) error {
		r, ok := requests.Snapshot().Lookup(key)
		if !ok || r.DeletionTimestamp != nil {
			return nil
		}
		if keep := plan(r, time.Now()); keep != 0 {
			return control.Later(keep)
		}
		err := client.Delete[*certificatesv1.CertificateSigningRequest](ctx, e.Client, "", r.Name, client.DeleteOptions{UID: r.UID})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return fmt.Errorf("delete request %s: %w", r.Name, err)
	}, requests), nil
}
