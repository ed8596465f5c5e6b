package csrsigning

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
	"xebec.dev/client/cache"
	"xebec.dev/controller-manager/internal/control"
	"xebec.dev/controller-manager/internal/csr"
	"xebec.dev/controller-manager/internal/replica"
)

const name = "certificatesigningrequest-signing-controller"

// Spec of the controller.
var Spec = control.Spec{
	Name: name, Alias: "csrsigning",
	ServiceAccount: "certificate-controller", EventSource: name,
	Reads:  []string{"certificatesigningrequests"},
	Writes: []string{"certificatesigningrequests:status.certificate", "certificatesigningrequests:status.conditions (Failed)"},
	New:    newController,
}

const workers = 5

type reconciler struct {
	env      *control.Env
	requests *cache.Replica[*certificatesv1.CertificateSigningRequest]
	signers  map[string]files
}

// signers by the flags: files of a signer's own, or those for all.
func signers(c *control.Config) (map[string]files, error) {
	all, own := files{c.SigningCert, c.SigningKey}, map[string]files{
		csr.KubeletServing:  {c.KubeletServingCert, c.KubeletServingKey},
		csr.KubeletClient:   {c.KubeletClientCert, c.KubeletClientKey},
		csr.APIServerClient: {c.APIServerClientCert, c.APIServerClientKey},
		csr.LegacyUnknown:   {c.LegacyUnknownCert, c.LegacyUnknownKey},
	}
	out := map[string]files{}
	special := false
	for name, f := range own {
		if (f.cert == "") != (f.key == "") {
			return nil, fmt.Errorf("--cluster-signing-*-cert-file and --cluster-signing-*-key-file of signer %s must be given together", name)
		}
		if f.cert != "" {
			special = true
			out[name] = f
		}
	}
	switch {
	case (all.cert == "") != (all.key == ""):
		return nil, errors.New("--cluster-signing-cert-file and --cluster-signing-key-file must be given together")
	case special && all.cert != "":
		return nil, errors.New("--cluster-signing-cert-file and --cluster-signing-key-file can't be given with files of single signers")
	case all.cert != "":
		for name := range own {
			out[name] = all
		}
	}
	for name, f := range out {
		if _, err := f.read(); err != nil {
			return nil, fmt.Errorf("signer %s: %w", name, err)
		}
	}
	return out, nil
}

func newController(e *control.Env) (control.Runner, error) {
	found, err := signers(e.Config)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	r := &reconciler{env: e, requests: replica.Of[*certificatesv1.CertificateSigningRequest](e.Replicas), signers: found}
	q := e.Queue("csrsigning")
	r.requests.OnChange(func(c cache.Change[*certificatesv1.CertificateSigningRequest]) {
		if c.HasNew && found[c.New.Spec.SignerName].cert != "" {
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
	a, err := r.signers[req.Spec.SignerName].read()
	if err != nil {
		return fmt.Errorf("request %s: %w", req.Name, err)
	}
	now := time.Now()
	p := plan(req, r.env.Config.SigningDuration, a.cert.NotAfter, now)
	if p.Failed == "" && p.Template == nil {
		return nil
	}
	req = req.DeepCopy()
	if p.Failed != "" {
		at := metav1.NewTime(now)
		req.Status.Conditions = append(req.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateFailed, Status: corev1.ConditionTrue, Reason: "SignerValidationFailure", Message: p.Failed,
			LastUpdateTime: at, LastTransitionTime: at,
		})
	} else if req.Status.Certificate, err = a.sign(p.Template, now); err != nil {
		return fmt.Errorf("request %s: %w", req.Name, err)
	}
	_, err = client.UpdateStatus(ctx, r.env.Client, req, client.WriteOptions{OmitObject: true})
	switch {
	case err == nil:
		r.env.Log.Info("a certificate was issued or refused", zap.String("request", req.Name), zap.String("signer", req.Spec.SignerName), zap.String("refused", p.Failed))
		return nil
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err):
		return control.Retry(err)
	}
	return fmt.Errorf("write the certificate of request %s: %w", req.Name, err)
}
