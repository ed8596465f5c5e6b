package csrapproving

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "certificatesigningrequest-approving-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "csrapproving",
	ServiceAccount: "certificate-controller", EventSource: name,
	Reads:  []string{"certificatesigningrequests"},
	Writes: []string{"certificatesigningrequests:status.conditions (Approved)"},
	New:    newController,
}

const workers = 5

type reconciler struct {
	env      *control.Env
	requests *cache.Replica[*certificatesv1.CertificateSigningRequest]
}

func newController(e *control.Env) (control.Runner, error) {
	r := &reconciler{env: e, requests: replica.Of[*certificatesv1.CertificateSigningRequest](e.Replicas)}
	q := e.Queue("certificate")
	r.requests.OnChange(func(c cache.Change[*certificatesv1.CertificateSigningRequest]) {
		if c.HasNew {
			q.Add(c.Key)
		}
	})
	return e.Loop(name, q, workers, r.reconcile, r.requests), nil
}

func (r *reconciler) reconcile(ctx context.Context, key cache.Key) error {
	req, ok := r.requests.Snapshot().Lookup(key)
	if !ok {
		return nil
	}
	ways := plan(req)
	for _, w := range ways {
		review, err := client.Create(ctx, r.env.Client, w.review(req))
		if err != nil {
			return fmt.Errorf("review whether %q may have request %s approved: %w", req.Spec.Username, req.Name, err)
		}
		if review.Status.Allowed {
			return r.approve(ctx, req, w)
		}
	}
	if len(ways) > 0 {
		// A binding that permits it may come yet.
		return fmt.Errorf("recognized csr %q as %s but subject access review was not approved", req.Name, ways)
	}
	return nil
}

func (r *reconciler) approve(ctx context.Context, req *certificatesv1.CertificateSigningRequest, w way) error {
	req = req.DeepCopy()
	now := metav1.Now()
	req.Status.Conditions = append(req.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "AutoApproved", Message: w.message,
		LastUpdateTime: now, LastTransitionTime: now,
	})
	_, err := client.Update(ctx, r.env.Client, req, client.WriteOptions{Subresource: "approval", OmitObject: true})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	if apierrors.IsConflict(err) {
		return control.Retry(err)
	}
	return fmt.Errorf("approve request %s: %w", req.Name, err)
}
