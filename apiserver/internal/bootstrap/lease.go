package bootstrap

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/google/uuid"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/identity"
	"xebec.dev/apiserver/internal/registry"
	"xebec.dev/apiserver/internal/storage"
)

// Lease is by what users see which servers there are: an object in
// kube-system for each.
type Lease struct {
	*Maker
	// holder tells this process from the one before it on the same machine.
	holder string
}

// LeaseSeconds is how long a server counts as there that renews no more.
const LeaseSeconds = 3600

const identityLabel = "apiserver.kubernetes.io/identity"

// NewLease makes the keeper of this server's lease.
func NewLease(m *Maker) *Lease {
	return &Lease{Maker: m, holder: identity.ID() + "_" + uuid.NewString()}
}

// Renew makes the lease, or renews it.
func (l *Lease) Renew(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	seconds, now := int32(LeaseSeconds), metav1.NowMicro()
	labels := identityLabels(host)
	obj := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: identity.ID(), Labels: labels},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &l.holder, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	return l.Ensure(ctx, coordinationv1.GroupName, "v1", "leases", obj, func(have scheme.Object) {
		h := have.(*coordinationv1.Lease)
		h.Labels, h.Spec.RenewTime = labels, &now
		h.Spec.HolderIdentity, h.Spec.LeaseDurationSeconds = &l.holder, &seconds
	})
}

// identityLabels of a server's lease. A machine may call itself something that
// is no label, "(none)" or a name of more than 63 bytes: it is left out then.
func identityLabels(host string) map[string]string {
	labels := map[string]string{identityLabel: "kube-apiserver"}
	if len(validation.IsValidLabelValue(host)) == 0 {
		labels[corev1.LabelHostname] = host
	}
	return labels
}

// Collect deletes the leases of servers that are gone.
func (l *Lease) Collect(ctx context.Context) error {
	t, err := l.Target(coordinationv1.GroupName, "v1", "leases", metav1.NamespaceSystem, "")
	if err != nil {
		return err
	}
	list, err := l.Registry.Store.Collection(t.Resource).List(ctx, storage.ListOptions{Selection: storage.Selection{Namespace: metav1.NamespaceSystem}, Match: storage.Any})
	if err != nil {
		return registry.Status(err, t.GroupResource(), "")
	}
	var errs []error
	for _, o := range list.Objects {
		obj, err := registry.Decode(t.Resource, o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if lease := obj.(*coordinationv1.Lease); expired(lease, time.Now()) {
			if err := l.DeleteObject(ctx, t.Resource, lease.Namespace, lease.Name); err != nil && !apierrors.IsNotFound(err) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// expired reports whether a lease is of an API server, and not renewed.
func expired(l *coordinationv1.Lease, now time.Time) bool {
	if l.Labels[identityLabel] != "kube-apiserver" {
		return false
	}
	// What says nothing of its time is nobody's.
	if l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return true
	}
	return l.Spec.RenewTime.Add(time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second).Before(now)
}
