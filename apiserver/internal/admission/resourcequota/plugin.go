// Package resourcequota charges what objects take to the quotas of their
// namespace before they are stored.
//
// The charge is a compare-and-swap of the quota's status.used, so that two API
// servers cannot give the same room away twice. A charge whose object is then
// not stored stays until the controller counts anew, as does what a deletion
// frees: usage errs on the safe side.
package resourcequota

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	counting "xebec.dev/api/quota"
	"xebec.dev/api/scheme"
	"xebec.dev/apiserver/internal/admission"
	"xebec.dev/apiserver/internal/storage"
)

// Plugin implements ResourceQuota.
type Plugin struct {
	reader storage.Reader
	quotas *scheme.Resource
	ledger *ledger
	// limited are the resources that need a quota to be used at all.
	limited []LimitedResource
}

// New makes the plugin. quotas is resourcequotas in the table.
func New(reader storage.Reader, store storage.Store, quotas *scheme.Resource, limited []LimitedResource) *Plugin {
	return &Plugin{reader: reader, quotas: quotas, ledger: newLedger(store, quotas), limited: limited}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "ResourceQuota" }

// Handles implements admission.Plugin.
func (*Plugin) Handles(op admission.Operation) bool {
	return op == admission.Create || op == admission.Update
}

// Validate implements admission.Validator. It comes after every other plugin:
// what is refused must not be charged.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if !charged(a) {
		return nil
	}
	quotas := p.reader.List(p.quotas, a.Namespace)
	if len(quotas) == 0 && len(p.limited) == 0 {
		return nil
	}
	q := newAsk(a)
	if len(q.more) == 0 {
		return nil
	}
	concerned := make([]*corev1.ResourceQuota, 0, len(quotas))
	for _, o := range quotas {
		if quota := o.(*corev1.ResourceQuota); len(q.concerned(quota)) > 0 {
			concerned = append(concerned, quota)
		}
	}
	if err := p.covered(q, concerned); err != nil {
		return a.Forbid(err)
	}
	if len(concerned) == 0 {
		return nil
	}
	paid, refused, err := p.ledger.charge(ctx, a.Namespace, quotaNames(concerned), q, a.DryRun)
	q.keep(a, paid)
	if refused != nil {
		return a.Forbid(refused)
	}
	return err
}

func newAsk(a *admission.Attributes) *ask {
	q := &ask{resource: a.Resource, obj: a.Object, total: counting.Usage(a.Resource.Group, a.Resource.Plural, a.Object)}
	if a.Receipt != nil {
		q.paid = a.Receipt.Paid
	}
	var before amounts
	if old, ok := a.Old.(metav1.Object); ok && old.GetResourceVersion() != "" {
		before = counting.Usage(a.Resource.Group, a.Resource.Plural, a.Old)
	}
	q.more = increase(only(q.total, names(q.total)), before)
	return q
}

// keep notes what was charged. If the object is not stored because another
// write was faster or a generated name was taken, the next attempt pays what
// is more.
func (q *ask) keep(a *admission.Attributes, quotas []string) {
	if len(quotas) == 0 {
		return
	}
	if a.Receipt == nil {
		a.Receipt = &admission.Receipt{}
	}
	if a.Receipt.Paid == nil {
		a.Receipt.Paid = map[string]amounts{}
	}
	for _, quota := range quotas {
		paid := a.Receipt.Paid[quota]
		if paid == nil {
			paid = amounts{}
		}
		for name, more := range q.more {
			if have, ok := paid[name]; !ok || have.Cmp(more) < 0 {
				paid[name] = more
			}
		}
		a.Receipt.Paid[quota] = paid
	}
}

func quotaNames(quotas []*corev1.ResourceQuota) []string {
	out := make([]string, len(quotas))
	for i, q := range quotas {
		out[i] = q.Name
	}
	return out
}
