package node

import (
	"context"
	"time"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"xebec.dev/client"
)

// renewals of a lease within the time that it holds.
const renewals = 4

// Heartbeat renews the node's lease until ctx ends.
func (m *Manager) Heartbeat(ctx context.Context) error {
	if m.o.API == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case <-m.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	t := time.NewTicker(m.o.Lease / renewals)
	defer t.Stop()
	var last *coordinationv1.Lease
	for {
		bounded, cancel := context.WithTimeout(ctx, m.o.Lease/renewals)
		next, err := m.renew(bounded, last)
		cancel()
		if err != nil && ctx.Err() == nil {
			m.o.Log.Warn("the node's lease can't be renewed", zap.Error(err))
		}
		last = next
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// renew writes the lease; nil as last, or as the answer, asks for it first.
func (m *Manager) renew(ctx context.Context, last *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if last == nil {
		have, err := client.Get[*coordinationv1.Lease](ctx, m.o.API, corev1.NamespaceNodeLease, m.o.Spec.Name)
		switch {
		case apierrors.IsNotFound(err):
			return client.Create(ctx, m.o.API, m.lease(nil))
		case err != nil:
			return nil, err
		}
		last = have
	}
	next, err := client.Update(ctx, m.o.API, m.lease(last))
	if err != nil {
		return nil, err
	}
	return next, nil
}

func (m *Manager) lease(last *coordinationv1.Lease) *coordinationv1.Lease {
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: corev1.NamespaceNodeLease, Name: m.o.Spec.Name}}
	if last != nil {
		l = last.DeepCopy()
	}
	holder, seconds, now := m.o.Spec.Name, int32(m.o.Lease/time.Second), metav1.NowMicro()
	l.Spec.HolderIdentity, l.Spec.LeaseDurationSeconds, l.Spec.RenewTime = &holder, &seconds, &now
	if n := m.Object(); len(l.OwnerReferences) == 0 && n.UID != "" {
		l.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}}
	}
	return l
}
